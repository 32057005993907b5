"""Contributions equal the Shapley values of scikit-learn's trees and linear models, and add up to the estimate."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.adapters.files.sales_file import SalesFile
from housepredict.adapters.serving.attribution import Attribution, Contributions
from housepredict.adapters.serving.encoding import Encoder, Matrix
from housepredict.adapters.serving.loader import load_explainer, load_predictor, pack, read_contributions
from housepredict.adapters.serving.trees import Paths
from housepredict.adapters.training.candidates import ABSOLUTE, SQUARED, Candidate, Model, TrainingTable, fit_candidate
from housepredict.adapters.training.linear_models import predicted
from housepredict.adapters.training.refit import attribution, table_of
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import Unit
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.models import SelfTest, digests_of
from housepredict.domain.schema_inference.inference import prepare
from housepredict.domain.training_options import Algorithm, TrainingOptions
from tests.factories import MIXED, a_house, a_log_form, sample_sales, sample_version

EXAMPLES = Path(__file__).parents[2] / "examples"
BOTH = Candidate(on_a_line=True, leaves=8, iterations=8, share=0.25)


def a_model(schema: FeatureSchema, seed: int, missing: float, candidate: Candidate) -> tuple[Model, TrainingTable]:
    sales = sample_sales(schema, 120, seed, missing)
    matrix = Encoder(schema)([sale.house for sale in sales])
    table = table_of(schema, matrix, np.array([sale.price for sale in sales]), 0.0)
    return fit_candidate(candidate, table, seed), table


def contributions_of(model: Model, table: TrainingTable) -> Contributions:
    form = model.form(table, None)
    return read_contributions(pack(attribution(model, form, table)), form)


def brute_force(players: int, value: Mapping[frozenset[int], float]) -> list[float]:
    """Compute Shapley values from the value of every coalition, by definition."""
    values = []
    for player in range(players):
        others = [other for other in range(players) if other != player]
        coalitions = chain.from_iterable(combinations(others, size) for size in range(players))
        values.append(
            sum(
                (value[frozenset({*coalition, player})] - value[frozenset(coalition)])
                / (players * math.comb(players - 1, len(coalition)))
                for coalition in coalitions
            )
        )
    return values


def tree_value(estimator: Any, row: Matrix, owners: Sequence[int], known: Collection[int]) -> float:
    """Compute what scikit-learn's trees predict if only the `known` players are known, from its node tables."""
    columns = list(range(len(owners)))
    if estimator.is_categorical_ is not None:  # scikit-learn puts categorical columns first and recodes them
        columns.sort(key=lambda column: not estimator.is_categorical_[column])
        row = estimator._preprocessor.transform(row[np.newaxis])[0]

    def say(predictor: Any, index: int) -> float:
        node = predictor.nodes[index]
        if node["is_leaf"]:
            return float(node["value"])
        left, right = predictor.nodes[node["left"]], predictor.nodes[node["right"]]
        if owners[columns[node["feature_idx"]]] not in known:
            shares = (left["count"] / node["count"], right["count"] / node["count"])
            return float(shares[0] * say(predictor, node["left"]) + shares[1] * say(predictor, node["right"]))
        value = row[node["feature_idx"]]
        if np.isnan(value):
            turns_left = node["missing_go_to_left"]
        elif node["is_categorical"]:
            turns_left = predictor.raw_left_cat_bitsets[node["bitset_idx"]][int(value) // 32] >> (int(value) % 32) & 1
        else:
            turns_left = value <= node["num_threshold"]
        return say(predictor, node["left"] if turns_left else node["right"])

    baseline = float(estimator._baseline_prediction.item())
    return baseline + sum(say(predictor, 0) for (predictor,) in estimator._predictors)


def line_contribution(model: Model, table: TrainingTable, row: Matrix, owners: Sequence[int], player: int) -> float:
    """Return how much the linear estimate changes on average if the player's columns are set to the house's values."""
    changed = table.for_lines.copy()
    is_player = np.array(owners) == player
    changed[:, is_player] = row[is_player]
    return float((predicted(model.line, changed) - predicted(model.line, table.for_lines)).mean()) if model.line else 0


@settings(max_examples=30, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(Kind), min_size=1, max_size=4),
    coordinates=st.booleans(),
    missing=st.sampled_from([0.0, 0.3]),
    on_a_line=st.booleans(),
    share=st.sampled_from([0.0, 0.25, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_contributions_match_brute_force_shapley_values(
    kinds: list[Kind], coordinates: bool, missing: float, on_a_line: bool, share: float, seed: int
) -> None:
    features = [
        Feature(f"f{number}", kind, categories=("a", "b", "c", "d") if kind is Kind.CATEGORY else ())
        for number, kind in enumerate(kinds)
    ]
    if coordinates:
        features[1:1] = [Feature("lat", Kind.NUMBER)]
        features.append(Feature("long", Kind.NUMBER))
    schema = FeatureSchema(tuple(features))
    model, table = a_model(schema, seed, missing, evolve(BOTH, on_a_line=on_a_line, share=share))
    contributions = contributions_of(model, table)
    columns, players = table.columns, contributions.players.max() + 1
    houses = [*(sale.house for sale in sample_sales(schema, 2, seed + 1, missing)), a_house(f0="unseen"), a_house()]
    houses = [each for each in houses if kinds[0] is Kind.CATEGORY or each.values.get("f0") != "unseen"]
    matrix = Encoder(schema)(houses)
    for_lines, for_trees = (columns.players[part].tolist() for part in (columns.for_lines, columns.for_trees))
    weights = {SQUARED: 1 - share, ABSOLUTE: share}
    for row, actual in zip(columns(matrix), contributions(matrix), strict=True):
        line = [line_contribution(model, table, row[columns.for_lines], for_lines, player) for player in range(players)]
        base = model.base if model.line is None else predicted(model.line, table.for_lines).mean()
        expected = np.array(line, dtype=float)
        for loss, estimator in model.trees.items():
            say = {
                frozenset(known): tree_value(estimator, row[columns.for_trees], for_trees, known)
                for size in range(players + 1)
                for known in combinations(range(players), size)
            }
            expected = expected + weights[loss] * np.array(brute_force(players, say), dtype=float)
            base += weights[loss] * say[frozenset()]
        assert actual == pytest.approx(expected, abs=1e-9)
        assert contributions.base == pytest.approx(base, abs=1e-9)


def test_contributions_group_features_joined_by_rotated_axes() -> None:
    schema = FeatureSchema(tuple(Feature(name, Kind.NUMBER) for name in ("size", "lat", "age", "long")))
    sales = sample_sales(schema, 150)
    fitted = SklearnTrainer(lambda *_: [BOTH]).fit(schema, sales, TrainingOptions(), lambda _done, _total: None)
    version, _ = sample_version(
        a_log_form(), schema=schema, algorithm=fitted.algorithm, digests=digests_of(fitted.artifact)
    )
    (explanation,) = load_explainer(version, fitted.artifact).explain([sales[0].house])
    assert [each.name for each in explanation.contributions] == ["size", "lat, long", "age"]


@pytest.mark.parametrize(
    ("file", "algorithm"),
    [
        ("saratoga_sales.csv", Algorithm.LINEAR),
        ("saratoga_sales.csv", Algorithm.RIDGE),
        ("saratoga_sales.csv", Algorithm.BOOSTING),
        ("king_county_sales.csv.gz", Algorithm.BOOSTING),
    ],
)
def test_contributions_add_up_to_estimates_of_real_houses(file: str, algorithm: Algorithm) -> None:
    options = TrainingOptions(price="price")
    sales = prepare(SalesFile(EXAMPLES / file).read(), options)
    candidate = evolve(BOTH, leaves=31, iterations=40 if algorithm is Algorithm.BOOSTING else 0)
    fitted = SklearnTrainer(lambda *_: [candidate]).fit(
        sales.schema, sales.training[:3000], evolve(options, algorithm=algorithm), lambda _done, _total: None
    )
    houses = [sale.house for sale in sales.held_out[:50]]
    prices = fitted.predict(houses).prices
    version, _ = sample_version(
        a_log_form(),
        schema=sales.schema,
        algorithm=fitted.algorithm,
        digests=digests_of(fitted.artifact),
        self_test=(SelfTest(houses[0], prices[0]),),
    )
    assert load_predictor(version, fitted.artifact).predict(houses).prices == prices
    for explanation, price in zip(load_explainer(version, fitted.artifact).explain(houses), prices, strict=True):
        total = explanation.base + sum(each.amount for each in explanation.contributions)
        if algorithm is Algorithm.LINEAR:
            assert explanation.unit is Unit.PRICE
            assert total == pytest.approx(price, rel=1e-9)
        else:
            assert explanation.unit is Unit.LOG_PRICE
            assert total == pytest.approx(math.log(price), abs=1e-9)
        assert {name for each in explanation.contributions for name in each.features} == sales.schema.names


def test_contributions_of_linear_model_average_to_zero() -> None:
    sales = sample_sales(MIXED, 200)
    options = TrainingOptions(algorithm=Algorithm.LINEAR)
    fitted = SklearnTrainer().fit(MIXED, sales, options, lambda _done, _total: None)
    version, _ = sample_version(
        a_log_form(), schema=MIXED, algorithm=Algorithm.LINEAR, digests=digests_of(fitted.artifact)
    )
    explanations = load_explainer(version, fitted.artifact).explain([sale.house for sale in sales])
    assert explanations[0].base == pytest.approx(np.mean([sale.price for sale in sales]))
    amounts = np.array([[each.amount for each in explanation.contributions] for explanation in explanations])
    assert amounts.mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-6)


def _shift_mean(paths: Paths) -> Paths:
    return evolve(paths, mean=paths.mean + 1e-6)


def _shift_ratios(paths: Paths) -> Paths:
    return evolve(paths, ratios=np.where(paths.ratios < 1, paths.ratios * 0.999, 1.0))


def _clear_mask_bit(paths: Paths) -> Paths:
    return evolve(paths, masks=paths.masks & ~np.uint32(1))


@pytest.mark.parametrize("damage", [_shift_mean, _shift_ratios, _clear_mask_bit])
def test_contribution_check_detects_wrong_sums(damage: Callable[[Paths], Paths]) -> None:
    model, table = a_model(MIXED, 1, 0.2, BOTH)
    form = model.form(table, None)
    right = attribution(model, form, table)
    matrix = Encoder(MIXED)([sale.house for sale in sample_sales(MIXED, 50)])
    read_contributions(pack(right), form).check_sum(matrix)
    assert right.squared
    with pytest.raises(RefusedModel, match="do not add up"):
        read_contributions(pack(evolve(right, squared=damage(right.squared))), form).check_sum(matrix)


def test_contributions_do_not_depend_on_batch() -> None:
    model, table = a_model(MIXED, 1, 0.2, BOTH)
    contributions = contributions_of(model, table)
    matrix = Encoder(MIXED)([sale.house for sale in sample_sales(MIXED, 700)])
    assert contributions(matrix).tolist() == [contributions(row[np.newaxis])[0].tolist() for row in matrix]
    assert contributions(matrix[:0]).shape == (0, 6)


def test_contributions_of_constant_model_are_zero() -> None:
    schema = FeatureSchema((Feature("size", Kind.NUMBER),))
    model, table = a_model(schema, 1, 1.0, evolve(BOTH, on_a_line=False))
    contributions = contributions_of(model, table)
    assert contributions(np.array([[math.nan], [3.0]])).tolist() == [[0.0], [0.0]]
    contributions.check_sum(np.array([[3.0]]))


def test_attribution_of_another_model_is_rejected() -> None:
    model, table = a_model(MIXED, 1, 0.2, BOTH)
    other, _ = a_model(MIXED, 2, 0.2, evolve(BOTH, iterations=5))
    form = model.form(table, None)
    right, wrong = attribution(model, form, table), attribution(other, other.form(table, None), table)
    mismatched: list[Attribution] = [wrong, evolve(right, squared=None), evolve(right, means=right.means[1:])]
    for each in mismatched:
        with pytest.raises(ValueError, match=r"don't match the trees|must have a mean"):
            read_contributions(pack(each), form)
