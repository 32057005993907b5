"""Load predictors and explainers from the files of a model version."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final, assert_never
from weakref import WeakValueDictionary

import attrs
import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from housepredict.adapters.serving.arrays import arrays_in
from housepredict.adapters.serving.attribution import Attribution, Contributions
from housepredict.adapters.serving.encoding import DerivedFeatures, Encoder, Matrix
from housepredict.adapters.serving.linear import Linear, LogPrices
from housepredict.adapters.serving.trees import Paths, Trees
from housepredict.domain.errors import NoExplanation, RefusedModel
from housepredict.domain.estimates import Contribution, Explanation, Unit
from housepredict.domain.evaluation.self_test import require_self_test
from housepredict.domain.features import House
from housepredict.domain.models import Artefact, ModelVersion, require_format, verify
from housepredict.domain.ports import Valuation
from housepredict.domain.training_options import Algorithm

ServingForm = Linear | LogPrices

Unpack = Callable[[bytes, Algorithm], ServingForm]
"""Makes a form of a file; see `unpack`."""

SERVING_FILE: Final = "serving.npz"
"""The serving form's place in an artefact."""

EXPLANATION_FILE: Final = "explanation.npz"
"""The place of what explains estimates: opened when that is asked for."""

ESTIMATOR_FILE: Final = "estimator.joblib"
"""The place of what was trained, as it was trained: to inspect, never opened to serve."""

_FORMAT = 2
_PARTS: Final[dict[str, type]] = {
    "columns": DerivedFeatures,
    "linear": Linear,
    "squared": Trees,
    "absolute": Trees,
    "spread": Trees,
}


def pack(form: ServingForm | Attribution) -> bytes:
    """A form as a file: its arrays by name, and the number of this format. Equal forms make equal bytes."""
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, format=np.int64(_FORMAT), **_arrays(form))
    return buffer.getvalue()


def _arrays(form: object) -> dict[str, Any]:
    """Those of a part of the form are named `part.array`."""
    arrays: dict[str, Any] = {}
    for name, value in _given(form).items():
        if attrs.has(type(value)):
            arrays |= {f"{name}.{own}": array for own, array in _given(value).items()}
        else:
            arrays[name] = value
    return arrays


def _given(form: Any) -> dict[str, Any]:
    return attrs.asdict(form, recurse=False, filter=lambda attribute, value: attribute.init and value is not None)


def _form_of(algorithm: Algorithm) -> type[ServingForm]:
    match algorithm:
        case Algorithm.LINEAR:
            return Linear
        case Algorithm.RIDGE | Algorithm.BOOSTING:
            return LogPrices
        case Algorithm.AUTO:
            raise ValueError("auto is a training option, not the algorithm of a model")
        case _:
            assert_never(algorithm)


def _names(kind: type) -> Iterator[str]:
    """The names of the arrays of a form. A file of a newer release may have others, which are not unpacked."""
    for each in attrs.fields(kind):
        if each.init and each.name in _PARTS:
            yield from (f"{each.name}.{name}" for name in _names(_PARTS[each.name]))
        elif each.init:
            yield each.name


def _assembled(kind: type[ServingForm], arrays: Mapping[str, Any]) -> ServingForm:
    given: dict[str, Any] = {name: array for name, array in arrays.items() if "." not in name}
    of_parts = {name.partition(".")[0] for name in arrays if "." in name}
    for part in of_parts:
        own = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{part}.")}
        given[part] = _PARTS[part](**own)
    return kind(**given)


def unpack(content: bytes, algorithm: Algorithm) -> ServingForm:
    """The serving form that a file holds. Raises RefusedModel if it is anything else, or too large (see arrays_in)."""
    with _refusing(SERVING_FILE, f"{algorithm} model"):
        kind = _form_of(algorithm)
        wanted = {"format", *_names(kind)}
        return _assembled(kind, _in_this_format(SERVING_FILE, arrays_in(content, wanted)))


@define
class SharedForms:
    """Unpacks a form once for all who use it at the time: the predictor of a version, and its explainer."""

    _in_use: WeakValueDictionary[tuple[bytes, Algorithm], ServingForm] = field(factory=WeakValueDictionary)

    def __call__(self, content: bytes, algorithm: Algorithm) -> ServingForm:
        """As `unpack`."""
        key = (hashlib.sha256(content).digest(), algorithm)
        form = self._in_use.get(key)
        if form is None:
            self._in_use[key] = form = unpack(content, algorithm)
        return form


