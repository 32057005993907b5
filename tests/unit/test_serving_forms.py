"""The arithmetic of the serving forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from housepredict.adapters.serving.encoding import DerivedFeatures
from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.serving.trees import Trees
from tests.factories import a_linear_form, a_log_form, a_trees_form

NAN = math.nan


def test_linear_price_uses_means_for_missing_numbers() -> None:
    matrix = np.array([[2500.0, 3, 10], [NAN, NAN, NAN]])
    assert a_linear_form().prices(matrix).tolist() == [325_000, 267_500]


def test_category_term_defaults_to_last_offset() -> None:
    form = Linear(
        intercept=np.array(1000.0),
        means=np.array([0.0, 2.0, 0.0]),
        coefficients=np.array([0.0, 1.0, 0.0]),
        sizes=np.array([3, 0, 2]),
        offsets=np.array([10.0, 20, 30, 100, 200]),
    )
    matrix = np.array([[0.0, 1, 0], [1, NAN, NAN], [NAN, 5, 0], [7, 0, 7]])
    assert form.prices(matrix).tolist() == [1111, 1222, 1135, 1230]


@pytest.mark.parametrize(
    ("size", "bedrooms", "expected"),
    [
        (2000.0, 3.0, 12),
        (np.nextafter(2000.0, math.inf), 3.0, 13),
        (np.nextafter(2000.0, 0), np.nextafter(3.0, 4), 13),
        (1e15, 1e15, 14),
        (-1e15, -1e15, 12),
        (NAN, NAN, 13),
    ],
)
def test_tree_threshold_belongs_to_left_branch(size: float, bedrooms: float, expected: float) -> None:
    assert a_trees_form().log_prices(np.array([[size, bedrooms, 1.0]])).tolist() == [expected]


def test_valuation_exponentiates_and_defaults_spread_to_one() -> None:
    prices, spreads = a_log_form().valuation(np.array([[1.0, 1, 1], [2500, 4, NAN]]))
    assert prices.tolist() == [pytest.approx(math.exp(12)), pytest.approx(math.exp(14))]
    assert spreads.tolist() == [1, 1]


def test_log_price_blends_means_and_medians_by_share() -> None:
    medians = evolve(a_trees_form(), leaves=a_trees_form().leaves + 1)
    form = evolve(
        a_log_form(),
        share=np.array(0.25),
        absolute=medians,
        linear=evolve(a_log_form().linear, intercept=np.array(0.5)),
    )
    assert form.log_prices(np.array([[1.0, 1, 1]])).tolist() == [0.5 + 0.75 * 12 + 0.25 * 14]


def test_derived_columns_are_logarithms_clipped_features_and_axes() -> None:
    columns = DerivedFeatures(
        lowest=np.array([0.0, 45.0, -np.inf]),
        highest=np.array([10.0, 50.0, np.inf]),
        logged=np.array([0]),
        turned=np.array([[1, 0]]),
        weights=np.array([[2.0, 0.5]]),
    )
    found = columns(np.array([[4.0, 46, 7], [-3, 60, 1e15], [NAN, NAN, NAN]]))
    assert found[:2].tolist() == [[math.log(5), 4, 46, 7, 94], [0, 0, 50, 1e15, 100]]
    assert np.isnan(found[2]).all()
    assert (columns.for_lines, columns.for_trees) == (slice(0, 4), slice(1, 5))


def test_target_encoding_columns_follow_features() -> None:
    columns = DerivedFeatures(
        lowest=np.array([0.0, -np.inf, -np.inf]),
        highest=np.array([10.0, np.inf, np.inf]),
        logged=np.array([0]),
        turned=np.array([[0, 0]]),
        weights=np.array([[2.0, 1.0]]),
        grouped=np.array([2, 1]),
        levels=np.array([[0.25, -0.5, 0.0], [1.0, 2.0, 3.0]]),
    )
    found = columns(np.array([[1.0, 0, 1], [1, 1, NAN], [1, 7, 2]]))
    assert found[:, 4:].tolist() == [[-0.5, 1, 3], [0, 2, 3], [0, 3, 3]]
    assert (columns.for_lines, columns.for_trees) == (slice(0, 6), slice(1, 7))


_numbers = st.floats(-1e15, 1e15) | st.just(NAN)


@given(
    matrix=arrays(np.float64, st.tuples(st.integers(1, 40), st.just(20)), elements=_numbers), seed=st.integers(0, 99)
)
def test_linear_price_is_independent_of_batch(matrix: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    form = Linear(
        np.array(1e5), random.normal(size=20), random.normal(size=20), np.zeros(20, dtype=np.int64), np.empty(0)
    )
    alone = [form.prices(row[np.newaxis]).item() for row in matrix]
    assert form.prices(matrix).tolist() == alone
    assert form.prices(np.asfortranarray(matrix)).tolist() == alone


@given(matrix=arrays(np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=_numbers), seed=st.integers(0, 99))
def test_tree_price_is_independent_of_batch(matrix: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    small = a_trees_form()
    leaves = random.normal(size=(200, 2))
    form = Trees(small.cuts, small.sizes, small.masks[:, random.integers(0, 2, 200)], leaves)
    alone = [form.log_prices(row[np.newaxis]).item() for row in matrix]
    assert form.log_prices(matrix).tolist() == alone
    assert form.log_prices(np.asfortranarray(matrix)).tolist() == alone


def test_trees_evaluate_chunked_and_empty_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    form, matrix = a_trees_form(), np.random.default_rng(1).normal(2000, 500, size=(50, 3))
    whole = form.log_prices(matrix)
    monkeypatch.setattr("housepredict.adapters.serving.trees._CHUNK", 40)
    assert form.log_prices(matrix).tolist() == whole.tolist()
    assert form.log_prices(matrix[:0]).tolist() == []
