"""The manifest of a model version as JSON: one form for every store, which a person can read and compare."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve
from cattrs import BaseValidationError
from cattrs.preconf.json import make_converter

from housepredict.adapters.documents import (
    NewerDocument,
    UnreadableDocument,
    configured,
    is_refused,
    structure,
    unstructure,
)
from housepredict.domain.errors import InvalidOptions, NewerModel, RefusedModel
from housepredict.domain.formats import require_format
from housepredict.domain.models import ModelVersion, TrainingOptions

FORMAT = 1

MAX_MANIFEST = 2**22
"""The largest manifest, in bytes. One of twenty features has 16 KiB; thousands of categories make it grow."""


def to_json(version: ModelVersion) -> bytes:
    """Write the manifest as UTF-8 text, with the fields of a newer release that it was read with.

    Raises:
        RefusedModel: if it could not be read again, for example because of a NaN.
    """
    return _written(_document(version), version)


def from_json(manifest: bytes | str) -> ModelVersion:
    """Read the version that a manifest describes.

    Raises:
        NewerModel: if a newer release made it, and this one can't use it.
        RefusedModel: if it is damaged; the message says where.
    """
    document = _parsed(manifest)
    version = _read(document)
    own = {"format": FORMAT, **unstructure(version)}
    return version if _canonical(own) == _canonical(document) else evolve(version, document=document)


def signed_texts(version: ModelVersion) -> Sequence[bytes]:
    """The texts that a signature of a version may be over, that of this release first.

    It is the manifest without the signature as JSON, with sorted names and no spaces: whatever a store makes of the
    text, and whatever fields a newer release has added. The first release left out fields with their default value;
    that is accepted for manifests with no other fields than it could know of.

    Raises:
        RefusedModel: if the manifest can't be written.
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
    """The document that the version was read from, while the version says the same; otherwise a new one."""
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
            raise ValueError("it is not a JSON object")
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
    """The document without the training options that this release wouldn't accept of a user: it still serves."""
    options = document.get("options")
    if not isinstance(options, dict):
        return document
    return {**document, "options": {name: value for name, value in options.items() if not _is_refused(name, value)}}


def _is_refused(name: str, value: object) -> bool:
    try:
        structure({name: value}, TrainingOptions)
    except UnreadableDocument as error:
        return is_refused(error, InvalidOptions)
    return False


def _too_large(manifest: bytes | str) -> str:
    return f"The manifest is too large: {len(manifest)} bytes, where {MAX_MANIFEST} are the most"


def _canonical(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is no finite number")
    return value


_strict = configured(make_converter(), forbid_extra_keys=True)
_without_defaults = configured(make_converter(), omit_if_default=True)