@frozen
class PackedAttribution:
    """An Attribution in its file. Each part is unpacked when it is asked for, and not kept: all of them at once may
    take more memory than serving does. Raises RefusedModel for a file that holds anything else.
    """

    _content: bytes

    @property
    def means(self) -> NDArray[np.float64]:
        """See Attribution."""
        with _refusing(EXPLANATION_FILE, "explanation"):
            arrays = _in_this_format(EXPLANATION_FILE, arrays_in(self._content, {"format", "means"}))
            return Attribution(arrays["means"]).means

    @property
    def squared(self) -> Paths | None:
        """See Attribution."""
        return self._paths("squared.")

    @property
    def absolute(self) -> Paths | None:
        """See Attribution."""
        return self._paths("absolute.")

    def _paths(self, prefix: str) -> Paths | None:
        with _refusing(EXPLANATION_FILE, "explanation"):
            wanted = {prefix + name for name in _names(Paths)}
            arrays = arrays_in(self._content, wanted)
            return Paths(**{name.removeprefix(prefix): array for name, array in arrays.items()}) if arrays else None


@contextmanager
def _refusing(file: str, what: str) -> Iterator[None]:
    try:
        yield
    except RefusedModel:
        raise
    except Exception as error:  # a damaged file makes zipfile, zlib and numpy raise whatever they come upon
        raise RefusedModel(f"{file} holds no {what}: {error}") from error


def _in_this_format(file: str, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    number = int(arrays.pop("format"))
    require_format(number, _FORMAT, file)
    return arrays


def valuation(form: ServingForm, matrix: Matrix) -> Valuation:
    """What a form says of encoded houses."""
    prices, spreads = form.valuation(matrix)
    return Valuation(prices.tolist(), spreads.tolist())


@define
class ServingPredictor:
    """Predicts with a version's serving form."""

    version: ModelVersion
    _form: ServingForm
    _encode: Encoder

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Prices, one for each house in order; see ports.Predictor."""
        return valuation(self._form, self._encode(houses))


def load_predictor(version: ModelVersion, artefact: Artefact, unpack: Unpack = unpack) -> ServingPredictor:
    """The predictor of a version.

    Raises RefusedModel unless the files are those of the manifest, the serving form is sound and takes the schema's
    features, and it gives the houses of the self-test their prices.
    """
    verify(version, artefact)
    if SERVING_FILE not in artefact:
        raise RefusedModel(f"Model version {version.name} has no {SERVING_FILE}")
    form = unpack(artefact[SERVING_FILE], version.algorithm)
    features = len(version.schema.features)
    if form.features != features:
        raise RefusedModel(f"Model version {version.name} computes with {form.features} features, and names {features}")
    predictor = ServingPredictor(version, form, Encoder(version.schema))
    require_self_test(predictor)
    return predictor


@define
class ServingExplainer:
    """Explains with a version's serving form and the file beside it."""

    version: ModelVersion
    _contributions: Contributions
    _encode: Encoder

    def explain(self, houses: Sequence[House]) -> Sequence[Explanation]:
        """An explanation for each house, in order; see ports.Explainer."""
        unit = _unit_of(self.version.algorithm)
        players = self._contributions.players
        names = [
            tuple(
                feature.name
                for feature, own in zip(self.version.schema.features, players, strict=True)
                if own == player
            )
            for player in range(players.max(initial=-1) + 1)
        ]
        return [
            Explanation(unit, self._contributions.base, tuple(map(Contribution, names, amounts)))
            for amounts in self._contributions(self._encode(houses)).tolist()
        ]


def load_explainer(version: ModelVersion, artefact: Artefact, unpack: Unpack = unpack) -> ServingExplainer:
    """The explainer of a version.

    Raises NoExplanation if it has none, and RefusedModel unless the files are those of the manifest, fit each other,
    and explain the houses of the self-test.
    """
    verify(version, artefact)
    if EXPLANATION_FILE not in artefact:
        raise NoExplanation
    form = unpack(artefact[SERVING_FILE], version.algorithm)
    try:
        contributions = Contributions.of(form, PackedAttribution(artefact[EXPLANATION_FILE]))
    except ValueError as error:
        raise RefusedModel(f"{EXPLANATION_FILE} is of another model than {SERVING_FILE}: {error}") from error
    encode = Encoder(version.schema)
    contributions.prove(encode([test.house for test in version.self_test]))
    return ServingExplainer(version, contributions, encode)


def _unit_of(algorithm: Algorithm) -> Unit:
    match algorithm:
        case Algorithm.LINEAR:
            return Unit.PRICE
        case Algorithm.RIDGE | Algorithm.BOOSTING:
            return Unit.LOG_PRICE
        case Algorithm.AUTO:
            raise ValueError("auto is a training option, not the algorithm of a model")
        case _:
            assert_never(algorithm)
