"""A house as JSON Schema: what this accepts, validation accepts, and the other way round, as far as the language goes.

It cannot say that no name is given twice, that text has no lone surrogates, or that a model has a price for a house.
Numbers are read as doubles: more digits than these have count for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, assert_never

from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.validation import MAX_MAGNITUDE, MAX_TEXT
from housepredict.entrypoints.http.openapi.parts import DATE, Json

GENERIC: Json = {
    "type": "object",
    "description": "The features of a house by name. No model is in service: which ones it will want is not known yet.",
}
_TEXT: Json = {"type": "string", "maxLength": MAX_TEXT, "pattern": "^[^\\u0000]*$"}
_CODE = re.compile("0|-?[1-9][0-9]{0,14}|-?10{15}")  # a category that a whole number may stand for
_SHOWN = 20


def house_schema(schema: FeatureSchema, example: Mapping[str, object]) -> Json:
    """The JSON Schema of a house that fits a FeatureSchema."""
    return {
        "type": "object",
        "properties": {each.name: _feature(each, schema) for each in schema.features},
        "required": [each.name for each in schema.features if each.required],
        "additionalProperties": False,
        "examples": [dict(example)],
    }


def _feature(feature: Feature, schema: FeatureSchema) -> Json:
    about = _about(feature, schema)
    described: dict[str, Any] = {"description": about} if about else {}
    if feature.unit:
        described["x-unit"] = feature.unit
    values = _values(feature)
    if feature.required:
        return {**values, **described}
    if "type" in values:
        return {**values, "type": [values["type"], "null"], **described}
    if "enum" in values:
        return {**values, "enum": [*values["enum"], None], **described}
    return {"anyOf": [*values["anyOf"], {"type": "null"}], **described}


def _values(feature: Feature) -> Json:
    match feature.kind:
        case Kind.NUMBER | Kind.INTEGER:
            low, high = feature.minimum, feature.maximum
            return {
                "type": "integer" if feature.kind is Kind.INTEGER else "number",
                "minimum": _plain(-MAX_MAGNITUDE if low is None else max(low, -MAX_MAGNITUDE)),
                "maximum": _plain(MAX_MAGNITUDE if high is None else min(high, MAX_MAGNITUDE)),
            }
        case Kind.BOOLEAN:
            return {"type": "boolean"}
        case Kind.DATE:
            return DATE
        case Kind.CATEGORY:
            if feature.closed:
                codes = [int(each) for each in feature.categories if _CODE.fullmatch(each)]
                return {"enum": [*feature.categories, *codes]}
            limit = int(MAX_MAGNITUDE)
            # a code such as a zip code may come as a number
            return {"anyOf": [_TEXT, {"type": "integer", "minimum": -limit, "maximum": limit}]}
        case _:
            assert_never(feature.kind)


def _plain(bound: float) -> float:
    """A bound as JSON has it: 0 and not 0.0."""
    return int(bound) if float(bound).is_integer() else bound


def _about(feature: Feature, schema: FeatureSchema) -> str:
    parts = [f"In {feature.unit}."] if feature.unit else []
    if feature.name == schema.sale_date:
        otherwise = f"; without it, {schema.valuation_date}" if schema.valuation_date else ""
        parts.append(f"The day that the estimate is for{otherwise}.")
    if feature.observed:
        low, high = feature.observed
        parts.append(f"The model learned from {low} to {high}; values outside are estimated with a warning.")
    elif feature.categories and not feature.closed:
        shown = ", ".join(feature.categories[:_SHOWN])
        more = f", and {len(feature.categories) - _SHOWN} more" if len(feature.categories) > _SHOWN else ""
        parts.append(f"The model learned from {shown}{more}; others are estimated with a warning.")
    return " ".join(parts)
