"""Conversion of attrs values, model manifests and prediction rows to and from JSON documents.

Integers stay integers, and floats stay floats. PostgreSQL's `jsonb` also keeps the two apart, except for floats
that are so large that JSON writes them with an exponent. `housepredict.domain.validation` rejects such floats.
"""

from __future__ import annotations

import json
import logging
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar
from uuid import UUID

import attrs
from attrs import evolve
from cattrs import BaseValidationError, transform_error
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from housepredict.domain.errors import InvalidOptions, ModelStoreUnavailable, NewerModel, RefusedModel, UnknownModel
from housepredict.domain.estimates import Estimate, Interval, Prediction
from housepredict.domain.evaluation.measures import Evaluation
from housepredict.domain.features import House
from housepredict.domain.models import ModelVersion, require_format
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.warnings import EstimateWarning

T = TypeVar("T")

_log = logging.getLogger(__name__)

# Fields that have another name in stored documents, because the first release used it.
STORED_NAMES: Final[Mapping[tuple[type, str], str]] = {
    (Evaluation, "out_of_time"): "later",
    (Evaluation, "out_of_time_skipped"): "why_no_later",
}


class UnreadableDocument(ValueError):
    """The document is damaged."""


class NewerDocument(UnreadableDocument):
    """The document contains values that only a newer release of housepredict knows, such as a new algorithm."""


def structure(document: object, kind: type[T]) -> T:
    """Build a value of type `kind` from a decoded JSON document.

    Raises:
        NewerDocument: if the only errors are enum members that this release doesn't know.
        UnreadableDocument: if the document is damaged. The message lists each error and its location.
    """
    try:
        return _converter.structure(document, kind)
    except (BaseValidationError, TypeError, ValueError) as error:
        reasons = "; ".join(transform_error(error, format_exception=_reason))
        is_newer = all(isinstance(cause, _UnknownMember) for cause in _causes(error))
        raise (NewerDocument if is_newer else UnreadableDocument)(reasons) from error


def unstructure(value: object) -> Any:
    """Convert a value to a JSON document. Omit attrs fields that are declared with `eq=False`."""
    return _converter.unstructure(value)


def _make_converter(*, forbid_extra_keys: bool = False, omit_if_default: bool = False) -> JsonConverter:
    converter = make_converter()

    # Reject what cattrs converts by default, such as "3" to 3, 1 to True, and "abc" to ("a", "b", "c").
    def scalar(value: Any, kind: Any) -> Any:
        if type(value) is not kind and (type(value), kind) != (int, float):
            raise TypeError(value)
        return kind(value)

    for kind in str, bool, int, float:
        converter.register_structure_hook(kind, scalar)
    converter.register_structure_hook(StrEnum, _member)
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(UUID, lambda value, _: UUID(value))
    converter.register_unstructure_hook(UUID, str)

    @converter.register_structure_hook_factory(_is_list)
    def _list(kind: Any) -> Callable[[Any, Any], Any]:
        read = homogenous_tuple_structure_factory(kind, converter)

        def checked(value: Any, _: Any) -> Any:
            if type(value) is not list:
                raise TypeError(value)
            return read(value, kind)

        return checked

    @converter.register_structure_hook_factory(attrs.has)
    def _object(kind: Any) -> Callable[[Any, Any], Any]:
        read = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=forbid_extra_keys, **_overrides(kind))
        absent = {
            STORED_NAMES.get((kind, attribute.name), attribute.name): None
            for attribute in attrs.fields(attrs.resolve_types(kind))
            if attribute.init and attribute.default is attrs.NOTHING and _may_be_none(attribute)
        }

        def checked(value: Any, _: Any) -> Any:
            if type(value) is not dict:
                raise TypeError("not a JSON object")
            return read({**absent, **value}, kind)

        return checked

    @converter.register_unstructure_hook_factory(attrs.has)
    def _document(kind: Any) -> Callable[[Any], Any]:
        return make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=omit_if_default, **_overrides(kind))

    return converter


def _overrides(kind: type) -> dict[str, Any]:
    return {
        attribute.name: override(rename=STORED_NAMES.get((kind, attribute.name)), omit=not attribute.eq or None)
        for attribute in attrs.fields(kind)
        if attribute.init
    }


class _UnknownMember(ValueError):
    """The value is not a member of the enum in this release."""


