"""What the descriptions of routes are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import field, frozen

Json = Mapping[str, Any]
"""A piece of the document: plain JSON values."""

JSON = "application/json"
CSV = "text/csv"
HTML = "text/html"
DATE: Json = {"type": "string", "format": "date", "pattern": "^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
"""A day as every route reads it: of the calendar, from the year 1 on, YYYY-MM-DD."""
UUID: Json = {"type": "string", "format": "uuid"}
TIME: Json = {"type": "string", "format": "date-time"}
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
FLAG: Json = {"type": "boolean"}
FILE: Json = {"type": "string", "format": "binary"}
"""A body that is sent as it is; generated clients take text for JSON."""

SERVING = ("no-model", "refused-model", "unknown-model", "model-store-unavailable")
"""The problems of what takes a model in service."""

FAULTS = ("internal-error", "not-started")
"""The problems that say nothing of a request: whatever it asks for, the app may be no app that can answer it."""

PACKABLE = ("body-too-large", "not-gzip", "unsupported-media-type")
"""The problems of what reads a body, which may come in gzip."""


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


def query(name: str, schema: Json, description: str, *, repeatable: bool = False) -> Json:
    """A parameter in the query."""
    whole = list_of(schema) if repeatable else schema
    return {"name": name, "in": "query", "description": description, "schema": whole}


def in_path(name: str, schema: Json, description: str) -> Json:
    """A parameter in the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def header(name: str, schema: Json, description: str) -> Json:
    """A header of a request."""
    return {"name": name, "in": "header", "description": description, "schema": schema}


def idempotency_key(description: str) -> Json:
    """The header by which a request that is sent again is known."""
    return header("Idempotency-Key", {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}, description)


CONTENT_ENCODING = header(
    "Content-Encoding",
    {"type": "string", "enum": ["gzip", "identity"]},
    "How the body is packed: in gzip, of one member, or not at all.",
)

VARYING: Json = {"Vary": about(TEXT, "The headers of a request that the form of the answer depends on.")}
"""The headers of an answer that comes in several forms."""

OF_PAGE: Json = {
    "Content-Security-Policy": about(TEXT, "What the page may load and do."),
    "Referrer-Policy": about(TEXT, "Whom the page tells its address."),
}
"""Those that an answer has if it is a page."""

PACKED: Json = {
    **VARYING,
    "Content-Encoding": about({"type": "string", "enum": ["gzip"]}, "That it is packed, if it is."),
}
"""Those of an answer that may come in gzip, too."""


def link(operation: str, description: str, **parameters: str) -> Json:
    """What may be done next: an operation, with parameters out of the answer's body, by JSON pointers such as `/id`."""
    return {
        "operationId": operation,
        "description": description,
        "parameters": {name: f"$response.body#{pointer}" for name, pointer in parameters.items()},
    }


@frozen
class Answer:
    """A response that is no problem; `headers` are schemas by name, those in `always` are never left out. `also` are
    the schemas of the other media types in which it may come.
    """

    description: str
    schema: Json | None = None
    media_type: str = JSON
    also: Json = field(factory=dict)
    headers: Json = field(factory=dict)
    always: Sequence[str] = ()
    links: Json = field(factory=dict)


@frozen
class Operation:
    """What a method of a route takes and answers.

    `problems` are the names of those that it may answer, beside what any request may meet with, and `faults`; `body`
    has the media types that it understands; `protected` operations need access.
    """

    id: str
    tag: str
    answers: Mapping[int, Answer]
    problems: Sequence[str] = ()
    faults: Sequence[str] = FAULTS
    parameters: Sequence[Json] = ()
    body: Json = field(factory=dict)
    body_required: bool = True
    protected: bool = False
    description: str = ""


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
