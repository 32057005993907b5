"""Marking of measures as out of range."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.evaluation.coverage import binomial_p_value
from housepredict.domain.evaluation.measures import RANGES, Accuracy, Coverage, coverage_range, out_of_range

MEASURES = Accuracy(100, 1.0, 8.0, 30.0, 60.0, 90.0, 1.0, 1.0, 1.0, 0.9, 15.0, 10.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ()),
        ({"cod": 5.0, "prd": 1.03, "prb": -0.05, "median_ratio": 0.9}, ()),
        ({"cod": 15.04, "prd": 1.0304, "prb": 0.0504, "median_ratio": 1.1004}, ()),
        ({"cod": 15.1}, ("cod",)),
        ({"cod": 4.9}, ("cod",)),
        ({"cod": 239_429.7}, ("cod",)),
        ({"prd": 0.979}, ("prd",)),
        ({"prb": 0.051}, ("prb",)),
        ({"median_ratio": 0.786}, ("median_ratio",)),
        ({"median_ratio": 1.2, "cod": 99, "prd": 2, "prb": -1}, ("median_ratio", "cod", "prd", "prb")),
        ({"cod": None, "prd": None, "prb": None}, ()),
    ],
)
def test_out_of_range_compares_rounded_measures(changes: dict[str, Any], names: tuple[str, ...]) -> None:
    assert out_of_range(evolve(MEASURES, **changes), ()) == names


@given(st.sampled_from([80, 90]), st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_coverage_range_agrees_with_binomial_test(level: int, held: tuple[int, int]) -> None:
    inside, sales = held
    names = out_of_range(evolve(MEASURES, n=sales), [Coverage(level, 100 * inside / sales, None)])
    rejected = binomial_p_value(inside, sales, level / 100) < 0.001
    assert names == ((f"coverage_{level}",) if rejected else ())


@pytest.mark.parametrize(
    ("level", "share", "sales", "names"),
    [
        (80, 23.8, 105, ("coverage_80",)),
        (90, 20.2, 124, ("coverage_90",)),
        (80, 79.3, 4397, ()),
        (90, 84.0, 4397, ("coverage_90",)),
        (80, 100.0, 20, ()),
        (80, 100.0, 60, ("coverage_80",)),
        (90, 0.0, 1, ()),
    ],
)
def test_coverage_too_low_or_too_high_is_marked(level: int, share: float, sales: int, names: tuple[str, ...]) -> None:
    assert out_of_range(evolve(MEASURES, n=sales), [Coverage(level, share, None)]) == names


def test_coverage_counts_only_sales_with_interval() -> None:
    covered = [Coverage(90, 0.0, None)]
    assert out_of_range(MEASURES, covered) == ("coverage_90",)
    assert out_of_range(MEASURES, covered, {90: 1}) == ()


@pytest.mark.parametrize("sales", [0, 2**40])
def test_coverage_range_exists_for_any_sale_count(sales: int) -> None:
    assert coverage_range(80, sales).contains(80.0)


def test_ranges_name_measure_and_source() -> None:
    for name, each in [*RANGES.items(), ("coverage_80", coverage_range(80, 50))]:
        assert each.name == name
        assert each.low < each.high
        assert each.source
