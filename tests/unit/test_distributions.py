"""Distributions of values over bins, and the population stability index of two distributions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.evaluation.drift import (
    MAX_CATEGORIES,
    QUANTILES,
    Bins,
    Groups,
    Ranges,
    chance_level,
    chi_squared_quantile,
    distribution,
    groups_of,
    ranges_of,
    stability_index,
)
from housepredict.domain.features import Value

_NUMBERS = st.lists(st.integers(-50, 50) | st.floats(-50, 50), max_size=80)
_DAYS = st.lists(st.dates().map(lambda day: day.isoformat()), max_size=80)
_WORDS = st.lists(st.text("abcdefg", max_size=2), max_size=80)
_FLAGS = st.lists(st.booleans(), max_size=9)

# values of one kind, and bins made from other values of that kind
_BINNED: st.SearchStrategy[tuple[Bins, list[Value]]] = st.one_of(
    *(st.tuples(values.map(ranges_of), values) for values in (_NUMBERS, _DAYS)),
    *(st.tuples(values.map(groups_of), values) for values in (_WORDS, _FLAGS)),
)


@st.composite
def two_counts(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Draw two counts of values in the same bins, each with at least one value."""
    size = draw(st.integers(1, 25))
    counts = st.lists(st.integers(0, 10**6), min_size=size, max_size=size).filter(any)
    return draw(counts), draw(counts)


@given(_BINNED, st.integers(0, 5))
def test_values_have_one_bin_each(binned: tuple[Bins, list[Value]], missing: int) -> None:
    bins, values = binned
    every = [*values, *[None] * missing]
    assert all(0 <= bins.bin_of(value) < len(bins) for value in every)
    spread = distribution(bins, every)
    assert len(spread.counts) == len(bins) == len(bins.labels())
    assert spread.n == len(every)
    assert spread.counts[-1] == missing


@given(_NUMBERS)
def test_ranges_are_ordered(values: list[float]) -> None:
    bins = ranges_of(values)
    assert len(bins) <= QUANTILES + 1
    assert list(bins.edges) == sorted(set(bins.edges))
    positions = [bins.bin_of(value) for value in sorted(values)]
    assert positions == sorted(positions)
    for value in values:
        at = bins.bin_of(value)
        assert all(value > float(edge) for edge in bins.edges[:at])
        assert all(value <= float(edge) for edge in bins.edges[at:])


@given(_NUMBERS.filter(bool))
def test_ranges_have_no_empty_bin_for_their_own_values(values: list[float]) -> None:
    *counts, missing = distribution(ranges_of(values), values).counts
    assert all(counts)
    assert missing == 0


def test_ranges_without_ties_hold_a_tenth_each() -> None:
    values = list(range(1, 1001))
    assert distribution(ranges_of(values), values).counts == (100,) * 10 + (0,)


def test_ranges_give_a_frequent_value_its_own_bin() -> None:
    values = [*range(1, 21), *[30] * 60, *range(41, 61)]
    bins = ranges_of(values)
    frequent = bins.bin_of(30)
    assert [value for value in values if bins.bin_of(value) == frequent] == [30] * 60
    assert bins.edges == (10, 20, 30, 50)


def test_ranges_allow_a_frequent_smallest_or_largest_value() -> None:
    assert ranges_of([0] * 95 + [1950, 1960, 1970, 1980, 1990]).edges == (0,)
    assert ranges_of([1, 2, 3, 4, 5] + [9] * 95).edges == (5,)
    assert ranges_of([7] * 100).edges == ()


@given(_WORDS)
def test_groups_are_the_most_frequent_values(values: list[str]) -> None:
    bins = groups_of(values)
    assert len(bins.values) <= MAX_CATEGORIES
    counts = Counter(values)
    fewest = min((counts[str(each)] for each in bins.values), default=0)
    assert all(counts[each] <= fewest for each in counts if each not in bins.values)
    assert groups_of(reversed(values)) == bins


