"""The evaluation of a version: intervals, and accuracy by price and by category."""

from __future__ import annotations

import json
import math

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.adapters.documents import from_json, to_json
from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation.held_out import MEASURES, coverage, evaluate, tenths, valued
from housepredict.domain.evaluation.measures import Coverage
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.ports import Valuation
from housepredict.domain.sales import Sale
from housepredict.testing.drawing import sample_version

SCHEMA = FeatureSchema(
    (
        Feature("size", Kind.NUMBER),
        Feature("heating", Kind.CATEGORY, categories=("gas", "oil")),
        Feature("zip", Kind.CATEGORY, categories=tuple(f"Z{number}" for number in range(14))),
    )
)
NO_DATES = "the sales have no dates"
CALIBRATION = Calibration(within_80=1.0, within_90=2.0, deviation=1.0)


def sale(price: float, **values: str | float) -> Sale:
    return Sale(House(values), price, house_key=str(price))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(1e4, 1e7), st.floats(1e4, 1e7), st.integers(0, 13)), min_size=1, max_size=60))
def test_sale_is_in_one_price_tenth_and_category(rows: list[tuple[float, float, int]]) -> None:
    sales = [sale(price, zip=f"Z{number}") for price, _, number in rows]
    evaluation = evaluate(valued(sales, Valuation([each for _, each, _ in rows]), None), SCHEMA, 7, NO_DATES)
    assert (evaluation.trained_on, evaluation.held_out, evaluation.coverage) == (7, len(rows), ())
    assert len(evaluation.price_tenths) == min(10, len(rows))
    assert sum(each.n for each in evaluation.price_tenths) == len(rows)
    sizes = [each.n for each in evaluation.price_tenths]
    assert max(sizes) - min(sizes) <= 1
    assert evaluation.category == "zip"
    counts = sorted(
        (sum(other == number for *_, other in rows) for number in {each for *_, each in rows}), reverse=True
    )
    assert [each.n for each in evaluation.categories] == counts[:10]
    assert evaluation.bounds.keys() <= set(MEASURES)


@given(st.lists(st.integers()))
def test_tenths_are_ordered_and_of_equal_size(rows: list[int]) -> None:
    groups = tenths(rows)
    assert [row for group in groups for row in group] == rows
    assert len(groups) == min(10, len(rows))
    sizes = {len(group) for group in groups}
    assert not rows or max(sizes) - min(sizes) <= 1


def test_tenth_has_its_price_range_and_accuracy() -> None:
    sales = [sale(100_000.0 + 1000 * row) for row in range(20)]
    estimates = [each.price * (2 if row < 2 else 1) for row, each in enumerate(sales)]
    cheapest, *others = evaluate(valued(sales, Valuation(estimates), None), SCHEMA, 0, NO_DATES).price_tenths
    assert (cheapest.name, cheapest.median_ratio, cheapest.mdape) == ("100000 to 101000", 2.0, 100.0)
    assert all((each.median_ratio, each.mdape) == (1.0, 0.0) for each in others)


def test_evaluation_without_categories_has_no_breakdown() -> None:
    evaluation = evaluate(
        valued([sale(1e5)], Valuation([1e5]), None), FeatureSchema((Feature("size", Kind.NUMBER),)), 0, NO_DATES
    )
    assert (evaluation.category, evaluation.categories) == (None, ())


def test_coverage_has_share_inside_and_median_width() -> None:
    # the 90% intervals extend by a factor of e^0.2 either way, the 80% ones by e^0.1
    sales = [sale(100_000 * factor) for factor in (0.85, 0.95, 1.05, 1.15, 1.25)]
    rows = valued(sales, Valuation([100_000.0] * 5, [0.1] * 5), CALIBRATION)
    inner, outer = coverage(rows, 80), coverage(rows, 90)
    assert inner == Coverage(80, 40.0, round(100_000 * math.exp(0.1), 2) / 100_000)
    assert outer == Coverage(90, 80.0, round(100_000 * math.exp(0.2), 2) / 100_000)
    evaluation = evaluate(rows, SCHEMA, 0, NO_DATES)
    assert evaluation.coverage == (inner, outer)
    assert [each.coverage for each in evaluation.price_tenths] == [100.0, 100.0, 100.0, 100.0, 0.0]


@pytest.mark.parametrize(
    ("spreads", "calibration", "levels"),
    [
        ([0.1], CALIBRATION, [80, 90]),
        ([0.1], evolve(CALIBRATION, within_90=None), [80]),
        ([0.1], None, []),
        (None, CALIBRATION, []),
    ],
)
def test_coverage_needs_calibration_and_spreads(
    spreads: list[float] | None, calibration: Calibration | None, levels: list[int]
) -> None:
    evaluation = evaluate(valued([sale(1e5)], Valuation([1e5], spreads), calibration), SCHEMA, 0, NO_DATES)
    assert [each.level for each in evaluation.coverage] == levels
    assert (evaluation.price_tenths[0].coverage is None) is (90 not in levels)


def test_estimates_without_price_are_dropped_and_negative_are_zero() -> None:
    rows = valued([sale(1.0), sale(2.0), sale(3.0)], Valuation([float("nan"), -5.0, 3.0], [0.1] * 3), CALIBRATION)
    assert [(row.sale.price, row.estimate) for row in rows] == [(2.0, 0.0), (3.0, 3.0)]
    assert coverage(rows, 90) == Coverage(90, 50.0, round(3 * math.exp(0.2), 2) / 3)


def test_manifest_without_newer_measures_is_read() -> None:
    version, _ = sample_version()
    document = json.loads(to_json(version))
    for added in ("bounds", "coverage", "price_tenths", "category", "categories", "later", "why_no_later"):
        del document["evaluation"][added]
    del document["options"]["time_limit"], document["irreproducible"], document["verdict"]
    assert from_json(json.dumps(document)) == version
