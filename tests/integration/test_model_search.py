"""What a model search prefers, how it splits the sales, and how it calibrates intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from random import Random

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.training.calibration import calibrate
from housepredict.adapters.training.candidates import Candidate, TrainingTable, candidates
from housepredict.adapters.training.refit import table_of, trend_days
from housepredict.adapters.training.search import FOLDS, folds_of, search
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from tests.factories import TUTORIAL, a_house

LINE, TREES = Candidate(on_a_line=True), Candidate(on_a_line=False, leaves=8, iterations=80)
DATED = FeatureSchema((Feature("size", Kind.NUMBER), Feature("sold", Kind.DATE)), sale_date="sold")
PLACED = FeatureSchema((Feature("lat", Kind.NUMBER), Feature("long", Kind.NUMBER), Feature("zip", Kind.CATEGORY)))
FIRST = date(2024, 1, 1)


def a_table(schema: FeatureSchema, sales: Sequence[Sale]) -> TrainingTable:
    return table_of(schema, Encoder(schema)([sale.house for sale in sales]), prices_of(sales), 0.0)


def prices_of(sales: Sequence[Sale]) -> np.ndarray:
    return np.array([sale.price for sale in sales])


def sales_by(price: Callable[..., float], count: int = 400, noise: float = 0.05) -> list[Sale]:
    random = Random(1)
    sales = []
    for number in range(count):
        house = {"size": random.uniform(500, 4000), "bedrooms": random.randrange(1, 6), "age": random.uniform(0, 90)}
        value = price(**house) * np.exp(random.gauss(0, noise))
        sales.append(Sale(a_house(**house), float(value), house_key=str(number)))
    return sales


def smooth(size: float, bedrooms: int, age: float) -> float:
    return 1e5 * math.exp(size / 2000 - age / 100 + bedrooms / 20)


def stepped(size: float, bedrooms: int, age: float) -> float:
    return 1e5 * (1 + 2 * (bedrooms == 3) + 4 * (40 < age < 60))


@pytest.mark.parametrize(("price", "expected"), [(smooth, LINE), (stepped, TREES)])
def test_search_picks_line_or_trees_by_price_shape(price: Callable[..., float], expected: Candidate) -> None:
    sales = sales_by(price)
    steps: list[tuple[int, int]] = []
    folds = folds_of([sale.house_key for sale in sales])
    result = search([LINE, TREES], a_table(TUTORIAL, sales), folds, 1, lambda *step: steps.append(step))
    assert result.candidate in expected.variants()
    assert result.rows.tolist() == list(range(400))
    assert np.abs(result.log_prices - np.log(prices_of(sales))).mean() < 0.3
    assert steps == [(done, 3 * FOLDS) for done in range(1, 3 * FOLDS + 1)]


def test_search_folds_do_not_leak_houses() -> None:
    """Give each house a random price, so that only a model that has seen the house can estimate it."""
    random = Random(1)
    sales = []
    for number in range(20):
        house, price = a_house(size=float(number), bedrooms=1, age=1.0), random.choice([1e5, 1e6])
        sales += [Sale(house, price, house_key=str(number))] * 40
    folds = folds_of([sale.house_key for sale in sales])
    table = a_table(TUTORIAL, sales)
    deep = Candidate(on_a_line=False, leaves=31, iterations=160)
    honest = search([deep], table, folds, 1, lambda _done, _total: None)
    leaking = search([deep], table, np.arange(len(sales)) % FOLDS, 1, lambda _done, _total: None)
    assert leaking.score < 0.8 * honest.score


@given(st.lists(st.text(max_size=5), min_size=FOLDS, max_size=50, unique=True))
def test_folds_group_houses_and_are_balanced(keys: list[str]) -> None:
    folds = folds_of([*keys, *keys])
    assert folds[: len(keys)].tolist() == folds[len(keys) :].tolist()
    sizes = np.bincount(folds, minlength=FOLDS)
    assert sizes.size == FOLDS
    assert sizes.max() - sizes.min() <= 2
    assert folds_of(list(reversed(keys))).tolist() == folds[: len(keys)][::-1].tolist()


def test_folds_split_houses_if_there_are_too_few() -> None:
    assert set(folds_of(["one"] * 20 + ["other"] * 20).tolist()) == set(range(FOLDS))


def test_candidates_grow_with_effort_and_sales() -> None:
    low, normal, high = (
        candidates(Algorithm.AUTO, effort, 100_000) for effort in (Effort.LOW, Effort.NORMAL, Effort.HIGH)
    )
    assert len(low) < len(normal) < len(high)
    assert max(each.iterations for each in low) < max(each.iterations for each in high)
    assert max(each.iterations for each in candidates(Algorithm.AUTO, Effort.NORMAL, 100)) < 300
    assert {each.algorithm for each in candidates(Algorithm.BOOSTING, Effort.HIGH, 100)} == {Algorithm.BOOSTING}


def dated(rate: float, turn: float = 0.0) -> list[Sale]:
    random = Random(1)
    sales = []
    for number in range(2000):
        day, size = random.randrange(700), random.uniform(500, 4000)
        level = rate * min(day, 700 - turn) / 365
        price = 200 * size * np.exp(level + random.gauss(0, 0.05))
        house = a_house(size=size, sold=(FIRST + timedelta(day)).isoformat())
        sales.append(Sale(house, float(price), str(number), FIRST + timedelta(day)))
    return sales


@pytest.mark.parametrize(
    ("sales", "days"), [(dated(0.3), 365.0), (dated(0.6, turn=350), 0.0)], ids=["continues", "ended"]
)
def test_trend_continues_only_if_backtest_supports_it(sales: list[Sale], days: float) -> None:
    matrix = Encoder(DATED)([sale.house for sale in sales])
    assert trend_days(DATED, matrix, prices_of(sales), 1) == days
    assert trend_days(evolve(DATED, sale_date=None), matrix, prices_of(sales), 1) == 0


def test_trend_stops_after_a_year() -> None:
    sales = dated(0.3)
    fitted = SklearnTrainer(lambda *_: [LINE]).fit(DATED, sales, TrainingOptions(), lambda _done, _total: None)
    last = FIRST + timedelta(699)
    then, in_a_year, in_ten = fitted.predict(
        [a_house(size=2000.0, sold=(last + timedelta(days)).isoformat()) for days in (0, 365, 3650)]
    ).prices
    assert in_a_year / then == pytest.approx(np.exp(0.3), rel=0.05)
    assert in_ten == in_a_year


def test_coordinates_get_rotated_axes_and_amounts_logarithms() -> None:
    sales = [Sale(a_house(lat=47.0 + n / 100, long=-122.0 + n % 7 / 10, zip="1"), 1e5, str(n)) for n in range(50)]
    columns = a_table(PLACED, sales).columns
    assert columns.turned.tolist() == [[0, 1]] * 6
    assert columns.logged.tolist() == [0]  # a negative longitude has no logarithm
    assert a_table(TUTORIAL, sales_by(smooth, 50)).columns.turned.size == 0


@given(st.integers(0, 10**6), st.integers(10, 400))
def test_calibration_matches_conformal_prediction(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    errors, spreads = random.normal(0, 0.1, count), random.uniform(0.5, 2, count)
    calibration = calibrate(errors, spreads)
    for within, level, enough in ((calibration.within_80, 0.8, 50), (calibration.within_90, 0.9, 100)):
        assert (within is None) == (count < enough)
        if within is not None:
            scores = np.abs(errors) / spreads
            assert (scores <= within).sum() >= level * (count + 1)
            assert (scores < within).sum() < level * (count + 1)
    tenths = calibration.within_tenths
    assert list(tenths) == sorted(tenths)
    # levels beyond which there are at least ten sales
    assert len(tenths) == min(9, 10 - math.ceil(100 / count))
    assert tenths[7:] == tuple(each for each in (calibration.within_80, calibration.within_90) if each is not None)


def test_intervals_widen_with_price_scatter_at_nominal_coverage() -> None:
    def scattered(count: int, seed: int) -> list[Sale]:
        random = Random(seed)
        sales = []
        for number in range(count):
            old = number % 2
            price = 3e5 * np.exp(random.gauss(0, 0.3 if old else 0.05))
            sales.append(
                Sale(a_house(size=1000.0, bedrooms=2, age=80.0 if old else 5.0), float(price), f"{seed}-{number}")
            )
        return sales

    fitted = SklearnTrainer(lambda *_: [LINE]).fit(
        TUTORIAL, scattered(2000, 1), TrainingOptions(), lambda _done, _total: None
    )
    test = scattered(2000, 2)
    estimates, calibration = fitted.predict([sale.house for sale in test]), fitted.calibration
    assert calibration
    assert estimates.spreads
    inside: dict[int, list[bool]] = {0: [], 1: []}
    for number, (sale, price, spread) in enumerate(zip(test, estimates.prices, estimates.spreads, strict=True)):
        (_, ninety) = calibration.intervals(price, spread)
        inside[number % 2].append(ninety.low <= sale.price <= ninety.high)
    assert estimates.spreads[1] > 3 * estimates.spreads[0]
    assert all(0.85 <= sum(each) / len(each) <= 0.97 for each in inside.values())
