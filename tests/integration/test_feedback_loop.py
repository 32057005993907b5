"""The whole feedback loop on real sales: estimate, sell, measure and retrain."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from attrs import asdict

from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.domain.estimates import Interval
from housepredict.domain.evaluation.held_out import Valued, evaluate
from housepredict.domain.features import House
from housepredict.domain.sales import Sale
from tests.integration.load import eventually, url
from tests.integration.services import finished, running

SALES = Path(__file__).parents[2] / "examples" / "king_county_sales.csv.gz"
TRAINED, ESTIMATED, REQUEST_SIZE = 6000, 5000, 1000
NOT_FEATURES = ("id", "price", "date")


def test_feedback_loop_with_5000_real_sales(tmp_path: Path, postgres: str) -> None:
    where = {"HOUSEPREDICT_DATABASE_URL": url(postgres)}
    with gzip.open(SALES, "rt", newline="") as stream:
        rows = list(csv.DictReader(stream))[: TRAINED + ESTIMATED]
    file = tmp_path / "known.csv"
    with file.open("w", newline="") as output:
        writer = csv.DictWriter(output, rows[0])
        writer.writeheader()
        writer.writerows(rows[:TRAINED])
    data = ("--data-dir", str(tmp_path / "data"))
    first = trained("train", str(file), "--price", "price", "--algorithm", "ridge", *data, **where)
    with running(tmp_path, **where) as service:
        sold, estimates = rows[TRAINED:], list[dict[str, Any]]()
        for start in range(0, ESTIMATED, REQUEST_SIZE):
            houses = [house(row) for row in sold[start : start + REQUEST_SIZE]]
            answer = httpx2.post(f"{service.url}/predict", json=houses, timeout=600)
            assert answer.status_code == 200, answer.text
            estimates += answer.json()["predictions"]
        assert {each["model_version"] for each in estimates} == {first["model_version"]}

        # the houses are sold the next day
        day = datetime.now(UTC).date() + timedelta(1)
        for start in range(0, ESTIMATED, REQUEST_SIZE):
            pairs = zip(estimates[start : start + REQUEST_SIZE], sold[start : start + REQUEST_SIZE], strict=True)
            lines = ["prediction,price,date", *(f"{each['id']},{row['price']},{day}" for each, row in pairs)]
            answer = httpx2.post(
                f"{service.url}/sales", content="\n".join(lines), headers={"Content-Type": "text/csv"}, timeout=600
            )
            assert (answer.status_code, answer.json()["unmatched"]) == (201, 0), answer.text

        measured = httpx2.get(f"{service.url}/accuracy", timeout=600).json()
        schema = DirectoryModels(tmp_path / "data" / "models").get(first["model_version"])[0].schema
        valued = [
            Valued(
                Sale(House(each["input"]), float(row["price"]), row["id"], day),
                each["prediction"],
                tuple(Interval(int(level), **bounds) for level, bounds in each["interval"].items()),
            )
            for each, row in zip(estimates, sold, strict=True)
        ]
        # newest first, as the service reads them, because the bounds depend on the order
        offline = evaluate(valued[::-1], schema, TRAINED, "")
        assert measured["overall"] == measured["by_version"][first["model_version"]]
        assert measured["overall"] == {
            **asdict(offline.accuracy),
            "bounds": {name: asdict(each) for name, each in offline.bounds.items()},
            "coverage": [asdict(each) for each in offline.coverage],
            "out_of_range": list(offline.out_of_range),
        }
        assert (measured["sales"], measured["unmatched"], measured["estimated_after_sale"]) == (ESTIMATED, 0, 0)

        second = trained("train", "--from-sales", *data, **where)
        learned = second["evaluation"]["trained_on"] + second["evaluation"]["held_out"]
        assert learned > TRAINED + 0.9 * ESTIMATED
        comparison = second["comparison"]
        assert comparison["champion"] == first["model_version"]
        assert second["promoted"] == (comparison["better"] >= 95 and "closer in" in second["reasons"][0])
        serving = second["model_version"] if second["promoted"] else first["model_version"]
        eventually(lambda: httpx2.get(f"{service.url}/health").json()["model_version"] == serving)


def trained(*arguments: str, **variables: str) -> Any:
    done = finished("-m", "housepredict", *arguments, "--json", **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def house(row: dict[str, str]) -> dict[str, object]:
    values = {name: text for name, text in row.items() if name not in NOT_FEATURES}
    return {name: text if name == "zipcode" else json.loads(text.lower()) for name, text in values.items()}
