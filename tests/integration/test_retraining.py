"""Retraining with recorded sales: estimate, record sales, train the next version."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import Request, urlopen

import pytest

import housepredict
from housepredict import Prices, TrainingOptions, UnusableSales
from housepredict.domain.combined_sales import REPEATED
from housepredict.domain.training_options import Algorithm
from tests.integration.load import url
from tests.integration.services import Service, finished, running

QUICK = TrainingOptions(algorithm=Algorithm.LINEAR)


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    """Write a small CSV file of sales."""
    draw = Random(1)
    path = tmp_path / "sales.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["parcel_id", "sold", "price", "sqft", "rooms", "pool"])
        for row in range(200):
            sqft, rooms, pool = 600 + 17 * row, draw.randint(1, 6), draw.random() < 0.2
            price = round(sqft * 150 + 40_000 * pool + draw.gauss(0, 9000))
            rows.writerow([7000 + row * 13, f"{1 + row % 12}/3/2024", price, f"{sqft}.0", rooms, pool])
    return path


def houses_of(sales: Path) -> list[dict[str, Any]]:
    with sales.open(encoding="utf-8") as stream:
        return [
            {
                "house": {"sqft": float(row["sqft"]), "rooms": int(row["rooms"]), "pool": row["pool"] == "True"},
                "price": float(row["price"]),
                "sold": "2024-{:02}-03".format(int(row["sold"].split("/")[0])),
            }
            for row in csv.DictReader(stream)
        ]


def post(service: Service, path: str, document: object) -> Any:
    request = Request(service.url + path, json.dumps(document).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as response:
        return json.load(response)


def test_training_includes_sales_recorded_by_service(tmp_path: Path, sales: Path) -> None:
    where = ("--data-dir", str(tmp_path / "data"))
    assert finished("-m", "housepredict", "train", str(sales), "--algorithm", "linear", *where).returncode == 0
    known = houses_of(sales)
    # ten houses sold again, one sale that is in the file, and thirty new houses
    again = [{"house": each["house"], "price": 1.1 * each["price"], "date": "2025-03-04"} for each in known[:10]]
    same = [{"house": known[20]["house"], "price": known[20]["price"], "date": known[20]["sold"]}]
    new = [
        {
            "house": {"sqft": 900.5 + number, "rooms": 3, "pool": False},
            "price": 140_000.0 + number,
            "date": "2025-04-05",
        }
        for number in range(30)
    ]
    sold = [*again, *same, *new]
    with running(tmp_path) as service:
        predicted = post(service, "/predict", [each["house"] for each in sold])["predictions"]
        reported = [
            {"prediction": each["id"], "price": sale["price"], "date": sale["date"]}
            for each, sale in zip(predicted, sold, strict=True)
        ]
        post(service, "/sales", reported)
    trained = finished("-m", "housepredict", "train", str(sales), "--from-sales", "--json", "--promote", "always",
                       "--algorithm", "linear", *where)  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    document = json.loads(trained.stdout)
    assert document["recorded"] == 40
    assert document["rejected_rows"] == {REPEATED: 1}
    assert document["evaluation"]["trained_on"] + document["evaluation"]["held_out"] == 240
    assert document["valuation_date"] == "2025-04-05"
    with housepredict.open(tmp_path / "data", environment={}) as prices:
        assert (prices.model.source.location, prices.model.source.recorded) == (str(sales), 40)
        assert not prices.model.source.synthetic


@pytest.fixture
def prices(tmp_path: Path) -> Any:
    with housepredict.open(tmp_path / "data", database_url="memory:", environment={}) as opened:
        yield opened


def test_training_includes_sales_recorded_in_postgresql(tmp_path: Path, sales: Path, postgres: str) -> None:
    with housepredict.open(tmp_path / "data", database_url=url(postgres), environment={}) as prices:
        prices.train(sales, QUICK)
        record(prices, 40)
        version = prices.train(None, with_recorded=True, promote="always").version
        assert (version.source.location, version.source.recorded) == (str(sales), 40)
        assert version.evaluation.trained_on + version.evaluation.held_out == 240
        assert prices.model == version
        record(prices, 120)
        assert (prices.drift().n, prices.drift().examined) == (120, 160)


def record(prices: Prices, count: int, day: str = "2025-03-04") -> None:
    """Sell houses that are in no file."""
    houses = [{"sqft": 1000.5 + 10 * row, "rooms": 1 + row % 5, "pool": False} for row in range(count)]
    for each in prices.predict_many(houses):
        prices.record_sale(each.id, round(1.2 * each.price, 2), day)


def test_retraining_reuses_file_and_options_of_promoted_version(prices: Prices, sales: Path) -> None:
    options = TrainingOptions(algorithm=Algorithm.LINEAR, exclude=("pool",))
    prices.train(sales, QUICK)
    record(prices, 40)
    prices.train(sales, options, promote="always")
    version = prices.train(None, with_recorded=True, promote="always").version
    assert (version.source.location, version.source.recorded, version.options) == (str(sales), 40, options)
    again = prices._application.train.retrain(version, lambda _done, _total: None)
    assert (again.version.source, again.version.options) == (version.source, options)
    assert again.version.digests == version.digests
    named = prices.train(None, QUICK, with_recorded=True, promote="never").version
    assert (named.source.location, named.options) == (str(sales), QUICK)


def test_retraining_without_file_uses_recorded_sales_only(prices: Prices, sales: Path) -> None:
    prices.train(sales, QUICK)
    record(prices, 3)
    sales.rename(sales.with_suffix(".old"))
    with pytest.raises(UnusableSales, match="at least 30"):
        prices.train(None, QUICK, with_recorded=True)
    record(prices, 60, "2025-05-06")
    version = prices.train(None, QUICK, with_recorded=True, promote="always").version
    assert (version.source.location, version.source.recorded) == (None, 63)
    assert version.evaluation.trained_on + version.evaluation.held_out == 63
    assert prices.predict({"sqft": 1200, "rooms": 3}).estimate.warnings == ()
    again = prices._application.train.retrain(version, lambda _done, _total: None)
    assert again.version.source == version.source


def test_retraining_without_model_is_rejected(prices: Prices) -> None:
    with pytest.raises(housepredict.NoModel):
        prices.train(None, QUICK, with_recorded=True)
