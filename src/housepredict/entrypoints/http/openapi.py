"""What the OpenAPI document is made of: schemas, and the operations that stand above their handlers.

Modules of routes use it by its name, such as `openapi.Resource`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from functools import partial
from inspect import iscoroutinefunction, isroutine
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import attrs
from attrs import define, field, frozen
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.http.access import require_access
from housepredict.entrypoints.http.problems import PROBLEM_JSON, PROBLEMS
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


JSON = "application/json"
CSV = "text/csv"
HTML = "text/html"

SERVING = ("no-model", "refused-model", "unknown-model", "model-store-unavailable")
"""The problems of what takes a model in service."""

FAULTS = ("internal-error", "not-started")
"""The problems that say nothing of a request: whatever it asks for, the app may be no app that can answer it."""

PACKABLE = ("body-too-large", "not-gzip", "unsupported-media-type")
"""The problems of what reads a body, which may come in gzip."""


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


def idempotency_header(description: str) -> Json:
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


BY_THE_SERVER = ("malformed-request", "request-timeout", "headers-too-large", "too-many-connections")
"""What any request may be answered before the app sees it."""

_ID = "X-Request-Id"
WITH_ID: dict[str, Any] = {_ID: {"$ref": f"#/components/headers/{_ID}"}}
"""The header that every answer has."""
HEADERS: Json = {
    _ID: {
        "description": "The id of the request: its own, or a new one. What is answered before the app sees a request "
        "(`malformed-request`, `too-many-connections`), or before it has started, has none.",
        "schema": TEXT,
    }
}
"""The headers of answers that are told once."""
PARAMETERS: Json = {
    _ID: header(
        _ID,
        TEXT,
        "What the log and the answer shall call the request: 1 to 128 letters, digits and `._:+/=-`. Others count for "
        "nothing.",
    ),
    "traceparent": header("traceparent", TEXT, "The trace that the request is part of (W3C Trace Context)."),
}
"""The parameters that any request may have."""

_HEADERS: Mapping[str, Json] = {
    "Accept": about(TEXT, "The media types that are understood."),
    "Accept-Encoding": about(TEXT, "The codings of a body that are understood."),
    "Allow": about(TEXT, "The methods that are possible here."),
    "Location": about(TEXT, "The address of the training that is under way, if it is known."),
    "Retry-After": about({"type": "integer", "minimum": 1}, "After how many seconds to try again."),
    "WWW-Authenticate": about(TEXT, "How to send a token."),
}


@frozen
class Answer:
    """A response.

    Args:
        schema: of the body; several are alternatives.
        also: the schemas of the other media types in which the response may come.
        headers: their schemas by name.
        always: the names of the headers that are never left out.
        problems: the names of the problems that it may be.
    """

    description: str
    schema: Schema | Sequence[Schema] | None = None
    media_type: str = JSON
    status: int = 200
    also: Json = field(factory=dict)
    headers: Json = field(factory=dict)
    always: Collection[str] = ()
    links: Json = field(factory=dict)
    problems: Sequence[str] = ()


def problem_answers(names: Iterable[str]) -> Mapping[int, Answer]:
    """The answers that are problems of these names, by status."""
    by_status: dict[int, list[str]] = {}
    for name in sorted(set(names)):
        by_status.setdefault(PROBLEMS[name].status, []).append(name)
    return {status: _problem_answer(status, some) for status, some in sorted(by_status.items())}


def _problem_answer(status: int, names: Sequence[str]) -> Answer:
    types = [PROBLEMS[name] for name in names]
    headers = sorted({header for each in types for header in (*each.always, *each.others)})
    return Answer(
        " ".join(f"`{each.name}`: {each.title}." for each in types),
        ref("Problem"),
        PROBLEM_JSON,
        status,
        headers={name: _HEADERS[name] for name in headers},
        always=[name for name in headers if all(name in each.always for each in types)],
        problems=names,
    )


SHARED = problem_answers([*BY_THE_SERVER, *FAULTS])
"""What nearly every route may answer, by status: it is described once."""


@frozen
class Operation:
    """What a method of a route takes and answers.

    Args:
        summary: see `summary_for`; by default the first line of the docstring of the handler.
        problems: the names of the problems that it may answer, beside those of any request and `faults`.
        body: the schemas of the body by media type.
        protected: whether it requires access; see `access`.
    """

    tag: str
    id: str
    answers: Sequence[Answer]
    summary: str
    problems: Sequence[str] = ()
    faults: Sequence[str] = FAULTS
    parameters: Sequence[Json] = ()
    body: Json = field(factory=dict)
    body_required: bool = True
    protected: bool = False
    description: str = ""

    def summary_for(self, version: ModelVersion | None) -> str:
        """The summary, where `{required}` stands for the features that the version in service needs."""
        features = version.schema.features if version else ()
        required = ", ".join(feature.name for feature in features if feature.required) or "a model"
        return self.summary.replace("{required}", required)


Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)


@define
class Resource:
    """The routes of a resource. Each handler is decorated with its operation.

    Attributes:
        tag: the heading of its operations in the document.
        schemas: the schemas that they use, by name.
        handlers: by path and method.
        operations: by method and path, such as `GET /health`.
    """

    tag: str
    schemas: Mapping[str, Schema | SchemaFactory] = field(factory=dict)
    handlers: dict[str, dict[str, Handler]] = field(factory=dict)
    operations: dict[str, Operation] = field(factory=dict)

    def route(self, name: str, id_: str, *answers: Answer, **more: Any) -> Callable[[H], H]:
        """Add what a handler answers, see Operation, to a method and path such as `GET /health`."""

        def add(handler: H) -> H:
            summary = (handler.__doc__ or "").partition("\n")[0].removesuffix(".")
            method, _, path = name.partition(" ")
            self.operations[name] = Operation(self.tag, id_, answers, **{"summary": summary, **more})
            self.handlers.setdefault(path, {})[method] = handler
            return handler

        return add

    @property
    def routes(self) -> Iterator[Route]:
        """The routes. A path has one for all its methods, so that it tells them all where it refuses another."""
        for path, handlers in self.handlers.items():
            is_asgi = not all(map(isroutine, handlers.values()))
            yield Route(path, handlers["POST"] if is_asgi else self._endpoint(path, handlers), methods=list(handlers))

    def _endpoint(self, path: str, handlers: Mapping[str, Handler]) -> Handler:
        """The handlers of a path as one, which requires access for what is protected."""

        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            if self.operations[f"{method} {path}"].protected:
                require_access(request)
            handler = handlers[method]
            answers = handler if iscoroutinefunction(handler) else partial(run_in_threadpool, handler)
            response: Response = await answers(request)
            return response

        return answer
