"""HTTP responses: JSON encoding and ETags. Also creates the example house for the documentation."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, assert_never

from starlette.requests import Request
from starlette.responses import Response

from housepredict.domain.features import Feature, FeatureSchema, Kind, Value

LAB_EXAMPLE: Mapping[str, Value] = MappingProxyType({"size": 2500, "bedrooms": 3, "age": 10})

HEADERS: Mapping[str, str] = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_response(
    document: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """Build a JSON response."""
    return Response(encode_json(document), status, {**HEADERS, **(headers or {})}, media_type)


def encode_json(document: Mapping[str, Any]) -> bytes:
    """Encode a document as JSON in UTF-8. Lone surrogates, which UTF-8 can't encode, become `?`."""
    return encode(document).encode("utf-8", "replace")


def cached_response(
    request: Request, body: bytes, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Build a response with an ETag.

    If `If-None-Match` lists the ETag, the response is a 304 without a body (RFC 9110, section 13).
    """
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    known = [
        entry.strip().removeprefix("W/")
        for value in request.headers.getlist("if-none-match")
        for entry in value.split(",")
    ]
    is_known = tag in known or "*" in known
    headers = {**HEADERS, **(headers or {}), "ETag": tag, "Cache-Control": "no-cache"}
    return Response(None, 304, headers) if is_known else Response(body, headers=headers, media_type=media_type)


def example(schema: FeatureSchema) -> dict[str, Value]:
    """Return an example house that is valid for a schema."""
    if not schema.violations(LAB_EXAMPLE):
        return dict(LAB_EXAMPLE)
    return {feature.name: _typical(feature) for feature in schema.features if feature.name != schema.sale_date}


def _typical(feature: Feature) -> Value:
    match feature.kind:
        case Kind.BOOLEAN:
            return True
        case Kind.CATEGORY:
            return feature.categories[0] if feature.categories else "unknown"
        case Kind.DATE:
            return feature.observed[1] if feature.observed else "2020-01-01"
        case Kind.NUMBER | Kind.INTEGER:
            low, high = (float(value) for value in feature.observed or (feature.minimum or 0, feature.maximum or 0))
            # The geometric mean is typical, because features such as areas have long tails.
            middle = math.sqrt(low * high) if low > 0 else low if low == 0 else (low + high) / 2
            number = min(max(float(f"{middle:.4g}"), low), high)
            return round(number) if feature.kind is Kind.INTEGER or number.is_integer() else number
        case _:
            assert_never(feature.kind)
