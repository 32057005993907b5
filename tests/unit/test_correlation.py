"""Column statistics, tested against their definitions."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from housepredict.domain.schema_inference.leakage import (
    Part,
    center,
    combined_correlations,
    correlation,
    dot,
    evenly,
    explained_share,
    rank_correlation,
    ranks,
)

amounts = st.one_of(st.integers(-5, 5), st.integers(-1_000_000, 1_000_000)).map(float)
triples = st.lists(st.tuples(amounts, amounts, amounts), min_size=3, max_size=60)


@given(st.lists(amounts, max_size=60))
def test_rank_counts_smaller_values_and_half_the_ties(values: list[float]) -> None:
    expected = [sum(other < each for other in values) + (values.count(each) - 1) / 2 for each in values]
    assert ranks(values) == expected


@given(triples)
def test_correlation_matches_pearson_and_spearman(rows: list[tuple[float, float, float]]) -> None:
    left, right, _ = zip(*rows, strict=True)
    assume(len(set(left)) > 1 and len(set(right)) > 1)
    assert correlation(left, right) == pytest.approx(statistics.correlation(left, right), abs=1e-9)
    expected = statistics.correlation(ranks(left), ranks(right))
    assert rank_correlation(left, right) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("factor", [0.3, -0.3])
def test_correlation_is_at_most_one_despite_rounding(factor: float) -> None:
    draw = Random(1)
    values = [draw.random() for _ in range(7)]  # unbounded, the coefficient would be 1.0000000000000002
    assert correlation(values, [factor * value for value in values]) == math.copysign(1, factor)


@given(triples)
def test_combined_correlations_match_combined_columns(rows: list[tuple[float, float, float]]) -> None:
    left, right, target = zip(*rows, strict=True)
    centered = center(target)
    combined = combined_correlations(Part.of(left, centered), Part.of(right, centered), dot(centered, centered))
    total = [a + b for a, b in zip(left, right, strict=True)]
    ratio = [a - b for a, b in zip(left, right, strict=True)]
    for coefficient, column in zip(combined, (total, ratio, left, right), strict=True):
        assume(len(set(column)) > 1)
        assert coefficient == pytest.approx(correlation(column, target), abs=1e-6)


@given(st.lists(amounts, min_size=2, max_size=30))
def test_constant_column_has_zero_correlation(values: list[float]) -> None:
    assert correlation(values, [0.1] * len(values)) == pytest.approx(0, abs=1e-9)
    assert rank_correlation([7.0] * len(values), values) == 0
    assert explained_share(range(len(values)), [0.1] * len(values)) == 0


@given(st.lists(amounts, min_size=2, max_size=60))
def test_explained_share_is_between_0_and_1(values: list[float]) -> None:
    assume(len(set(values)) > 1)
    assert explained_share(values, values) == pytest.approx(1)
    assert explained_share([0] * len(values), values) == pytest.approx(0, abs=1e-9)
    assert explained_share([value > 0 for value in values], values) <= 1 + 1e-9


def test_explained_share_is_variance_between_groups() -> None:
    assert explained_share("aabb", [1.0, 3.0, 5.0, 7.0]) == pytest.approx(0.8)


@given(st.integers(0, 500), st.integers(1, 50))
def test_sample_is_evenly_spaced(count: int, most: int) -> None:
    chosen = evenly(range(count), most)
    steps = {after - before for before, after in pairwise(chosen)}
    assert len(chosen) == min(count, most)
    assert not steps or max(steps) - min(steps) <= 1
