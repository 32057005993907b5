"""The commands for recorded sales, and their Python counterparts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

import housepredict
from housepredict import InvalidSales, Prices, RepeatedKey
from tests.integration.command_line import Run

HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}
UNKNOWN = "01970000-0000-7000-8000-000000000001"


# an estimate counts only for a sale on a later day, and sales may be dated tomorrow
def tomorrow() -> date:
    return datetime.now(UTC).date() + timedelta(1)


@pytest.fixture(autouse=True)
def batches_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSEPREDICT_MAX_BATCH", "2")


def predicted(run: Run) -> str:
    code, out, _ = run("predict", "--demo", "--json", "size=2500", "bedrooms=3", "age=10")
    assert code == 0
    id_: str = json.loads(out)["id"]
    return id_


def test_accuracy_skips_estimates_made_after_sale(run: Run) -> None:
    run("sale", predicted(run), "--price", "200000", "--date", "2025-06-02")
    assert "1 sale skipped: not estimated before the day of sale" in run("accuracy")[1]


def test_repeated_sales_file_is_recorded_once(run: Run, tmp_path: Path) -> None:
    rows = [f"{predicted(run)},{price},{tomorrow()}" for price in (200_000, 210_000, 220_000)]
    file = tmp_path / "back.csv"
    file.write_text("\n".join(["id,price,date", *rows, f"{UNKNOWN},1,2025-06-02"]))
    for _ in range(2):
        code, out, _ = run("sales", "back.csv")
        assert (code, out) == (
            0,
            "Recorded 4 sales. Not matched yet: 1 sale with an unknown prediction id.\n",
        )
    with housepredict.open(tmp_path / ".housepredict") as prices:
        sales = prices._application.storage.sales
        assert [len(sales.history(UUID(row.partition(",")[0]))) for row in rows] == [1, 1, 1]
    assert json.loads(run("sales", "back.csv", "--json")[1])["unmatched"] == 1


def test_version_page_shows_recorded_sales(run: Run, tmp_path: Path) -> None:
    run("train", "--synthetic")
    ((name,),) = [[each["model_version"] for each in json.loads(run("models", "--json")[1])["models"]]]
    run("models", "show", name, "--html", "before.html")
    assert "Recorded sales" not in (tmp_path / "before.html").read_text(encoding="utf-8")
    run("sale", predicted(run), "--price", "200000", "--date", str(tomorrow()))
    run("models", "show", name, "--html", "after.html")
    page = (tmp_path / "after.html").read_text(encoding="utf-8")
    assert "Recorded sales" in page
    assert 'id="ratio-over-time"' in page
    (tmp_path / ".housepredict" / "sales.sqlite").write_text("what is no database" * 1000)
    code, _, err = run("models", "show", name, "--html", "without.html")
    assert (code, "the page doesn't include recorded sales" in err) == (0, True)
    assert (tmp_path / "without.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.fixture
def prices(tmp_path: Path) -> Iterator[Prices]:
    with housepredict.open(tmp_path, database_url="memory:", demo=True, environment={}) as opened:
        yield opened


def test_record_sales_from_python(prices: Prices) -> None:
    first, second = prices.predict_many([HOUSE, HOUSE])
    returned = prices.record_sale(first.id, 250_000, tomorrow())
    assert returned.prediction == first
    assert returned.ratio == pytest.approx(1.0168, abs=1e-4)
    batch = [{"prediction": str(second.id), "price": 300_000, "date": str(tomorrow())}]
    assert prices.record_sales(batch, key="a") == prices.record_sales(batch, key="a")
    with pytest.raises(RepeatedKey):
        prices.record_sale(first.id, 1, "2025-06-02", key="a")
    with pytest.raises(InvalidSales, match="price: must be a number"):
        prices.record_sale(first.id, "a lot", date(2025, 6, 2))  # type: ignore[arg-type]  # what it must refuse
    review = prices.accuracy()
    assert review.overall
    assert review.overall.accuracy.n == 2
    assert review.by_version.keys() == {"demonstration"}
    assert prices.accuracy(until=date(2025, 1, 1)).overall is None
