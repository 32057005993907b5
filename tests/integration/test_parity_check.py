"""The serving form equals the trained model, even on adversarial rows, and the parity check detects damage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.linear import LogPrices
from housepredict.adapters.serving.loader import pack, unpack
from housepredict.adapters.serving.trees import Trees
from housepredict.adapters.training.boosting import boost, check_tree_parity, raw_predictions
from housepredict.adapters.training.calibration import fit_spread
from housepredict.adapters.training.candidates import ABSOLUTE, SQUARED, Candidate, TrainingTable, fit_candidate
from housepredict.adapters.training.refit import table_of
from housepredict.adapters.training.serving_form import flatten
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import Feature, FeatureSchema, Kind
from tests.factories import MIXED, sample_sales

RIDGE = Candidate(on_a_line=True)
MEANS, MEDIANS, BOTH = (Candidate(on_a_line=False, leaves=8, iterations=12, share=share) for share in (0.0, 1.0, 0.25))
ALL = Candidate(on_a_line=True, leaves=32, iterations=12, share=0.5)
TINY = 5e-324


def a_table(schema: FeatureSchema, count: int, seed: int, missing: float = 0.2) -> TrainingTable:
    sales = sample_sales(schema, count, seed, missing)
    matrix = Encoder(schema)([sale.house for sale in sales])
    return table_of(schema, matrix, np.array([sale.price for sale in sales]), 0.0)


def a_schema(kinds: list[Kind], categories: int) -> FeatureSchema:
    names = tuple(f"c{number}" for number in range(categories))
    features = [
        Feature(f"f{number}", kind, categories=names if kind is Kind.CATEGORY else ())
        for number, kind in enumerate(kinds)
    ]
    # coordinates get rotated axes
    return FeatureSchema((*features, Feature("lat", Kind.NUMBER), Feature("long", Kind.NUMBER)))


def adversarial_rows(estimator: Any, columns: np.ndarray, seed: int, count: int = 300) -> np.ndarray:
    """Return rows that differing trees would treat differently.

    Their values lie on and next to each threshold and zero, are infinite or missing, or are unknown categories. Every
    other row consists only of such values; the rest have a single one.
    """
    random = np.random.default_rng(seed)
    odd: list[set[float]] = [{0.0, np.inf, -np.inf, TINY, -TINY} for _ in range(columns.shape[1])]
    categorical = np.zeros(columns.shape[1], bool) if estimator.is_categorical_ is None else estimator.is_categorical_
    order = np.argsort(~categorical, kind="stable")  # scikit-learn puts categorical columns first
    for (predictor,) in estimator._predictors:
        for node in predictor.nodes[predictor.nodes["is_leaf"] == 0]:
            threshold = node["num_threshold"]
            odd[order[node["feature_idx"]]] |= {threshold, *np.nextafter(threshold, [-np.inf, np.inf])}
    choices = [
        [*range(300), np.nan] if is_category else [*values, -0.0, np.nan]
        for values, is_category in zip(odd, categorical, strict=True)
    ]
    rows: np.ndarray = columns[random.integers(0, len(columns), count)]
    for number, row in enumerate(rows):
        changed = range(len(row)) if number % 2 else random.integers(0, len(row), 1)
        for column in changed:
            row[column] = random.choice(choices[column])
    return rows


def served(form: LogPrices, candidate: Candidate) -> LogPrices:
    return cast("LogPrices", unpack(pack(form), candidate.algorithm))


@settings(max_examples=12)
@given(
    kinds=st.lists(st.sampled_from(Kind), max_size=4),
    categories=st.sampled_from([1, 3, 40]),
    missing=st.sampled_from([0.0, 0.3]),
    candidate=st.sampled_from([RIDGE, MEANS, MEDIANS, BOTH, ALL]),
    seed=st.integers(0, 10**6),
)
def test_serving_form_matches_model_on_adversarial_rows(
    kinds: list[Kind], categories: int, missing: float, candidate: Candidate, seed: int
) -> None:
    schema = a_schema(kinds, categories)
    table = a_table(schema, 150, seed, missing)
    model = fit_candidate(candidate, table, seed)
    form = served(model.form(table, None), candidate)
    for loss, trees in ((SQUARED, form.squared), (ABSOLUTE, form.absolute)):
        assert (trees is None) == (loss not in candidate.losses)
        if trees:
            rows = adversarial_rows(model.trees[loss], table.for_trees, seed)
            assert trees.log_prices(rows).tolist() == raw_predictions(model.trees[loss], rows).tolist()
    random = np.random.default_rng(seed)
    houses = table.features[random.integers(0, len(table), 200)]
    houses[random.random(houses.shape) < 0.2] = np.nan
    # infinite values count as the most extreme known ones
    ranged = np.array(table.categories) == 0
    for end in (-np.inf, np.inf):
        houses[ranged & (random.random(houses.shape) < 0.1)] = end
    model.check_parity(form, table.columns(houses), table.names)


@pytest.mark.parametrize("seed", range(3))
def test_spread_form_matches_trees_on_adversarial_rows(seed: int) -> None:
    table = a_table(MIXED, 500, seed)
    columns = np.column_stack([table.for_trees, table.log_prices])
    spread = fit_spread(table.categorical, columns, np.random.default_rng(seed).normal(0, 0.2, 500), seed)
    rows = adversarial_rows(spread, columns, seed)
    assert flatten(spread).log_prices(rows).tolist() == raw_predictions(spread, rows).tolist()


@cache
def _trained() -> tuple[Any, TrainingTable]:
    table = a_table(MIXED, 200, 1)
    return boost(
        table.categorical, table.for_trees, table.log_prices, loss=SQUARED, leaves=8, iterations=6, seed=1
    ), table


def _splits(estimator: Any) -> Iterator[tuple[Any, int]]:
    for (predictor,) in estimator._predictors:
        yield from ((predictor, int(node)) for node in np.flatnonzero(predictor.nodes["is_leaf"] == 0))


def _lower_thresholds(estimator: Any) -> Iterator[Trees]:
    return _shift_thresholds(-np.inf, estimator)


def _raise_thresholds(estimator: Any) -> Iterator[Trees]:
    return _shift_thresholds(np.inf, estimator)


def _shift_thresholds(end: float, estimator: Any) -> Iterator[Trees]:
    for predictor, node in _splits(estimator):
        if not predictor.nodes["is_categorical"][node]:
            right = predictor.nodes["num_threshold"][node]
            predictor.nodes["num_threshold"][node] = np.nextafter(right, end)
            yield flatten(estimator)
            predictor.nodes["num_threshold"][node] = right


def _flip_missing(estimator: Any) -> Iterator[Trees]:
    for predictor, node in _splits(estimator):
        predictor.nodes["missing_go_to_left"][node] ^= 1
        yield flatten(estimator)
        predictor.nodes["missing_go_to_left"][node] ^= 1


def _flip_categories(estimator: Any) -> Iterator[Trees]:
    for (predictor,) in estimator._predictors:
        for bits in predictor.raw_left_cat_bitsets:
            for code in range(4):
                bits[0] ^= 1 << code
                yield flatten(estimator)
                bits[0] ^= 1 << code


def _raise_leaves(estimator: Any) -> Iterator[Trees]:
    form = flatten(estimator)
    # only the first tree, because it includes the baseline: the last bit of another leaf may not change the sum
    for leaf in range(int(estimator._predictors[0][0].nodes["is_leaf"].sum())):
        leaves = form.leaves.copy()
        leaves[0, leaf] = np.nextafter(leaves[0, leaf], np.inf)
        yield evolve(form, leaves=leaves)


@pytest.mark.parametrize(
    "damages", [_lower_thresholds, _raise_thresholds, _flip_missing, _flip_categories, _raise_leaves]
)
def test_parity_check_detects_every_visible_damage(damages: Callable[[Any], Iterator[Trees]]) -> None:
    estimator, table = _trained()
    check_tree_parity(estimator, flatten(estimator), table.for_trees, table.names[table.columns.for_trees])
    rows = adversarial_rows(estimator, table.for_trees, 1, 1000)
    right = raw_predictions(estimator, rows)
    detected, visible = 0, 0
    for form in damages(deepcopy(estimator)):
        visible += (differs := (form.log_prices(rows) != right).any())
        if _is_rejected(estimator, form, table):
            detected += 1
        else:
            assert not differs
    assert detected >= visible > 0


def _is_rejected(estimator: Any, form: Trees, table: TrainingTable) -> bool:
    try:
        check_tree_parity(estimator, form, table.for_trees, table.names[table.columns.for_trees])
    except RefusedModel:
        return True
    return False
