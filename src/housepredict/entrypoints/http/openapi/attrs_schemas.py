"""JSON Schemas of the values that are answered field by field: they follow from the types of the fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from housepredict.entrypoints.http.openapi.parts import DATE, Json, an_object, by_name, list_of, nullable

_PLAIN: Mapping[Any, Json] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    date: DATE,
}


def schema_of(kind: Any) -> Json:
    """The schema of what attrs.asdict makes of a value of a type."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        some = [schema_of(each) for each in arguments if each is not NoneType]
        one = some[0] if len(some) == 1 else {"anyOf": some}
        return nullable(one) if NoneType in arguments else one
    if origin is tuple:
        return list_of(schema_of(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return by_name(schema_of(arguments[1]))
    if attrs.has(kind):
        hints = get_type_hints(kind)
        return an_object({each.name: schema_of(hints[each.name]) for each in attrs.fields(kind)})
    if issubclass(kind, StrEnum):
        return {"type": "string", "enum": [str(each) for each in kind]}
    raise TypeError(f"{kind} has no schema")
