"""Bootstrap bounds of measures and the paired comparison of two models."""

from __future__ import annotations

import math
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.domain.evaluation.held_out import LARGEST, MEASURES, bounds, share_better
from housepredict.domain.evaluation.measures import accuracy

FEW = settings(max_examples=15, deadline=None)
_PAIRS = st.lists(st.tuples(st.floats(1e4, 1e7), st.floats(1e4, 1e7)), min_size=1, max_size=40)
_LOSSES = st.lists(st.floats(0, 10), min_size=1, max_size=40)


def sales(number: int, seed: int, spread: float = 0.15) -> tuple[list[float], list[float]]:
    """Return estimates and prices; each estimate is off by a random factor."""
    draw = Random(seed)
    prices = [draw.lognormvariate(13, 0.5) for _ in range(number)]
    return [price * draw.lognormvariate(0, spread) for price in prices], prices


@FEW
@given(_PAIRS)
def test_bounds_are_ordered_finite_and_deterministic(pairs: list[tuple[float, float]]) -> None:
    estimates, prices = zip(*pairs, strict=True)
    measured = accuracy(estimates, prices)
    intervals = bounds(estimates, prices, measured)
    assert intervals.keys() <= set(MEASURES)
    assert {"median_ratio", "mdape", "ppe10", "cod", "prd"} <= intervals.keys()
    assert all(each.low <= each.high and math.isfinite(each.low + each.high) for each in intervals.values())
    assert bounds(estimates, prices, measured) == intervals


@FEW
@given(st.integers(2, 40), st.floats(0.5, 2))
def test_bounds_of_constant_error_have_no_width(number: int, factor: float) -> None:
    prices = [1e5 * (1 + row) for row in range(number)]
    estimates = [factor * price for price in prices]
    intervals = bounds(estimates, prices, accuracy(estimates, prices))
    for name, value in (("median_ratio", factor), ("mdape", 100 * abs(factor - 1)), ("cod", 0.0), ("prd", 1.0)):
        assert (intervals[name].low, intervals[name].high) == pytest.approx((value, value), abs=1e-9)


def test_bounds_omit_undefined_measures() -> None:
    assert "prb" not in bounds([1.0], [2.0], accuracy([1.0], [2.0]))
    assert not {"cod", "prd", "prb"} & bounds([0.0] * 5, [2.0] * 5, accuracy([0.0] * 5, [2.0] * 5)).keys()


@pytest.mark.slow
def test_bounds_cover_the_true_measure() -> None:
    """With estimates off by exp(N(0, 0.15)), |ratio - 1| has a median of 10.1%."""
    truth = accuracy(*sales(200_000, seed=0)).mdape
    covering = 0
    for seed in range(1, 41):
        estimates, prices = sales(150, seed)
        each = bounds(estimates, prices, accuracy(estimates, prices))["mdape"]
        covering += each.low <= truth <= each.high
    assert 32 <= covering <= 40


@pytest.mark.slow
def test_bounds_narrow_with_sales_beyond_resample_cap() -> None:
    """The width shrinks with the square root of the number of sales, also beyond the cap."""
    widths = []
    for number in (LARGEST, 9 * LARGEST):
        estimates, prices = sales(number, seed=number)
        each = bounds(estimates, prices, accuracy(estimates, prices))["cod"]
        widths.append(each.high - each.low)
    assert 2 < widths[0] / widths[1] < 4.5


@pytest.mark.slow
def test_bounds_take_bounded_time() -> None:
    taken = []
    for number in (LARGEST, 20 * LARGEST):
        estimates, prices = sales(number, seed=1)
        measured, start = accuracy(estimates, prices), time.process_time()
        bounds(estimates, prices, measured)
        taken.append(time.process_time() - start)
    assert taken[1] < 3 * taken[0]


@FEW
@given(_LOSSES)
def test_share_better_of_equal_losses_is_zero(losses: list[float]) -> None:
    assert share_better(losses, losses) == 0


@FEW
@given(_LOSSES, st.floats(0.01, 5))
def test_share_better_on_every_sale_is_100(losses: list[float], by: float) -> None:
    worse = [loss + by for loss in losses]
    assert share_better(losses, worse) == 100
    assert share_better(worse, losses) == 0


@FEW
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=40))
def test_shares_better_sum_to_at_most_100(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    one, other = share_better(ours, theirs), share_better(theirs, ours)
    assert 0 <= one + other <= 100.0001
    assert share_better(ours, theirs) == one


def test_share_better_distinguishes_noise_from_real_difference() -> None:
    draw = Random(3)
    losses = [draw.random() for _ in range(5 * LARGEST)]
    noise = [loss + draw.gauss(0, 0.2) for loss in losses]
    assert 5 < share_better(losses, [each - (sum(noise) - sum(losses)) / len(noise) for each in noise]) < 95
    assert share_better(losses, [each + 0.02 for each in noise]) > 95


def test_share_better_rejects_different_lengths() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        share_better([1.0], [1.0, 2.0])
