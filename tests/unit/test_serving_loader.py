"""Loading of model versions, and rejection of invalid ones."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.serving.loader import ServingForm, load_predictor, pack, unpack
from housepredict.domain.errors import NewerModel, RefusedModel
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.models import Artifact, ModelVersion, SelfTest, digests_of
from housepredict.domain.training_options import Algorithm
from tests.factories import a_house, a_linear_form, a_log_form, a_trees_form, sample_version

LAB = a_house(size=2500, bedrooms=3, age=10)
FORMS: dict[Algorithm, ServingForm] = {Algorithm.LINEAR: a_linear_form(), Algorithm.BOOSTING: a_log_form()}


def test_version_is_loaded_and_predicts() -> None:
    version, artifact = sample_version(a_linear_form(), self_test=(SelfTest(LAB, 325_000.0),))
    predictor = load_predictor(version, artifact)
    assert predictor.version is version
    assert predictor.predict([LAB, a_house()]).prices == [325_000.0, 267_500.0]
    assert predictor.predict([]).prices == []


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_form_is_packed_deterministically(form: ServingForm) -> None:
    version, artifact = sample_version(form)
    content = pack(form)
    assert content == artifact["serving.npz"]
    assert pack(unpack(content, version.algorithm)) == content


def test_changed_missing_or_extra_files_are_rejected() -> None:
    version, artifact = sample_version(a_linear_form())
    for damaged in (
        {**artifact, "estimator.joblib": b"changed"},
        {**artifact, "more": b""},
        {"serving.npz": artifact["serving.npz"]},
        {},
    ):
        with pytest.raises(RefusedModel):
            load_predictor(version, damaged)


def test_version_without_serving_form_is_rejected() -> None:
    version, _ = sample_version(a_linear_form())
    artifact = {"estimator.joblib": b"alone"}
    with pytest.raises(RefusedModel, match=r"no serving\.npz"):
        load_predictor(evolve(version, digests=digests_of(artifact)), artifact)


@given(form=st.sampled_from(sorted(FORMS)), data=st.data())
def test_damage_is_rejected_or_harmless(form: Algorithm, data: st.DataObject) -> None:
    """Loading any file content either raises RefusedModel or returns a working predictor."""
    version, artifact = sample_version(FORMS[form])
    content = artifact["serving.npz"]
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = data.draw(
        st.sampled_from([content[:place], content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]])
    )
    try:
        predictor = load_predictor(*_with(version, damaged))
    except RefusedModel:
        return
    assert len(predictor.predict([LAB]).prices) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", pickle.dumps({"format": 1}), pack(a_log_form())[:-30]],
    ids=["empty", "no archive", "a pickle", "cut off"],
)
def test_invalid_archive_is_rejected(content: bytes) -> None:
    with pytest.raises(RefusedModel, match=r"serving\.npz does not contain a valid boosting model"):
        load_predictor(*_with(sample_version(a_log_form())[0], content))


def test_pickle_in_archive_is_never_opened() -> None:
    with pytest.raises(RefusedModel, match="must contain numbers, not object"):
        unpack(_npz(a_log_form(), **{"squared.leaves": np.array([_Bomb()], dtype=object)}), Algorithm.BOOSTING)


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was opened",)


def test_single_array_is_rejected() -> None:
    buffer = BytesIO()
    np.save(buffer, np.zeros(3))
    with pytest.raises(RefusedModel):
        unpack(buffer.getvalue(), Algorithm.LINEAR)


def test_unsupported_format_is_rejected() -> None:
    with pytest.raises(NewerModel, match=r"serving\.npz was made by a newer release of housepredict: it has format 3"):
        unpack(_npz(a_linear_form(), format=np.int64(3)), Algorithm.LINEAR)
    with pytest.raises(RefusedModel, match="format must be 2, not 1"):
        unpack(_npz(a_linear_form(), format=np.int64(1)), Algorithm.LINEAR)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_arrays_of_newer_release_are_ignored(form: ServingForm) -> None:
    version, _ = sample_version(form)
    newer = {"more": np.array(["text"]), "squared.more": np.zeros(1), "more.cuts": np.zeros(1)}
    assert pack(unpack(_npz(form, **newer), version.algorithm)) == pack(form)


def test_form_of_another_algorithm_is_rejected() -> None:
    with pytest.raises(RefusedModel, match="does not contain a valid boosting model"):
        unpack(pack(a_linear_form()), Algorithm.BOOSTING)


_TREES, _LOG, _LINEAR = a_trees_form(), a_log_form(), a_linear_form()
_LEVELS = evolve(
    _LOG,
    columns=evolve(_LOG.columns, grouped=np.array([2]), levels=np.array([[0.1, 0.0]])),
    linear=Linear(np.array(0.0), np.zeros(4), np.zeros(4), np.zeros(4, dtype=np.int64), np.empty(0)),
    squared=None,
)


@pytest.mark.parametrize(
    ("form", "damage"),
    [
        (_LINEAR, {"means": np.zeros(2)}),
        (_LINEAR, {"means": np.array([1.0, math.nan, 1.0])}),
        (_LINEAR, {"intercept": np.array(math.inf)}),
        (_LINEAR, {"coefficients": np.zeros(3, dtype=np.float32)}),
        (_LINEAR, {"sizes": np.array([0, 0, 2])}),
        (_LINEAR, {"sizes": np.array([1, -1, 0])}),
        (_LINEAR, {"offsets": np.zeros((0, 1))}),
        (_LOG, {"squared.cuts": np.array([2000.0, 2000.0, 3.0, np.inf, np.inf])}),
        (_LOG, {"squared.cuts": np.array([math.nan, np.inf, 3.0, np.inf, np.inf])}),
        (_LOG, {"squared.cuts": np.array([np.inf, 2000.0, 3.0, np.inf, np.inf])}),
        (_LOG, {"squared.sizes": np.array([2, 2, 2])}),
        (_LOG, {"squared.sizes": np.array([5, -1, 1])}),
        (_LOG, {"squared.sizes": np.array([2**63 - 1, 2**63 - 1, 7])}),
        (_LOG, {"squared.sizes": np.zeros(0, dtype=np.int64), "squared.cuts": np.zeros(0)}),
        (_LOG, {"squared.masks": _TREES.masks[:-1]}),
        (_LOG, {"squared.masks": _TREES.masks[:, :1]}),
        (_LOG, {"squared.masks": _TREES.masks.astype(np.int64)}),
        (_LOG, {"squared.masks": _TREES.masks & 1}),
        (_LOG, {"squared.masks": _TREES.masks << 2}),
        (_LOG, {"squared.leaves": np.zeros((2, 33))}),
        (_LOG, {"squared.leaves": np.zeros((2, 0))}),
        (_LOG, {"squared.leaves": np.full((2, 2), math.nan)}),
        (_LOG, {"squared.masks": np.zeros((8, 0), dtype=np.uint32), "squared.leaves": np.zeros((0, 2))}),
        (_LOG, {"share": np.array(math.nan)}),
        (_LOG, {"linear.sizes": np.zeros(4, dtype=np.int64)}),
        (_LOG, {f"linear.{name}": np.zeros(2) for name in ("means", "coefficients")}),
        (_LOG, {"columns.lowest": np.zeros(2)}),
        (_LOG, {"columns.lowest": np.array([0.0, 0.0, math.nan])}),
        (_LOG, {"columns.highest": np.full(3, -math.inf), "columns.lowest": np.zeros(3)}),
        (_LOG, {"columns.logged": np.array([3])}),
        (_LOG, {"columns.logged": np.array([-1])}),
        (_LOG, {"columns.logged": np.array([0])}),
        (_LOG, {"columns.turned": np.zeros((1, 3), dtype=np.int64), "columns.weights": np.zeros((1, 3))}),
        (_LOG, {"columns.turned": np.array([[0, 1]]), "columns.weights": np.zeros((1, 2))}),
        (_LOG, {"columns.grouped": np.array([2])}),
        (_LOG, {"columns.levels": np.zeros((1, 2))}),
        (_LOG, {"columns.grouped": np.array([2]), "columns.levels": np.zeros((1, 2))}),
        (_LEVELS, {"columns.grouped": np.array([3])}),
        (_LEVELS, {"columns.levels": np.zeros((1, 0))}),
        (_LEVELS, {"columns.levels": np.array([[0.1, math.nan]])}),
        (_LEVELS, {"columns.levels": np.zeros((2, 2))}),
    ],
)
def test_inconsistent_arrays_are_rejected(form: ServingForm, damage: dict[str, np.ndarray]) -> None:
    with pytest.raises(RefusedModel, match="model: "):
        unpack(_npz(form, **damage), next(algorithm for algorithm in FORMS if type(FORMS[algorithm]) is type(form)))


def test_target_encodings_are_packed_and_unpacked() -> None:
    content = pack(_LEVELS)
    assert pack(unpack(content, Algorithm.RIDGE)) == content
    assert {"columns.grouped", "columns.levels"} <= np.load(BytesIO(content)).keys()
    assert not {"columns.grouped", "columns.levels"} & np.load(BytesIO(pack(_LOG))).keys()


def test_schema_with_other_features_is_rejected() -> None:
    schema = FeatureSchema((Feature("size", Kind.NUMBER),))
    with pytest.raises(RefusedModel, match="has 3 features, but the schema has 1"):
        load_predictor(*sample_version(a_linear_form(), schema=schema))


@pytest.mark.parametrize("price", [324_999.98, 325_000.02, math.nan, math.inf, -1.0])
def test_self_test_failure_rejects_version(price: float) -> None:
    with pytest.raises(RefusedModel, match=f"is 325000.0, not {price}"):
        load_predictor(*sample_version(a_linear_form(), self_test=(SelfTest(LAB, price),)))


@pytest.mark.parametrize(
    "values", [{"size": "large"}, {"size": 10**400}, {"sold": "2015-02-30"}], ids=["text", "too large", "no date"]
)
def test_self_test_with_invalid_house_rejects_version(values: dict[str, Any]) -> None:
    schema = FeatureSchema((*sample_version(a_linear_form())[0].schema.features[:2], Feature("sold", Kind.DATE)))
    version = sample_version(a_linear_form(), schema=schema, self_test=(SelfTest(a_house(**values), 1.0),))
    with pytest.raises(RefusedModel, match="cannot estimate the houses of its self-test"):
        load_predictor(*version)


def test_self_test_tolerates_rounding() -> None:
    price = math.exp(13.0)
    for expected in (round(price, 2), price * (1 + 1e-15)):
        load_predictor(*sample_version(a_log_form(), self_test=(SelfTest(LAB, expected),)))


def test_self_test_with_infinite_price_rejects_version() -> None:
    form = evolve(a_log_form(), squared=evolve(a_trees_form(), leaves=np.full((2, 2), 1000.0)))
    with pytest.raises(RefusedModel, match="is inf, not"):
        load_predictor(*sample_version(form, self_test=(SelfTest(LAB, 1.0),)))


@pytest.mark.slow
def test_serving_imports_no_scikit_learn_scipy_or_joblib() -> None:
    script = """
import sys
from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.serving.loader import load_predictor
from tests.factories import *
for form in (a_linear_form(), a_log_form()):
    load_predictor(*sample_version(form)).predict([a_house(size=1)])
print({"sklearn", "scipy", "joblib"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def _with(version: ModelVersion, content: bytes) -> tuple[ModelVersion, Artifact]:
    """Return the version with another serving form and matching digests."""
    artifact = {"serving.npz": content}
    return evolve(version, digests=digests_of(artifact)), artifact


def _npz(form: ServingForm, **changes: Any) -> bytes:
    """Return the file of a form with some arrays changed."""
    with np.load(BytesIO(pack(form))) as file:
        arrays = {**file, **changes}
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()
