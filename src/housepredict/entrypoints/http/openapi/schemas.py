"""JSON Schemas: of houses as a model takes them, and of answers as their classes describe them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, assert_never, get_args, get_origin
from uuid import UUID

import attrs

from housepredict.domain.features import MAX_MAGNITUDE, MAX_TEXT, Feature, FeatureSchema, Kind
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.json_documents import Part, parts_of
from housepredict.entrypoints.settings import Settings

Json = Mapping[str, Any]
"""A piece of the document: plain JSON values."""

DATE: Json = {"type": "string", "format": "date", "pattern": "^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
"""A day as every route reads it: of the calendar, from the year 1 on, YYYY-MM-DD."""
ID: Json = {"type": "string", "format": "uuid"}
TIME: Json = {"type": "string", "format": "date-time"}
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
FLAG: Json = {"type": "boolean"}
FILE: Json = {"type": "string", "format": "binary"}
"""A body that is sent as it is; generated clients take text for JSON."""


def ref(name: str) -> Json:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Json) -> Json:
    """A schema, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def about(schema: Json, description: str) -> Json:
    """A schema with words of its own."""
    return {**schema, "description": description}


def list_of(schema: Json) -> Json:
    """A list."""
    return {"type": "array", "items": schema}


def by_name(schema: Json) -> Json:
    """An object whose names nobody knows before."""
    return {"type": "object", "additionalProperties": schema}


def an_object(properties: Json, optional: Iterable[str] = ()) -> Json:
    """An object that has all of these, but for what is optional."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in set(optional)],
    }


Schema = type | Json
"""The class of an answer, or a schema as it is."""
SchemaFactory = Callable[[ModelVersion | None, Settings], Json]
"""What makes a schema for the version in service, if there is one."""


def named(*kinds: type) -> Mapping[str, type]:
    """Classes by the names of their schemas."""
    return {name_of(kind): kind for kind in kinds}


_PLAIN: Mapping[Any, Json] = {
    str: TEXT,
    int: {"type": "integer"},
    float: NUMBER,
    bool: FLAG,
    date: DATE,
    datetime: TIME,
    UUID: ID,
    Any: {},
    Mapping[str, Any]: {"type": "object"},
}


def name_of(kind: type) -> str:
    """The name of the schema of a class."""
    return kind.__name__.removesuffix("Answer")


def object_schema(kind: type, named: Collection[type]) -> Json:
    """The schema of the documents that `json_documents.document` makes of a class. Classes in `named` are referred to
    by their names, others are described inside.
    """
    parts = [part for part in parts_of(kind) if part.is_public and not part.is_mapping]
    properties = {part.name: _property(part, named) for part in parts}
    described = kind.__name__.endswith("Answer") and kind.__doc__
    schema = an_object(properties, [part.name for part in parts if part.optional])
    return {**schema, "description": described} if described else schema


def _property(part: Part, named: Collection[type]) -> Json:
    schema = schema_of(part.hint, named)
    return about(schema, part.about) if part.about else schema


def schema_of(hint: Any, named: Collection[type] = ()) -> Json:
    """The schema of a value of a type, as JSON has it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {**schema_of(arguments[0], named), **dict(hint.__metadata__[0])}
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint in named:
        return ref(name_of(hint))
    if origin is Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin in (Union, UnionType):
        schemas = [schema_of(each, named) for each in arguments if each is not NoneType]
        schema = schemas[0] if len(schemas) == 1 else _any_of(schemas)
        return nullable(schema) if NoneType in arguments else schema
    if origin in (Sequence, tuple):
        return list_of(schema_of(arguments[0], named))
    if origin is Mapping:
        return by_name(schema_of(arguments[1], named))
    if attrs.has(hint):
        return object_schema(hint, named)
    if issubclass(hint, StrEnum):
        return enum_of(hint)
    raise TypeError(f"{hint} has no schema")


def _any_of(schemas: Sequence[Json]) -> Json:
    """One of several types without bounds; integers are numbers."""
    types = [schema["type"] for schema in schemas]
    return {"type": [name for name in types if name != "integer" or "number" not in types]}


def enum_of(kind: Iterable[StrEnum]) -> Json:
    """One of the members of an enumeration."""
    return {"type": "string", "enum": [str(member) for member in kind]}


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