def test_labels_describe_bins() -> None:
    assert Ranges((1, 2.5)).labels() == ["to 1", "over 1 to 2.5", "over 2.5", "missing"]
    assert Ranges(()).labels() == ["any", "missing"]
    assert Groups(("gas", True)).labels() == ["gas", "True", "other", "missing"]


@given(two_counts())
def test_psi_is_nonnegative_and_symmetric(counts: tuple[list[int], list[int]]) -> None:
    expected, actual = counts
    index = stability_index(expected, actual)
    assert 0 <= index < math.inf
    assert stability_index(actual, expected) == pytest.approx(index)


@given(two_counts(), st.integers(1, 9))
def test_psi_of_equal_shares_is_zero(counts: tuple[list[int], list[int]], times: int) -> None:
    assert stability_index(counts[0], counts[0]) == 0
    # the half value of an empty bin is left out where both are empty
    assert stability_index(counts[0], [times * each for each in counts[0]]) == pytest.approx(0, abs=1e-12)


@given(two_counts(), st.randoms())
def test_psi_is_independent_of_bin_order(counts: tuple[list[int], list[int]], random: Random) -> None:
    expected, actual = counts
    order = list(range(len(expected)))
    random.shuffle(order)
    shuffled = stability_index([expected[at] for at in order], [actual[at] for at in order])
    assert shuffled == pytest.approx(stability_index(expected, actual))


@given(_NUMBERS.filter(bool), _NUMBERS.filter(bool), st.randoms())
def test_psi_is_independent_of_value_order(training: list[float], later: list[float], random: Random) -> None:
    def index() -> float:
        bins = ranges_of(training)
        return stability_index(distribution(bins, training).counts, distribution(bins, later).counts)

    before = index()
    random.shuffle(training)
    random.shuffle(later)
    assert index() == before


def test_psi_matches_its_formula() -> None:
    by_hand = (0.2 - 0.5) * math.log(0.2 / 0.5) + (0.8 - 0.5) * math.log(0.8 / 0.5)
    assert stability_index([50, 50], [2, 8]) == pytest.approx(by_hand)


def test_psi_counts_an_empty_bin_as_half_a_value() -> None:
    by_hand = (0.05 - 0.5) * math.log(0.05 / 0.5) + (1 - 0.5) * math.log(1 / 0.5)
    assert stability_index([5, 5, 0], [0, 10, 0]) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 6.6349), (2, 9.2103), (5, 15.0863), (10, 23.2093), (21, 38.9322)]
)
def test_chi_squared_quantiles_match_tables(degrees: int, quantile: float) -> None:
    assert chi_squared_quantile(0.99, degrees) == pytest.approx(quantile, rel=0.01)


def test_chance_level_of_one_bin_is_zero() -> None:
    assert chance_level([7, 0], [3, 0]) == 0


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        (lambda random: random.gauss(0, 1), ranges_of),
        (lambda random: random.choices(range(1, 8), (2, 12, 45, 30, 8, 2, 1))[0], ranges_of),
        (lambda random: str(int(random.paretovariate(1))), groups_of),
    ],
    ids=["numbers", "whole numbers", "categories"],
)
def test_chance_level_is_rarely_exceeded_by_chance(
    draw: Callable[[Random], Value], kind: Callable[[list[Value]], Bins]
) -> None:
    """Simulate 300 pairs of 800 sales and 300 estimates; about 3 should exceed the 99% chance level."""
    random = Random(1)
    exceeding, scaled = 0, 0.0
    for _ in range(300):
        training = [draw(random) for _ in range(800)]
        bins = kind(training)
        expected, actual = (distribution(bins, each).counts for each in (training, [draw(random) for _ in range(300)]))
        index = stability_index(expected, actual)
        exceeding += index > chance_level(expected, actual)
        degrees = sum(1 for both in zip(expected, actual, strict=True) if any(both)) - 1
        scaled += index / (1 / 800 + 1 / 300) / degrees / 300
    assert exceeding <= 9
    # a chi-squared variable is as large as its degrees of freedom, on average
    assert scaled == pytest.approx(1, abs=0.2)
