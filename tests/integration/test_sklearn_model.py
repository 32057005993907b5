"""Training, and the proof that what serves is what was trained."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import joblib
import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from housepredict.adapters.serving.encoding import Encoder
from housepredict.adapters.serving.loader import load_predictor
from housepredict.adapters.serving.trees import Trees
from housepredict.adapters.sklearn_model.boosting import Boosting
from housepredict.adapters.sklearn_model.linear import LeastSquares
from housepredict.adapters.sklearn_model.trainer import Method, SklearnTrainer
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import Algorithm, digests_of
from housepredict.domain.ports import Fitted
from housepredict.domain.sales import Sale
from tests.factories import MIXED, TUTORIAL, a_house, a_trees_form, a_version, some_sales

QUICK: dict[Algorithm, Method] = {Algorithm.LINEAR: LeastSquares(), Algorithm.BOOSTING: Boosting(iterations=12)}
BOTH = pytest.mark.parametrize("algorithm", Algorithm)


def fit(schema: FeatureSchema, sales: list[Sale], algorithm: Algorithm, seed: int = 42) -> Fitted:
    return SklearnTrainer(QUICK).fit(schema, sales, algorithm, seed, lambda _done, _total: None)


def estimator_of(fitted: Fitted) -> Any:
    return joblib.load(BytesIO(fitted.artefact["estimator.joblib"]))


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
    seed=st.integers(0, 10**6),
)
def test_boosting_serves_what_scikit_learn_predicts_to_the_last_bit(
    kinds: list[Kind], categories: int, missing: float, seed: int
) -> None:
    schema = _schema(kinds, categories)
    fitted = fit(schema, some_sales(schema, 120, seed, missing), Algorithm.BOOSTING)
    houses = [*(sale.house for sale in some_sales(schema, 60, seed + 1, missing)), a_house()]
    houses += [House({feature.name: "unseen"}) for feature in schema.features if feature.kind is Kind.CATEGORY]
    expected = np.exp(estimator_of(fitted).predict(Encoder(schema)(houses)))
    assert list(fitted.predict(houses)) == expected.tolist()
    assert [fitted.predict([house])[0] for house in houses] == expected.tolist()


@settings(max_examples=40)
@given(
    kinds=_kinds,
    categories=st.sampled_from([1, 3, 30]),
    missing=st.sampled_from([0.0, 0.3, 0.9]),
    seed=st.integers(0, 10**6),
)
def test_a_linear_model_serves_what_scikit_learn_predicts(
    kinds: list[Kind], categories: int, missing: float, seed: int
) -> None:
    schema = _schema(kinds, categories)
    fitted = fit(schema, some_sales(schema, 60, seed, missing), Algorithm.LINEAR)
    houses = [*(sale.house for sale in some_sales(schema, 60, seed + 1, missing)), a_house()]
    expected = estimator_of(fitted).predict(Encoder(schema)(houses))
    assert list(fitted.predict(houses)) == pytest.approx(expected.tolist(), rel=1e-9)
    assert [fitted.predict([house])[0] for house in houses] == list(fitted.predict(houses))


def test_the_tutorials_features_get_what_plain_least_squares_gives() -> None:
    sales = some_sales(TUTORIAL, 200, missing=0)
    houses = [sale.house for sale in sales]
    matrix = np.array([[house.values[name] for name in ("size", "bedrooms", "age")] for house in houses], dtype=float)
    plain = LinearRegression().fit(matrix, [sale.price for sale in sales])
    predicted = fit(TUTORIAL, sales, Algorithm.LINEAR).predict(houses)
    assert predicted == pytest.approx(plain.predict(matrix).tolist(), rel=1e-12)


@BOTH
def test_what_was_fitted_can_be_loaded_and_predicts_the_same(algorithm: Algorithm) -> None:
    sales = some_sales(MIXED, 200)
    fitted = fit(MIXED, sales, algorithm)
    version, _ = a_version(a_trees_form())
    version = evolve(version, schema=MIXED, algorithm=algorithm, digests=digests_of(fitted.artefact))
    houses = [sale.house for sale in sales]
    assert load_predictor(version, fitted.artefact).predict(houses) == fitted.predict(houses)
    assert fitted.libraries.keys() == {"python", "numpy", "scikit-learn", "joblib"}


@BOTH
def test_the_same_sales_and_seed_make_the_same_serving_form(algorithm: Algorithm) -> None:
    first, second = (fit(MIXED, some_sales(MIXED, 150), algorithm) for _ in range(2))
    assert first.artefact["serving.npz"] == second.artefact["serving.npz"]


def test_another_seed_makes_other_trees() -> None:
    first, second = (fit(MIXED, some_sales(MIXED, 150), Algorithm.BOOSTING, seed) for seed in (1, 2))
    assert first.artefact["serving.npz"] != second.artefact["serving.npz"]


def test_fitting_step_by_step_makes_the_trees_of_a_single_fit() -> None:
    schema, sales = MIXED, some_sales(MIXED, 150)
    matrix, prices = Encoder(schema)([sale.house for sale in sales]), np.array([sale.price for sale in sales])
    steps: list[tuple[int, int]] = []
    estimator = Boosting(iterations=25).fit(schema, matrix, prices, 42, lambda *step: steps.append(step))
    single = clone(estimator).set_params(warm_start=False).fit(matrix, np.log(prices))
    assert single.n_iter_ == estimator.n_iter_ == 25
    assert estimator.predict(matrix).tolist() == single.predict(matrix).tolist()
    assert steps[0] == (0, 25)
    assert steps[-1] == (25, 25)
    assert len(steps) > 5


@BOTH
def test_more_categories_than_can_be_told_apart_leave_the_rare_ones_as_others(algorithm: Algorithm) -> None:
    schema = _schema([Kind.CATEGORY, Kind.NUMBER], 400)
    # c300 to c399 once, the others more often, c3 most
    codes = [*range(400), *(number % 300 for number in range(1200)), *[3] * 40]
    sales = [Sale(a_house(f0=f"c{code}", f1=code % 7), 1e5 + 1e4 * (code % 40), "") for code in codes]
    fitted = fit(schema, sales, algorithm)
    rare, also_rare, frequent = fitted.predict([a_house(f0=name, f1=1) for name in ("c398", "c399", "c3")])
    assert rare == also_rare != frequent


@BOTH
def test_a_feature_that_no_sale_has_is_no_obstacle(algorithm: Algorithm) -> None:
    sales = [
        evolve(sale, house=House({name: value for name, value in sale.house.values.items() if name == "bedrooms"}))
        for sale in some_sales(MIXED, 60)
    ]
    fitted = fit(MIXED, sales, algorithm)
    assert all(map(math.isfinite, fitted.predict([a_house(area="north", size=1.0), a_house()])))


def _first_threshold_up(form: Trees) -> Trees:
    cuts = form.cuts.copy()
    place = np.flatnonzero(np.isfinite(cuts))[0]
    cuts[place] = np.nextafter(cuts[place], np.inf)
    return evolve(form, cuts=cuts)


def _missing_turns_the_other_way(form: Trees) -> Trees:
    masks = form.masks.copy()
    missing = form.sizes[0]
    masks[missing] = np.where(masks[0] != masks[missing], masks[0], masks[missing - 1])
    return evolve(form, masks=masks)


def _one_category_turns_the_other_way(form: Trees) -> Trees:
    masks, area = form.masks.copy(), form.sizes[0] + 1
    masks[area + 1] = masks[area + 2]
    return evolve(form, masks=masks)


def _one_leaf_off(form: Trees) -> Trees:
    leaves = form.leaves.copy()
    leaves[3, 0] += 1e-12
    return evolve(form, leaves=leaves)


def _summed_in_another_order(form: Trees) -> Trees:
    return evolve(form, masks=form.masks[:, ::-1].copy(), leaves=form.leaves[::-1].copy())


@pytest.mark.parametrize(
    "damage",
    [
        _first_threshold_up,
        _missing_turns_the_other_way,
        _one_category_turns_the_other_way,
        _one_leaf_off,
        _summed_in_another_order,
    ],
)
def test_the_proof_finds_trees_that_differ_by_the_least_that_they_can(damage: Any) -> None:
    class Wrong(Boosting):
        def form(self, schema: FeatureSchema, estimator: Any) -> Trees:
            right = super().form(schema, estimator)
            wrong: Trees = damage(right)
            return wrong

    trainer = SklearnTrainer({Algorithm.BOOSTING: Wrong(iterations=12)})
    with pytest.raises(RefusedModel, match="differs from the model"):
        trainer.fit(MIXED, some_sales(MIXED, 300), Algorithm.BOOSTING, 42, lambda _done, _total: None)


@pytest.mark.parametrize("name", ["means", "coefficients", "offsets"])
def test_the_proof_finds_a_linear_form_that_is_a_little_off(name: str) -> None:
    class Wrong(LeastSquares):
        def form(self, schema: FeatureSchema, pipeline: Any) -> Any:
            right = super().form(schema, pipeline)
            return evolve(right, **{name: getattr(right, name) * (1 + 1e-8)})

    trainer = SklearnTrainer({Algorithm.LINEAR: Wrong()})
    with pytest.raises(RefusedModel, match="differs from the model"):
        trainer.fit(MIXED, some_sales(MIXED, 100), Algorithm.LINEAR, 42, lambda _done, _total: None)
