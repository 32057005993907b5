"""The coverage test of prediction intervals: exact p-values, significance level and tolerance."""

from __future__ import annotations

import math

import pytest
from scipy.stats import binom

from housepredict.domain.estimates import MAX_PRICE, Calibration, Interval
from housepredict.domain.evaluation.coverage import (
    SIGNIFICANCE,
    CoverageTest,
    IntervalKind,
    check_coverage,
    is_finite,
    rejection,
)


def coverage_test(inside: int, sales: int, level: int = 80) -> CoverageTest:
    """Run the coverage test with `inside` of `sales` prices covered and no price on a bound."""
    [test] = check_coverage(
        IntervalKind.SCALED,
        [(100.0 if row < inside else 300.0, [Interval(level, 50.0, 200.0)]) for row in range(sales)],
    )
    return test


@pytest.mark.parametrize("level", [80, 90])
@pytest.mark.parametrize("sales", [5, 20, 100, 600])
def test_calibrated_intervals_are_rarely_rejected(sales: int, level: int) -> None:
    rejected = [inside for inside in range(sales + 1) if coverage_test(inside, sales, level).rejects]
    assert sum(binom.pmf(inside, sales, level / 100) for inside in rejected) <= SIGNIFICANCE
    # The test always rejects intervals that cover no price.
    assert 0 in rejected


@pytest.mark.parametrize(("inside", "rejects"), [(65, True), (66, False), (80, False), (92, False), (93, True)])
def test_rejection_is_two_sided(inside: int, rejects: bool) -> None:
    assert coverage_test(inside, 100).rejects is rejects


@pytest.mark.parametrize(("inside", "rejects"), [(15_590, True), (15_600, False), (16_400, False), (16_410, True)])
def test_coverage_within_tolerance_passes_for_many_sales(inside: int, rejects: bool) -> None:
    test = coverage_test(inside, 20_000)
    assert test.p_value < SIGNIFICANCE
    assert test.rejects is rejects


def test_prices_on_bound_do_not_count_as_too_wide() -> None:
    [exact] = check_coverage(IntervalKind.PLAIN, [(100.0, [Interval(80, 100.0, 100.0)])] * 200)
    assert (exact.inside, exact.rejects) == (200, False)
    assert exact.p_value == pytest.approx(1)
    [wide] = check_coverage(IntervalKind.PLAIN, [(100.0, [Interval(80, 99.0, 101.0)])] * 200)
    assert (wide.inside, wide.rejects) == (200, True)


@pytest.mark.parametrize(
    "interval",
    [Interval(80, 0.0, MAX_PRICE), Interval(80, 0.0, 0.0), Interval(80, math.nan, math.nan)],
    ids=["unbounded", "zero", "nan"],
)
def test_degenerate_intervals_cover_no_price(interval: Interval) -> None:
    [test] = check_coverage(IntervalKind.SCALED, [(100.0, [interval])] * 20)
    assert (test.inside, test.rejects) == (0, True)


def test_each_available_level_is_tested() -> None:
    both = [Interval(80, 90.0, 110.0), Interval(90, 80.0, 120.0)]
    tests = check_coverage(IntervalKind.PLAIN, [(100.0, both), (115.0, both)])
    assert [(each.level, each.sales, each.inside) for each in tests] == [(80, 2, 1), (90, 2, 2)]
    assert check_coverage(IntervalKind.PLAIN, [(100.0, []), (115.0, [])]) == ()


def test_rejection_names_kind_levels_and_coverage() -> None:
    tests = (coverage_test(25, 103), coverage_test(93, 103, 90))
    assert rejection(tests) == (
        "Scaled intervals failed the coverage test (exact binomial at 0.1%): "
        "the 80% interval covered 24.3% of 103 held-out sale prices."
    )
    assert "they are unbounded" in rejection(tests[1:])


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_calibration_with_infinity_or_nan_is_not_finite(number: float) -> None:
    assert is_finite(Calibration(0.1, None, 0.1, (0.1,)))
    assert not is_finite(Calibration(number, None, 0.1))
    assert not is_finite(Calibration(0.1, number, 0.1))
    assert not is_finite(Calibration(0.1, 0.2, number))
    assert not is_finite(Calibration(0.1, 0.2, 0.1, (0.1, number)))
