"""Load predictors and explainers from a model version's files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final, assert_never
from weakref import WeakValueDictionary

import attrs
import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.adapters.serving.arrays import arrays_in
from housepredict.adapters.serving.attribution import Attribution, Contributions
from housepredict.adapters.serving.encoding import DerivedFeatures, Encoder, Matrix
from housepredict.adapters.serving.linear import Linear, LogPrices
from housepredict.adapters.serving.trees import Paths, Trees
from housepredict.domain.errors import NoExplanation, RefusedModel
from housepredict.domain.estimates import Contribution, Explanation
from housepredict.domain.evaluation.self_test import require_self_test
from housepredict.domain.features import House
from housepredict.domain.models import Artifact, ModelVersion, require_format, verify
from housepredict.domain.ports import Valuation
from housepredict.domain.training_options import Algorithm

ServingForm = Linear | LogPrices

Unpack = Callable[[bytes, Algorithm], ServingForm]
"""Reads a serving form from the content of a file (see `unpack`)."""

SERVING_FILE: Final = "serving.npz"
"""Name of the file that contains the serving form."""

EXPLANATION_FILE: Final = "explanation.npz"
"""Name of the file that contains the Attribution. It is read only when the first explanation is requested."""

ESTIMATOR_FILE: Final = "estimator.joblib"
"""Name of the file that contains the scikit-learn estimators. It is for inspection only and never read for serving."""

_FORMAT = 2
_PARTS: Final[dict[str, type]] = {
    "columns": DerivedFeatures,
    "linear": Linear,
    "squared": Trees,
    "absolute": Trees,
    "spread": Trees,
}


def pack(form: ServingForm | Attribution) -> bytes:
    """Serialize the arrays of a form and the format version as an .npz file. Equal forms produce equal bytes."""
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, format=np.int64(_FORMAT), **_collect_arrays(form))
    return buffer.getvalue()


def _collect_arrays(form: Any, prefix: str = "") -> dict[str, Any]:
    """Return the arrays of a form by name. Arrays in nested parts are named `part.array`."""
    arrays: dict[str, Any] = {}
    for attribute in attrs.fields(type(form)):
        value = getattr(form, attribute.name)
        if attrs.has(type(value)):
            arrays |= _collect_arrays(value, f"{attribute.name}.")
        elif attribute.init and value is not None:
            arrays[prefix + attribute.name] = value
    return arrays


def _form_class(algorithm: Algorithm) -> type[ServingForm]:
    match algorithm:
        case Algorithm.LINEAR:
            return Linear
        case Algorithm.RIDGE | Algorithm.BOOSTING:
            return LogPrices
        case Algorithm.AUTO:
            raise ValueError("auto is a training option, not the algorithm of a model")
        case _:
            assert_never(algorithm)


def _array_names(kind: type) -> Iterator[str]:
    """Yield the names of the arrays in a form of class `kind`.

    Only arrays with these names are read from an .npz file. Others, such as those added by newer releases, are ignored.
    """
    for attribute in attrs.fields(kind):
        if attribute.init and attribute.name in _PARTS:
            yield from (f"{attribute.name}.{name}" for name in _array_names(_PARTS[attribute.name]))
        elif attribute.init:
            yield attribute.name


def unpack(content: bytes, algorithm: Algorithm) -> ServingForm:
    """Deserialize a serving form from the content of a file.

    Raises:
        RefusedModel: if the content isn't a serving form for `algorithm`, or is too large (see `arrays_in`).
    """
    with _translate_errors(SERVING_FILE, f"{algorithm} model"):
        kind = _form_class(algorithm)
        values: dict[str, Any] = {}
        parts: dict[str, dict[str, Any]] = {}
        for name, array in _read_arrays(SERVING_FILE, content, _array_names(kind)).items():
            part, dot, name_in_part = name.partition(".")
            if dot:
                parts.setdefault(part, {})[name_in_part] = array
            else:
                values[name] = array
        return kind(**values, **{part: _PARTS[part](**arrays) for part, arrays in parts.items()})


@define
class SharedForms:
    """Caches serving forms while they are in use, so that a version's predictor and explainer share one form."""

    _in_use: WeakValueDictionary[tuple[bytes, Algorithm], ServingForm] = field(factory=WeakValueDictionary)

    def __call__(self, content: bytes, algorithm: Algorithm) -> ServingForm:
        """Return the serving form that a file contains. A form that is already in use is returned from the cache."""
        key = (hashlib.sha256(content).digest(), algorithm)
        form = self._in_use.get(key)
        if form is None:
            self._in_use[key] = form = unpack(content, algorithm)
        return form


