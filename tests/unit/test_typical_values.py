"""The typical house: median and most common values of the training data."""

from __future__ import annotations

from collections import Counter
from statistics import median_low

from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.evaluation.drift import Bins, Snapshot, distribution, groups_of, ranges_of, typical_values
from housepredict.domain.features import Value


def typical(bins: Bins, values: list[Value | None]) -> Value | None:
    spread = distribution(bins, values)
    return typical_values(Snapshot({"feature": spread}, spread)).get("feature")


@given(st.lists(st.integers(-99, 99), min_size=2, max_size=60), st.integers(0, 60))
def test_typical_number_is_median_within_bins(numbers: list[int], lacking: int) -> None:
    value = typical(ranges_of(numbers), [*numbers, *[None] * lacking])
    if lacking > len(numbers) or len(set(numbers)) == 1:
        assert value is None
    else:
        assert value in numbers
        # A value that fills several tenths has its own bin, represented by the largest edge.
        assert value == median_low(numbers) or value == max(set(ranges_of(numbers).edges))


@given(st.lists(st.sampled_from("abc"), min_size=1))
def test_typical_category_is_most_common(names: list[str]) -> None:
    assert Counter(names)[str(typical(groups_of(names), list(names)))] == max(Counter(names).values())


def test_typical_date_is_median() -> None:
    days = [f"2024-01-{day:02}" for day in range(1, 31)]
    assert typical(ranges_of(days), list(days)) == "2024-01-15"


def test_typical_value_of_empty_feature_is_missing() -> None:
    assert typical(groups_of([]), [None]) is None
    assert typical(ranges_of([]), [None, None]) is None
