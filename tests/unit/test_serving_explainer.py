"""Explanation files are validated as strictly as models when they are loaded."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from housepredict.adapters.serving.attribution import Attribution
from housepredict.adapters.serving.encoding import DerivedFeatures
from housepredict.adapters.serving.loader import (
    SERVING_FILE,
    ServingForm,
    SharedForms,
    load_explainer,
    load_predictor,
    pack,
)
from housepredict.adapters.serving.trees import Paths, _Masks
from housepredict.domain.errors import NoExplanation, RefusedModel
from housepredict.domain.estimates import Unit
from housepredict.domain.models import Artifact, ModelVersion, SelfTest, digests_of
from tests.factories import a_house, a_linear_form, a_log_form, sample_version

LAB = a_house(size=2500, bedrooms=3, age=10)


def linear_attribution() -> Attribution:
    """Return an attribution whose average house has 2,000 sq ft, 3 bedrooms, and 25 years."""
    return Attribution(np.array([200_000.0, 30_000, -12_500]))


def trees_attribution() -> Attribution:
    """Return an attribution for `a_trees_form`: 25% of houses have up to 2,000 sq ft, 50% up to 3 bedrooms."""
    ratios = np.ones((3, 2, 2))
    ratios[0, 0], ratios[1, 1] = (0.25, 0.75), (0.5, 0.5)
    # up to 2000 sq ft, more, missing; up to 3 bedrooms, more, missing; any age, missing
    masks = np.array([[1, 3], [2, 3], [2, 3], [3, 1], [3, 2], [3, 1], [3, 3], [3, 3]], dtype=np.uint32)
    return Attribution(np.zeros(3), squared=Paths(masks, ratios, np.asarray(12.75 + 0.5)))


def explained_by(attribution: Attribution, form: ServingForm, **overrides: object) -> tuple[ModelVersion, Artifact]:
    version, artifact = sample_version(form, **overrides)
    return _with(version, artifact, pack(attribution))


def _with(version: ModelVersion, artifact: Artifact, content: bytes) -> tuple[ModelVersion, Artifact]:
    files = {**artifact, "explanation.npz": content}
    return evolve(version, digests=digests_of(files)), files


def test_linear_contributions_are_differences_from_means() -> None:
    explainer = load_explainer(
        *explained_by(linear_attribution(), a_linear_form(), self_test=(SelfTest(LAB, 325_000.0),))
    )
    known, unknown = explainer.explain([LAB, a_house()])
    assert known.unit is Unit.PRICE
    assert known.base == unknown.base == 267_500
    assert [(each.features, each.amount) for each in known.contributions] == [
        (("size",), 50_000),
        (("bedrooms",), 0),
        (("age",), 7_500),
    ]
    assert [each.amount for each in unknown.contributions] == [0, 0, 0]


def test_tree_contributions_are_differences_from_average_path() -> None:
    explainer = load_explainer(*explained_by(trees_attribution(), a_log_form()))
    large, nothing = explainer.explain([a_house(size=2500, bedrooms=4, age=1), a_house()])
    assert large.unit is Unit.LOG_PRICE
    assert large.base == 13.25
    assert [each.amount for each in large.contributions] == pytest.approx([0.25, 0.5, 0])
    # a missing size turns right, missing bedrooms left
    assert [each.amount for each in nothing.contributions] == pytest.approx([0.25, -0.5, 0])
    assert list(explainer.explain([])) == []


def test_features_of_shared_axes_form_one_player() -> None:
    columns = DerivedFeatures(
        lowest=np.full(6, -np.inf),
        highest=np.full(6, np.inf),
        logged=np.array([4, 1]),
        turned=np.array([[5, 3], [3, 5], [1, 3]]),
        weights=np.ones((3, 2)),
    )
    feature_players = [0, 1, 2, 1, 3, 1]
    assert columns.players.tolist() == [3, 1, *feature_players, 1, 1, 1]


def test_older_version_has_no_explanation() -> None:
    with pytest.raises(NoExplanation):
        load_explainer(*sample_version(a_linear_form()))


def test_changed_files_are_rejected() -> None:
    version, artifact = explained_by(linear_attribution(), a_linear_form())
    for file in ("explanation.npz", SERVING_FILE):
        with pytest.raises(RefusedModel, match="was changed"):
            load_explainer(version, {**artifact, file: b"changed"})


@pytest.mark.parametrize(
    "attribution", [trees_attribution(), Attribution(np.zeros(2))], ids=["trees", "a feature less"]
)
def test_explanation_of_another_model_is_rejected(attribution: Attribution) -> None:
    with pytest.raises(RefusedModel, match=r"explanation\.npz"):
        load_explainer(*explained_by(attribution, a_linear_form()))


def test_explanation_that_does_not_add_up_is_rejected() -> None:
    right = trees_attribution()
    assert right.squared
    wrong = evolve(right, squared=evolve(right.squared, mean=np.asarray(13.5)))
    with pytest.raises(RefusedModel, match="do not add up"):
        load_explainer(*explained_by(wrong, a_log_form(), self_test=(SelfTest(LAB, math.exp(13)),)))


@pytest.mark.parametrize("ratio", [0.0, -0.5, 1.5, math.nan])
def test_invalid_ratios_are_rejected(ratio: float) -> None:
    paths = trees_attribution().squared
    assert paths
    with pytest.raises(ValueError, match="ratios"):
        evolve(paths, ratios=np.full_like(paths.ratios, ratio))


@given(data=st.data())
def test_damage_is_rejected_or_harmless(data: st.DataObject) -> None:
    """Loading any file content either raises RefusedModel or returns a working explainer."""
    content = pack(trees_attribution())
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = data.draw(
        st.sampled_from([content[:place], content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]])
    )
    try:
        explainer = load_explainer(*_with(*sample_version(a_log_form()), damaged))
    except RefusedModel:
        return
    assert len(explainer.explain([LAB])) == 1


@given(st.data())
def test_compressed_masks_equal_full_masks(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=4))
    trees = data.draw(st.integers(1, 4))
    numbers = st.integers(0, data.draw(st.sampled_from([1, 3, 2**32 - 1])))
    masks = data.draw(arrays(np.uint32, (sum(sizes), trees), elements=numbers))
    starts = np.cumsum([0, *sizes[:-1]])
    cells = np.array([[data.draw(st.integers(0, size - 1)) for size in sizes] for _ in range(3)]) + starts
    assert (_Masks.of(masks, starts).take(cells) == masks.take(cells, axis=0)).all()


def test_explainer_shares_form_with_predictor() -> None:
    forms = SharedForms()
    version, artifact = explained_by(linear_attribution(), a_linear_form(), self_test=(SelfTest(LAB, 325_000.0),))
    predictor = load_predictor(version, artifact, forms)
    explainer = load_explainer(version, artifact, forms)
    assert explainer._contributions.form is predictor._form


def test_unused_form_is_released() -> None:
    forms = SharedForms()
    version, artifact = explained_by(linear_attribution(), a_linear_form(), self_test=(SelfTest(LAB, 325_000.0),))
    predictor = load_predictor(version, artifact, forms)
    assert len(forms._in_use) == 1
    del predictor
    gc.collect()
    assert len(forms._in_use) == 0