def read_contributions(content: bytes, form: ServingForm) -> Contributions:
    """Create the Contributions for a serving form from the content of an explanation file.

    Raises:
        RefusedModel: if the content isn't a valid Attribution.
        ValueError: if the Attribution belongs to another form.
    """

    # unpack the parts one by one, because together they may need more memory than serving does
    def paths(name: str) -> Paths | None:
        with _translate_errors(EXPLANATION_FILE, "explanation"):
            arrays = arrays_in(content, {f"{name}.{array}" for array in _array_names(Paths)})
            return Paths(**{key.removeprefix(f"{name}."): array for key, array in arrays.items()}) if arrays else None

    with _translate_errors(EXPLANATION_FILE, "explanation"):
        means = Attribution(_read_arrays(EXPLANATION_FILE, content, ["means"])["means"]).means
    return Contributions.of(form, means, paths)


@contextmanager
def _translate_errors(file: str, expected: str) -> Iterator[None]:
    try:
        yield
    except RefusedModel:
        raise
    except Exception as error:  # a damaged file makes zipfile, zlib and NumPy raise many kinds of errors
        raise RefusedModel(f"{file} does not contain a valid {expected}: {error}") from error


def _read_arrays(file: str, content: bytes, names: Iterable[str]) -> dict[str, NDArray[Any]]:
    arrays = arrays_in(content, {"format", *names})
    require_format(int(arrays.pop("format")), _FORMAT, file)
    return arrays


def valuation(form: ServingForm, matrix: Matrix) -> Valuation:
    """Return the prices and spreads that a serving form estimates for encoded houses."""
    prices, spreads = form.valuation(matrix)
    return Valuation(prices.tolist(), spreads.tolist())


@define
class ServingPredictor:
    """A Predictor that uses a model version's serving form."""

    version: ModelVersion
    _form: ServingForm
    _encode: Encoder

    def predict(self, houses: Sequence[House]) -> Valuation:
        return valuation(self._form, self._encode(houses))


def load_predictor(version: ModelVersion, artifact: Artifact, unpack: Unpack = unpack) -> ServingPredictor:
    """Load the predictor for a model version.

    Raises:
        RefusedModel: if the files don't match the manifest, if the serving form is invalid or doesn't match the schema,
            or if the self-test fails.
    """
    verify(version, artifact)
    if SERVING_FILE not in artifact:
        raise RefusedModel(f"Model version {version.name} has no {SERVING_FILE}")
    form = unpack(artifact[SERVING_FILE], version.algorithm)
    features = len(version.schema.features)
    if form.features != features:
        raise RefusedModel(
            f"The serving form of model version {version.name} has {form.features} features, but the schema has "
            f"{features}"
        )
    predictor = ServingPredictor(version, form, Encoder(version.schema))
    require_self_test(predictor)
    return predictor


@define
class ServingExplainer:
    """An Explainer that uses a model version's serving form and explanation file."""

    version: ModelVersion
    _contributions: Contributions
    _encode: Encoder

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        unit, base, players = self._contributions.form.unit, self._contributions.base, self._contributions.players
        names: dict[int, tuple[str, ...]] = {}
        for feature, player in zip(self.version.schema.features, players.tolist(), strict=True):
            names[player] = (*names.get(player, ()), feature.name)
        return [
            Explanation(unit, base, tuple(map(Contribution, names.values(), amounts)))
            for amounts in self._contributions(self._encode(houses)).tolist()
        ]


def load_explainer(version: ModelVersion, artifact: Artifact, unpack: Unpack = unpack) -> ServingExplainer:
    """Load the explainer for a model version.

    Raises:
        NoExplanation: if the version has no explanation file.
        RefusedModel: if the files don't match the manifest or each other, or if the contributions for the houses in the
            self-test don't add up to their prices.
    """
    verify(version, artifact)
    if EXPLANATION_FILE not in artifact:
        raise NoExplanation
    form = unpack(artifact[SERVING_FILE], version.algorithm)
    try:
        contributions = read_contributions(artifact[EXPLANATION_FILE], form)
    except ValueError as error:
        raise RefusedModel(f"{EXPLANATION_FILE} doesn't match {SERVING_FILE}: {error}") from error
    encode = Encoder(version.schema)
    contributions.check_sum(encode([test.house for test in version.self_test]))
    return ServingExplainer(version, contributions, encode)
