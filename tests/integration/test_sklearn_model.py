"""Training, and the parity of the serving form with the trained model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import joblib
import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.loader import load_predictor
from housepredict.adapters.serving.trees import Trees
from housepredict.adapters.training.boosting import boost, check_tree_parity
from housepredict.adapters.training.candidates import Candidate, TrainingTable, fit_candidate
from housepredict.adapters.training.linear_models import check_linear_parity, least_squares, linear_form, ridge
from housepredict.adapters.training.refit import table_of
from housepredict.adapters.training.serving_form import flatten
from housepredict.adapters.training.trainer import SklearnTrainer
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import digests_of
from housepredict.domain.ports import TrainedModel
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from tests.factories import MIXED, TUTORIAL, a_house, a_log_form, sample_sales, sample_version

LINE = Candidate(on_a_line=True)
QUICK = [LINE, Candidate(on_a_line=False, leaves=4, iterations=16), Candidate(on_a_line=True, leaves=8, iterations=16)]
ALGORITHMS = pytest.mark.parametrize("algorithm", [Algorithm.LINEAR, Algorithm.RIDGE, Algorithm.BOOSTING])


def quick(algorithm: Algorithm, _effort: Effort, _sales: int) -> list[Candidate]:
    return [each for each in QUICK if algorithm in (Algorithm.AUTO, each.algorithm)]


def fit(
    schema: FeatureSchema, sales: Sequence[Sale], algorithm: Algorithm = Algorithm.AUTO, seed: int = 42
) -> TrainedModel:
    options = TrainingOptions(algorithm=algorithm, seed=seed)
    return SklearnTrainer(quick).fit(schema, sales, options, lambda _done, _total: None)


def prices_of(fitted: TrainedModel, houses: Sequence[House]) -> list[float]:
    return list(fitted.predict(houses).prices)


def a_table(schema: FeatureSchema, sales: Sequence[Sale]) -> TrainingTable:
    matrix = Encoder(schema)([sale.house for sale in sales])
    return table_of(schema, matrix, np.array([sale.price for sale in sales]), 0.0)


def table_of_houses(table: TrainingTable, schema: FeatureSchema, houses: Sequence[House]) -> TrainingTable:
    return evolve(table, values=table.columns(Encoder(schema)(houses)), log_prices=np.zeros(len(houses)))


_kinds = st.lists(st.sampled_from(Kind), min_size=1, max_size=5)


def _schema(kinds: list[Kind], categories: int) -> FeatureSchema:
    names = tuple(f"c{number}" for number in range(categories))
    return FeatureSchema(
        tuple(
            Feature(f"f{number}", kind, categories=names if kind is Kind.CATEGORY else ())
            for number, kind in enumerate(kinds)
        )
    )


@settings(max_examples=40)
@given(
    kinds=_kinds,
    categories=st.sampled_from([1, 3, 30]),
    missing=st.sampled_from([0.0, 0.3, 0.9]),
    on_a_line=st.booleans(),
    loss=st.sampled_from(["squared_error", "absolute_error"]),
    seed=st.integers(0, 10**6),
)
def test_boosting_form_matches_scikit_learn(
    kinds: list[Kind], categories: int, missing: float, on_a_line: bool, loss: str, seed: int
) -> None:
    schema = _schema(kinds, categories)
    candidate = Candidate(on_a_line, leaves=8, iterations=12, share=0.0 if loss == "squared_error" else 1.0)
    table = a_table(schema, sample_sales(schema, 120, seed, missing))
    model = fit_candidate(candidate, table, seed)
    form = model.form(table, None)
    houses = [*(sale.house for sale in sample_sales(schema, 60, seed + 1, missing)), a_house()]
    houses += [House({feature.name: "unseen"}) for feature in schema.features if feature.kind is Kind.CATEGORY]
    rows = table_of_houses(table, schema, houses)
    trees = form.squared or form.absolute
    assert trees
    # trees match to the last bit, a line except for the order of its additions
    assert trees.log_prices(rows.for_trees).tolist() == model.trees[loss].predict(rows.for_trees).tolist()
    assert form.log_prices(rows.values) == pytest.approx(model.predict(rows.columns, rows.values), rel=1e-9)
    matrix = Encoder(schema)(houses)
    whole = form.valuation(matrix)[0].tolist()
    assert [form.valuation(row[np.newaxis])[0].item() for row in matrix] == whole


@settings(max_examples=40)
@given(
    kinds=_kinds,
    categories=st.sampled_from([1, 3, 30]),
    missing=st.sampled_from([0.0, 0.3, 0.9]),
    seed=st.integers(0, 10**6),
)
def test_linear_form_matches_scikit_learn(kinds: list[Kind], categories: int, missing: float, seed: int) -> None:
    schema = _schema(kinds, categories)
    fitted = fit(schema, sample_sales(schema, 60, seed, missing), Algorithm.LINEAR)
    houses = [*(sale.house for sale in sample_sales(schema, 60, seed + 1, missing)), a_house()]
    expected = joblib.load(BytesIO(fitted.artifact["estimator.joblib"])).predict(Encoder(schema)(houses))
    assert prices_of(fitted, houses) == pytest.approx(expected.tolist(), rel=1e-9)
    assert [prices_of(fitted, [house])[0] for house in houses] == prices_of(fitted, houses)


def test_linear_model_matches_plain_least_squares() -> None:
    sales = sample_sales(TUTORIAL, 200, missing=0)
    houses = [sale.house for sale in sales]
    matrix = np.array([[house.values[name] for name in ("size", "bedrooms", "age")] for house in houses], dtype=float)
    plain = LinearRegression().fit(matrix, [sale.price for sale in sales])
    predicted = prices_of(fit(TUTORIAL, sales, Algorithm.LINEAR), houses)
    assert predicted == pytest.approx(plain.predict(matrix).tolist(), rel=1e-12)


@ALGORITHMS
def test_loaded_model_predicts_the_same(algorithm: Algorithm) -> None:
    sales = sample_sales(MIXED, 200)
    fitted = fit(MIXED, sales, algorithm)
    version, _ = sample_version(a_log_form())
    version = evolve(version, schema=MIXED, algorithm=algorithm, digests=digests_of(fitted.artifact))
    houses = [sale.house for sale in sales]
    assert load_predictor(version, fitted.artifact).predict(houses) == fitted.predict(houses)
    assert fitted.libraries.keys() == {"python", "numpy", "scikit-learn", "joblib"}


@ALGORITHMS
def test_serving_form_is_deterministic(algorithm: Algorithm) -> None:
    first, second = (fit(MIXED, sample_sales(MIXED, 150), algorithm) for _ in range(2))
    assert first.artifact["serving.npz"] == second.artifact["serving.npz"]


def test_seed_changes_trees() -> None:
    first, second = (fit(MIXED, sample_sales(MIXED, 150), Algorithm.BOOSTING, seed) for seed in (1, 2))
    assert first.artifact["serving.npz"] != second.artifact["serving.npz"]


def test_rare_categories_are_grouped_in_linear_model() -> None:
    schema = _schema([Kind.CATEGORY, Kind.NUMBER], 400)
    # c300 to c399 once, the others more often, c3 most often
    codes = [*range(400), *(number % 300 for number in range(1200)), *[3] * 40]
    sales = [
        Sale(a_house(f0=f"c{code}", f1=code % 7), 1e5 + 1e4 * (code % 40), str(number))
        for number, code in enumerate(codes)
    ]
    fitted = fit(schema, sales, Algorithm.LINEAR)
    rare, also_rare, frequent = prices_of(fitted, [a_house(f0=name, f1=1) for name in ("c398", "c399", "c3")])
    assert rare == also_rare != frequent


@ALGORITHMS
def test_feature_missing_from_all_sales_is_accepted(algorithm: Algorithm) -> None:
    sales = [
        evolve(sale, house=House({name: value for name, value in sale.house.values.items() if name == "bedrooms"}))
        for sale in sample_sales(MIXED, 60)
    ]
    fitted = fit(MIXED, sales, algorithm)
    assert all(map(math.isfinite, prices_of(fitted, [a_house(area="north", size=1.0), a_house()])))


def _raise_first_threshold(form: Trees) -> Trees:
    cuts = form.cuts.copy()
    place = np.flatnonzero(np.isfinite(cuts))[0]
    cuts[place] = np.nextafter(cuts[place], np.inf)
    return evolve(form, cuts=cuts)


def _flip_missing(form: Trees) -> Trees:
    masks = form.masks.copy()
    missing = form.sizes[0]
    masks[missing] = np.where(masks[0] != masks[missing], masks[0], masks[missing - 1])
    return evolve(form, masks=masks)


def _flip_category(form: Trees) -> Trees:
    masks, area = form.masks.copy(), form.sizes[0] + 1
    masks[area + 1] = masks[area + 2]
    return evolve(form, masks=masks)


def _shift_leaf(form: Trees) -> Trees:
    leaves = form.leaves.copy()
    leaves[3, 0] += 1e-12
    return evolve(form, leaves=leaves)


def _reorder_sum(form: Trees) -> Trees:
    return evolve(form, masks=form.masks[:, ::-1].copy(), leaves=form.leaves[::-1].copy())


@pytest.mark.parametrize(
    "damage",
    [
        _raise_first_threshold,
        _flip_missing,
        _flip_category,
        _shift_leaf,
        _reorder_sum,
    ],
)
def test_parity_check_detects_smallest_tree_difference(damage: Any) -> None:
    table = a_table(MIXED, sample_sales(MIXED, 300))
    estimator = boost(
        table.categorical, table.for_trees, table.log_prices, loss="squared_error", leaves=31, iterations=12, seed=42
    )
    right = flatten(estimator)
    names = table.names[table.columns.for_trees]
    check_tree_parity(estimator, right, table.for_trees, names)
    with pytest.raises(RefusedModel, match="differs from the model"):
        check_tree_parity(estimator, damage(right), table.for_trees, names)


@pytest.mark.parametrize("name", ["means", "coefficients", "offsets"])
@pytest.mark.parametrize("fitted", [least_squares, ridge])
def test_parity_check_detects_shifted_linear_form(fitted: Any, name: str) -> None:
    table = a_table(MIXED, sample_sales(MIXED, 100))
    pipeline = fitted(table.line_categories, table.for_lines, table.log_prices)
    right = linear_form(table.line_categories, pipeline)
    names = table.names[table.columns.for_lines]
    check_linear_parity(pipeline, right, table.for_lines, names)
    with pytest.raises(RefusedModel, match="differs from the model"):
        check_linear_parity(
            pipeline, evolve(right, **{name: getattr(right, name) * (1 + 1e-6)}), table.for_lines, names
        )
