"""The manifest of a model version as JSON: one form for every store, which a person can read and compare."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

from attrs import evolve
from cattrs import BaseValidationError, transform_error
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.preconf.json import make_converter

from housepredict.domain.errors import RefusedModel
from housepredict.domain.models import ModelVersion

FORMAT = 1

MAX_MANIFEST = 2**22
"""The largest manifest, in bytes. One of twenty features has 16 KiB; thousands of categories make it grow."""


def to_json(version: ModelVersion) -> bytes:
    """The manifest as UTF-8 text. Raises RefusedModel if it could not be read again, say for a NaN."""
    document = {"format": FORMAT, **_converter.unstructure(version)}
    try:
        manifest = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise RefusedModel(f"The manifest of model version {version.name} cannot be written: {error}") from error
    from_json(manifest)
    return manifest


def from_json(manifest: bytes | str) -> ModelVersion:
    """The version that a manifest describes. Raises RefusedModel, saying where, for anything that is none."""
    if len(manifest) > MAX_MANIFEST:
        raise RefusedModel(f"The manifest is too large: {len(manifest)} bytes, where {MAX_MANIFEST} are the most")
    try:
        document = json.loads(manifest, parse_float=_finite, parse_constant=_finite)
    except (RecursionError, ValueError) as error:
        raise RefusedModel(f"The manifest is damaged: {error}") from error
    written_as = document.pop("format", None) if isinstance(document, dict) else None
    if written_as != FORMAT:
        raise RefusedModel(
            f"The manifest has format {written_as!r}, not {FORMAT}: a later one needs a later housepredict"
        )
    try:
        return _converter.structure(document, ModelVersion)
    except BaseValidationError as error:
        raise RefusedModel(f"The manifest is damaged: {'; '.join(transform_error(error))}") from error


def canonical(version: ModelVersion) -> bytes:
    """What a signature is over: everything in the manifest but the signature, whatever a store made of its text.

    A field with its default value is left out: the bytes of a version stay what they are when a later release knows of
    more fields. Raises RefusedModel if the manifest could not be written.
    """
    document = _without_defaults.unstructure(from_json(to_json(evolve(version, signature=None))))
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no finite number")
    return value


_converter = make_converter(forbid_extra_keys=True)
_without_defaults = make_converter(omit_if_default=True)


# cattrs alone would convert what it finds: "3" to 3, 1 to True, "abc" to ("a", "b", "c")
def _scalar(value: Any, kind: Any) -> Any:
    if type(value) is not kind and (type(value), kind) != (int, float):
        raise TypeError(value)
    return kind(value)


for _kind in str, bool, int, float:
    _converter.register_structure_hook(_kind, _scalar)
_converter.register_structure_hook(StrEnum, lambda value, kind: kind(value))


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is tuple and kind.__args__[-1] is ...


@_converter.register_structure_hook_factory(_is_list)
def _list(kind: Any) -> Callable[[Any, Any], Any]:
    structure = homogenous_tuple_structure_factory(kind, _converter)

    def checked(value: Any, _: Any) -> Any:
        if type(value) is not list:
            raise TypeError(value)
        return structure(value, kind)

    return checked


@_converter.register_structure_hook
def _time(value: Any, _: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError(value)
    return time
