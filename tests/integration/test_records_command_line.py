"""The commands for stored predictions, and their Python counterparts."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import housepredict
from housepredict import UnknownPrediction
from housepredict.domain.usecases.manage_records import Removed
from tests.integration.command_line import Run

UNKNOWN = "01970000-0000-7000-8000-000000000001"


def predicted(run: Run) -> Any:
    code, out, _ = run("predict", "--demo", "--json", "size=2500", "bedrooms=3", "age=10")
    assert code == 0
    return json.loads(out)


@pytest.mark.parametrize("id_", [UNKNOWN, "17"])
def test_unknown_prediction_is_reported(run: Run, id_: str) -> None:
    code, out, err = run("predictions", "show", id_)
    assert (code, out) == (4, "")
    assert err == f"housepredict: unknown prediction id: {id_}\n"
    with housepredict.open() as prices, pytest.raises(UnknownPrediction):
        prices.prediction(id_)


def test_predict_writes_estimates_to_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "houses.csv").write_text("name,size,bedrooms,age\na,2500,3,10\nb,big,,10\n")
    code, out, err = run("predict", "--demo", "houses.csv", "-o", "prices.csv")
    assert (code, out) == (3, "")
    assert err == (
        "housepredict: row 2: size: must be a number, not text; bedrooms: required\n"
        "housepredict: estimated 1 house with model demonstration; rejected 1 (see the column `error`)\n"
    )
    written = (tmp_path / "prices.csv").read_text().splitlines()
    assert written[1].startswith("a,2500,3,10,254206.02,")
    assert written[2] == 'b,big,,10,,,,,,,,"size: must be a number, not text; bedrooms: required"'
    code, out, _ = run("predict", "--demo", "--json", "houses.csv", "--output", "prices.parquet")
    assert json.loads(out) == {
        "model_version": "demonstration",
        "estimated": 1,
        "refused": 1,
        "refusals": [{"row": 2, "violations": ["size: must be a number, not text", "bedrooms: required"]}],
        "notes": [],
    }
    (tmp_path / "houses.csv").write_text("size,bedrooms,age\n2500,3,10\n")
    code, out, _ = run("predict", "--demo", "houses.csv", "-o", "-")
    assert code == 0
    assert out.splitlines()[1].startswith("2500,3,10,254206.02,")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("houses.csv", "more.csv", "-o", "prices.csv"), 2),
        (("houses.csv", "--explain", "-o", "prices.csv"), 2),
        (("houses.csv", "--json", "-o", "-"), 2),
        (("houses.csv",), 2),
        (("nowhere.csv", "-o", "prices.csv"), 3),
    ],
)
def test_predict_rejects_unusable_file_arguments(run: Run, arguments: tuple[str, ...], code: int) -> None:
    exit_code, out, err = run("predict", "--demo", *arguments)
    assert (exit_code, out) == (code, "")
    assert err.startswith("housepredict: ")


def test_export_writes_all_predictions(run: Run, tmp_path: Path) -> None:
    predictions = [predicted(run), predicted(run)]
    code, out, err = run("export", "-o", "-")
    assert (code, err) == (0, "housepredict: exported 2 predictions\n")
    assert [json.loads(line) for line in out.splitlines()] == predictions
    for name in ("all.csv", "all.csv.gz", "all.jsonl", "all.jsonl.gz"):
        assert run("export", "-o", name)[0] == 0
    with gzip.open(tmp_path / "all.jsonl.gz", "rt") as stream:
        assert stream.read() == (tmp_path / "all.jsonl").read_text() == out
    with gzip.open(tmp_path / "all.csv.gz", "rt", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [each["prediction_id"] for each in rows] == [each["id"] for each in predictions]
    assert {(each["predicted_price"], each["size"], each["low_80"]) for each in rows} == {("254206.02", "2500", "")}
    today = datetime.now(UTC).date()
    assert run("export", "-o", "-", "--until", str(today - timedelta(days=1)))[1] == ""
    assert run("export", "-o", "-", "--since", str(today - timedelta(days=1)), "--until", str(today))[1] == out
    with housepredict.open() as prices:
        assert [str(each.id) for each in prices.export()] == [each["id"] for each in predictions]
    code, _, err = run("export", "-o", "all.xlsx")
    assert (code, "must end with .jsonl, .jsonl.gz, .csv or .csv.gz" in err) == (2, True)


def test_erase_removes_predictions_and_sales(run: Run) -> None:
    first, second = predicted(run)["id"], predicted(run)["id"]
    run("sale", first, "--price", "250000", "--date", "2025-06-02")
    code, out, _ = run("erase", first, UNKNOWN)
    assert (code, out) == (
        0,
        "Erased 1 prediction and 1 sale. 1 unknown id blocked from being stored later.\n",
    )
    assert run("predictions", "show", first)[0] == 4
    assert json.loads(run("erase", "--json", second)[1]) == {"predictions": 1, "sales": 0}
    assert run("erase", "latest")[0] == 4
    with housepredict.open() as prices:
        assert prices.erase(first, second) == Removed(0, 0)


def test_prune_deletes_old_predictions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = predicted(run)["id"]
    assert run("prune", "--keep", "400d")[:2] == (0, "Deleted 0 predictions and 0 sales older than 400 days.\n")
    code, out, err = run("prune")
    assert (code, out) == (2, "")
    assert "HOUSEPREDICT_KEEP" in err
    monkeypatch.setenv("HOUSEPREDICT_KEEP", "1d")
    assert json.loads(run("prune", "--json")[1]) == {"predictions": 0, "sales": 0}
    for wrong in ("0d", "400", "20001d", "4w"):
        assert run("prune", "--keep", wrong)[0] == 2
    with housepredict.open() as prices:
        assert str(prices.prediction(id_).id) == id_
        assert prices.prune(timedelta(0)) == Removed(1, 0)
