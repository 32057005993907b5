"""The coverage test: its p-values are exact, it rejects about as often as it says, and nothing that doesn't matter."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom  # type: ignore[import-untyped]  # it ships no annotations

from housepredict.domain.estimates import MAX_PRICE, Calibration, Interval
from housepredict.domain.intervals import (
    SIGNIFICANCE,
    CoverageTest,
    IntervalKind,
    binomial_p_value,
    check_coverage,
    is_finite,
    rejection,
)

PROBABILITIES = st.sampled_from([Fraction(8, 10), Fraction(9, 10)])


def coverage_test(inside: int, sales: int, level: int = 80) -> CoverageTest:
    """The test of so many sales, no price on a bound."""
    [test] = check_coverage(
        IntervalKind.SCALED,
        [(100.0 if row < inside else 300.0, [Interval(level, 50.0, 200.0)]) for row in range(sales)],
    )
    return test


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    trials = draw(st.integers(1, 300))
    return draw(st.integers(0, trials)), trials


@given(counts(), PROBABILITIES)
def test_p_value_is_twice_the_smaller_exact_tail(count: tuple[int, int], probability: Fraction) -> None:
    successes, trials = count
    terms = [
        math.comb(trials, each) * probability**each * (1 - probability) ** (trials - each) for each in range(trials + 1)
    ]
    smaller = min(sum(terms[: successes + 1]), sum(terms[successes:]))
    assert binomial_p_value(successes, 0, trials, float(probability)) == pytest.approx(
        min(1.0, 2 * float(smaller)), rel=1e-9
    )


@pytest.mark.parametrize("trials", [10_000, 1_000_000, 20_000_000])
@pytest.mark.parametrize("deviations", [-30.0, -4.0, -1.0, 0.0, 1.0, 4.0, 30.0])
def test_p_value_of_many_trials_is_that_of_scipy(trials: int, deviations: float) -> None:
    successes = round(0.8 * trials + deviations * math.sqrt(0.16 * trials))
    expected = 2 * min(binom.cdf(successes, trials, 0.8), binom.sf(successes - 1, trials, 0.8))
    assert binomial_p_value(successes, 0, trials, 0.8) == pytest.approx(min(1.0, expected), rel=1e-5, abs=1e-300)


def test_p_value_beyond_the_smallest_number_is_zero() -> None:
    assert binomial_p_value(0, 0, 1_000_000, 0.8) == 0.0
    assert binomial_p_value(1_000_000, 0, 1_000_000, 0.8) == 0.0


@pytest.mark.parametrize("level", [80, 90])
@pytest.mark.parametrize("sales", [5, 20, 100, 600])
def test_intervals_that_hold_are_rejected_once_in_a_thousand_times_at_most(sales: int, level: int) -> None:
    rejected = [inside for inside in range(sales + 1) if coverage_test(inside, sales, level).rejects]
    assert sum(binom.pmf(inside, sales, level / 100) for inside in rejected) <= SIGNIFICANCE
    # and far too few prices inside are always rejected
    assert 0 in rejected


@pytest.mark.parametrize(("inside", "rejects"), [(65, True), (66, False), (80, False), (92, False), (93, True)])
def test_rejection_is_two_sided(inside: int, rejects: bool) -> None:
    assert coverage_test(inside, 100).rejects is rejects


@pytest.mark.parametrize(("inside", "rejects"), [(15_590, True), (15_600, False), (17_000, False), (17_010, True)])
def test_coverage_within_the_tolerance_is_not_rejected_however_many_sales_there_are(inside: int, rejects: bool) -> None:
    test = coverage_test(inside, 20_000)
    assert test.p_value < SIGNIFICANCE
    assert test.rejects is rejects


def test_prices_on_a_bound_make_no_interval_too_wide() -> None:
    [exact] = check_coverage(IntervalKind.PLAIN, [(100.0, [Interval(80, 100.0, 100.0)])] * 200)
    assert (exact.inside, exact.p_value, exact.rejects) == (200, 1.0, False)
    [wide] = check_coverage(IntervalKind.PLAIN, [(100.0, [Interval(80, 99.0, 101.0)])] * 200)
    assert (wide.inside, wide.rejects) == (200, True)


@pytest.mark.parametrize(
    "interval",
    [Interval(80, 0.0, MAX_PRICE), Interval(80, 0.0, 0.0), Interval(80, math.nan, math.nan)],
    ids=["endless", "nothing", "not a number"],
)
def test_degenerate_intervals_hold_no_price(interval: Interval) -> None:
    [test] = check_coverage(IntervalKind.SCALED, [(100.0, [interval])] * 20)
    assert (test.inside, test.rejects) == (0, True)


def test_each_level_is_tested_that_there_are_intervals_of() -> None:
    both = [Interval(80, 90.0, 110.0), Interval(90, 80.0, 120.0)]
    tests = check_coverage(IntervalKind.PLAIN, [(100.0, both), (115.0, both)])
    assert [(each.level, each.sales, each.inside) for each in tests] == [(80, 2, 1), (90, 2, 2)]
    assert check_coverage(IntervalKind.PLAIN, [(100.0, []), (115.0, [])]) == ()


def test_rejection_names_the_kind_the_levels_and_the_coverage() -> None:
    tests = (coverage_test(25, 103), coverage_test(93, 103, 90))
    assert rejection(tests) == (
        "Scaled intervals failed the coverage test (exact binomial at 0.1%): "
        "the 80% interval covered 24.3% of 103 held-out sale prices."
    )
    assert "they have no ends" in rejection(tests[1:])


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_calibration_without_ends_is_not_finite(number: float) -> None:
    assert is_finite(Calibration(0.1, None, 0.1, (0.1,)))
    assert not is_finite(Calibration(number, None, 0.1))
    assert not is_finite(Calibration(0.1, number, 0.1))
    assert not is_finite(Calibration(0.1, 0.2, number))
    assert not is_finite(Calibration(0.1, 0.2, 0.1, (0.1, number)))