def _member(value: Any, kind: type[StrEnum]) -> StrEnum:
    if not isinstance(value, str):
        raise TypeError(value)
    try:
        return kind(value)
    except ValueError:
        raise _UnknownMember(f"{value!r} is unknown to this release") from None


def _time(value: Any, _: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError(value)
    return time


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is tuple and kind.__args__[-1] is ...


def _may_be_none(attribute: attrs.Attribute[Any]) -> bool:
    kind = attribute.type
    return typing.get_origin(kind) in (typing.Union, types.UnionType) and types.NoneType in typing.get_args(kind)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the individual errors in a nested exception group."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _causes(part)
    else:
        yield error


def _reason(error: BaseException, kind: type | None) -> str:
    from cattrs.v import format_exception

    return str(error) if isinstance(error, _UnknownMember) else format_exception(error, kind)


_converter = _make_converter()
_strict = _make_converter(forbid_extra_keys=True)
_without_defaults = _make_converter(omit_if_default=True)


FORMAT = 1

MAX_MANIFEST = 2**22
"""Maximum size of a manifest in bytes. A manifest with twenty features takes about 16 KiB. Thousands of
categories make it larger.
"""


def to_json(version: ModelVersion) -> bytes:
    """Encode a version's manifest as JSON in UTF-8. Fields from newer releases are preserved.

    Raises:
        RefusedModel: if the manifest could not be read back, for example because it contains a NaN.
    """
    return _written(_document(version), version)


def from_json(manifest: bytes | str) -> ModelVersion:
    """Decode a manifest.

    Raises:
        NewerModel: if a newer release wrote the manifest and this release can't use it.
        RefusedModel: if the manifest is damaged. The message says where.
    """
    document = _parsed(manifest)
    version = _read(document)
    rewritten = {"format": FORMAT, **unstructure(version)}
    return version if _canonical(rewritten) == _canonical(document) else evolve(version, document=document)


def read_manifest(name: str, manifest: bytes | str) -> ModelVersion:
    """Decode the manifest stored under `name`.

    Raises:
        NewerModel: if a newer release wrote the manifest and this release can't use it.
        RefusedModel: if the manifest is damaged, or belongs to a version with another name.
    """
    version = from_json(manifest)
    if version.name != name:
        raise RefusedModel(f"Model version {name} is damaged: its manifest belongs to {version.name}")
    return version


def readable_versions(names: Iterable[str], read: Callable[[str], ModelVersion]) -> list[ModelVersion]:
    """Read the versions with these names, and sort them from oldest to newest.

    Unreadable versions are skipped, and a warning is logged for each of them.

    Args:
        names: the names of the versions.
        read: function that reads the version with the given name.
    """
    versions = []
    for name in names:
        try:
            versions.append(read(name))
        except (ModelStoreUnavailable, RefusedModel, UnknownModel) as error:
            _log.warning("skipping model version %s: %s", name, error)
    return sorted(versions, key=lambda version: (version.created_at, version.name))


def signed_texts(version: ModelVersion) -> Sequence[bytes]:
    """Return the encodings of a manifest from which its signature may have been computed. New signatures use the first.

    Each encoding is the manifest without its signature, as JSON with sorted keys and no spaces. An encoding therefore
    depends neither on how a store formats the manifest nor on the release that reads it. The second encoding omits
    fields with default values, as in signatures by the first release. It is returned only if this release knows all
    fields of the manifest.

    Raises:
        RefusedModel: if the manifest can't be encoded.
    """
    document = dict(_document(evolve(version, signature=None)))
    document.pop("signature", None)
    texts = [_canonical(document)]
    del document["format"]
    try:
        known = _strict.structure(document, ModelVersion)
    except BaseValidationError:
        return texts
    return [*texts, _canonical(_without_defaults.unstructure(known))]


def _document(version: ModelVersion) -> Mapping[str, Any]:
    """Return the document from which a version was read, or a new document if the version no longer matches it."""
    stored = version.document
    if stored is not None and evolve(_read(stored), signature=version.signature) == version:
        return {**stored, "signature": version.signature}
    written = _written({"format": FORMAT, **unstructure(version)}, version)
    return {"format": FORMAT, **unstructure(_read(_parsed(written)))}


def _written(document: Mapping[str, Any], version: ModelVersion) -> bytes:
    try:
        manifest = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise RefusedModel(f"The manifest of model version {version.name} cannot be written: {error}") from error
    if len(manifest) > MAX_MANIFEST:
        raise RefusedModel(_too_large(manifest))
    return manifest


def _parsed(manifest: bytes | str) -> dict[str, Any]:
    if len(manifest) > MAX_MANIFEST:
        raise RefusedModel(_too_large(manifest))
    try:
        document = json.loads(manifest, parse_float=_finite, parse_constant=_finite)
        if type(document) is not dict:
            raise ValueError("not a JSON object")
        require_format(document.get("format"), FORMAT, "The manifest")
    except (RecursionError, ValueError) as error:
        raise RefusedModel(f"The manifest is damaged: {error}") from error
    return document


def _read(document: Mapping[str, Any]) -> ModelVersion:
    try:
        return structure(_with_valid_options(document), ModelVersion)
    except NewerDocument as error:
        raise NewerModel(
            f"The manifest was made by a newer release of housepredict: {error}. Upgrade housepredict"
        ) from error
    except UnreadableDocument as error:
        raise RefusedModel(f"The manifest is damaged: {error}") from error


def _with_valid_options(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the manifest without the training options that this release rejects, because serving doesn't need them."""
    options = document.get("options")
    if not isinstance(options, dict):
        return document
    return {**document, "options": {name: value for name, value in options.items() if not _is_refused(name, value)}}


def _is_refused(name: str, value: object) -> bool:
    try:
        structure({name: value}, TrainingOptions)
    except UnreadableDocument as error:
        return all(isinstance(cause, InvalidOptions) for cause in _causes(error.__cause__ or error))
    return False


def _too_large(manifest: bytes | str) -> str:
    return f"The manifest is too large: {len(manifest):,} bytes; the limit is {MAX_MANIFEST:,}"


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a finite number")
    return value


# Estimate fields that are stored unconverted, in columns with the same names.
_PLAIN_FIELDS: Final = tuple(
    attribute.name
    for attribute in attrs.fields(Estimate)
    if attribute.name not in {"house", "valued_on", "warnings", "intervals"}
)


def prediction_to_row(prediction: Prediction) -> dict[str, Any]:
    """Convert a prediction to a dictionary of column names and JSON values."""
    estimate = prediction.estimate
    return {
        "id": str(prediction.id),
        "created_at": prediction.created_at.isoformat(),
        "features": estimate.house.values,
        "valued_on": estimate.valued_on.isoformat() if estimate.valued_on else None,
        "caveats": [unstructure(warning) for warning in estimate.warnings],
        "intervals": {str(level): [low, high] for level, low, high in estimate.intervals} or None,
        **{name: getattr(estimate, name) for name in _PLAIN_FIELDS},
    }


def prediction_from_row(row: Mapping[str, Any]) -> Prediction:
    """Build a prediction from a dictionary of column names and values.

    Ids and dates may be strings, or the UUID, datetime and date objects that a database driver returns. Unknown columns
    are ignored, because newer releases may add columns. Columns that older releases didn't have may be missing.
    """
    id_, created_at, valued_on = row["id"], row["created_at"], row["valued_on"]
    estimate = Estimate(
        house=House(row["features"]),
        valued_on=date.fromisoformat(valued_on) if isinstance(valued_on, str) else valued_on,
        warnings=tuple(structure(warning, EstimateWarning) for warning in row["caveats"]),
        # Ignore other keys and additional bounds, which come from newer releases.
        intervals=tuple(
            Interval(int(level), *bounds[:2])
            for level, bounds in (row.get("intervals") or {}).items()
            if level.isdecimal()
        ),
        **{name: row[name] for name in _PLAIN_FIELDS if name in row},
    )
    return Prediction(
        UUID(id_) if isinstance(id_, str) else id_,
        (datetime.fromisoformat(created_at) if isinstance(created_at, str) else created_at).astimezone(UTC),
        estimate,
    )


def encode_objects(encode: Callable[[object], str], objects: Sequence[Mapping[str, object]]) -> Sequence[str]:
    """Encode each object as JSON. Encoding all objects in one call to `encode` takes half as long as separate calls.

    Args:
        encode: a JSON encoder that writes no spaces.
        objects: the objects to encode.
    """
    parts = encode(objects)[2:-2].split("},{")
    if len(parts) != len(objects):
        # The list is empty, or a string or a nested object contains the separator.
        return [encode(item) for item in objects]
    return [f"{{{part}}}" for part in parts]
