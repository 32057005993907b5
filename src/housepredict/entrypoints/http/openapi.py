"""Building blocks for the OpenAPI document: schemas, parameters, responses and operations.

Route modules import this module as a whole, and write `openapi.Resource`.
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
"""A part of the OpenAPI document, made of plain JSON values."""

DATE: Json = {"type": "string", "format": "date", "pattern": "^(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}$"}
"""The schema for a date (YYYY-MM-DD) from year 1 on."""
ID: Json = {"type": "string", "format": "uuid"}
TIME: Json = {"type": "string", "format": "date-time"}
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
FLAG: Json = {"type": "boolean"}
FILE: Json = {"type": "string", "format": "binary"}
"""The schema for a file sent as a body. It is binary, because generated clients would encode a text body as JSON."""


def ref(name: str) -> Json:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Json) -> Json:
    """Return a schema that also allows null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def about(schema: Json, description: str) -> Json:
    """Return a copy of a schema with a description."""
    return {**schema, "description": description}


def list_of(schema: Json) -> Json:
    """Return the schema for a list whose items match `schema`."""
    return {"type": "array", "items": schema}


def by_name(schema: Json) -> Json:
    """Return the schema for an object with arbitrary property names. Its values match `schema`."""
    return {"type": "object", "additionalProperties": schema}


def an_object(properties: Json, optional: Iterable[str] = ()) -> Json:
    """Return the schema for an object with these properties. All are required except those in `optional`."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in set(optional)],
    }


Schema = type | Json
"""A schema, or the document class from which to generate it."""
SchemaFactory = Callable[[ModelVersion | None, Settings], Json]
"""A function that builds a schema from the model version in service (None if there isn't one) and the settings."""


def named(*kinds: type) -> Mapping[str, type]:
    """Return document classes by schema name."""
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
    """Return the schema name of a document class."""
    return kind.__name__.removesuffix("Answer")


def object_schema(kind: type, named: Collection[type]) -> Json:
    """Return the schema for a document class. Classes in `named` become references; other classes are inlined."""
    parts = [part for part in parts_of(kind) if part.is_public and not part.is_mapping]
    properties = {part.name: _property(part, named) for part in parts}
    described = kind.__name__.endswith("Answer") and kind.__doc__
    schema = an_object(properties, [part.name for part in parts if part.optional])
    return {**schema, "description": described} if described else schema


def _property(part: Part, named: Collection[type]) -> Json:
    schema = schema_of(part.hint, named)
    return about(schema, part.about) if part.about else schema


def schema_of(hint: Any, named: Collection[type] = ()) -> Json:
    """Return the schema for a Python type. Classes in `named` become references; other classes are inlined."""
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
        schemas = [schema_of(argument, named) for argument in arguments if argument is not NoneType]
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
    """Return a union of simple types. Omit `integer` if `number` is present, because `number` includes it."""
    types = [schema["type"] for schema in schemas]
    return {"type": [name for name in types if name != "integer" or "number" not in types]}


def enum_of(kind: Iterable[StrEnum]) -> Json:
    """Return the schema for an enumeration."""
    return {"type": "string", "enum": [str(member) for member in kind]}


JSON = "application/json"
CSV = "text/csv"
HTML = "text/html"

SERVING = ("no-model", "refused-model", "unknown-model", "model-store-unavailable")
"""The problems of operations that need a model in service."""

FAULTS = ("internal-error", "not-started")
"""The problems that nearly every operation can have. The service causes them, not the request."""

BODY_PROBLEMS = ("body-too-large", "not-gzip", "unsupported-media-type")
"""The problems of operations that read a body."""


def query(name: str, schema: Json, description: str, *, repeatable: bool = False) -> Json:
    """Return a query parameter. If it is `repeatable`, `schema` describes each of its values."""
    schema = list_of(schema) if repeatable else schema
    return {"name": name, "in": "query", "description": description, "schema": schema}


def in_path(name: str, schema: Json, description: str) -> Json:
    """Return a path parameter."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def header(name: str, schema: Json, description: str) -> Json:
    """Return a request header."""
    return {"name": name, "in": "header", "description": description, "schema": schema}


def idempotency_header(description: str) -> Json:
    """Return the request header `Idempotency-Key`."""
    return header("Idempotency-Key", {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"}, description)


CONTENT_ENCODING = header(
    "Content-Encoding",
    {"type": "string", "enum": ["gzip", "identity"]},
    "The compression of the body: `gzip` (with a single member), or `identity` for none.",
)

VARYING: Json = {"Vary": about(TEXT, "The request headers that the format of the response depends on.")}
"""The headers of a response that has several formats."""

PAGE_HEADERS: Json = {
    "Content-Security-Policy": about(TEXT, "What the page may load and run. Only sent with HTML."),
    "Referrer-Policy": about(TEXT, "Which sites receive the page's address. Only sent with HTML."),
}
"""The headers of a response that may be an HTML page."""

COMPRESSIBLE: Json = {
    **VARYING,
    "Content-Encoding": about({"type": "string", "enum": ["gzip"]}, "Present if the body is compressed."),
}
"""The headers of a response that has several formats and may be compressed."""


def link(operation: str, description: str, **parameters: str) -> Json:
    """Return a link from a response to a follow-up operation.

    `parameters` maps the parameters of that operation to JSON pointers into the response, such as `/id`.
    """
    return {
        "operationId": operation,
        "description": description,
        "parameters": {name: f"$response.body#{pointer}" for name, pointer in parameters.items()},
    }


SERVER_PROBLEMS = ("malformed-request", "request-timeout", "headers-too-large", "too-many-connections")
"""The problems that the server may send in response to any request, before the app sees the request."""

_ID = "X-Request-Id"
WITH_ID: dict[str, Any] = {_ID: {"$ref": f"#/components/headers/{_ID}"}}
"""The header `X-Request-Id`, as a reference to HEADERS. The document lists it for every response."""
HEADERS: Json = {
    _ID: {
        "description": "The request id: the one that the client sent, or a new one. It is missing if the app has not "
        "started, or if the server rejects the request (`malformed-request`, `too-many-connections`).",
        "schema": TEXT,
    }
}
"""The response headers in the components section of the document."""
PARAMETERS: Json = {
    _ID: header(
        _ID,
        TEXT,
        "A request id to use in the log and in the response: 1 to 128 letters, digits and `._:+/=-`. Invalid values "
        "are ignored.",
    ),
    "traceparent": header("traceparent", TEXT, "The trace context of the request (W3C Trace Context)."),
}
"""The parameters that every request accepts."""

_HEADERS: Mapping[str, Json] = {
    "Accept": about(TEXT, "The supported media types."),
    "Accept-Encoding": about(TEXT, "The supported content codings."),
    "Allow": about(TEXT, "The allowed methods."),
    "Location": about(TEXT, "The path of the running training job, if it is known."),
    "Retry-After": about({"type": "integer", "minimum": 1}, "How many seconds to wait before retrying."),
    "WWW-Authenticate": about(TEXT, "How to send the token."),
}


@frozen
class Answer:
    """An OpenAPI response.

    Args:
        schema: the schema of the body, or a sequence of alternatives.
        also: the schemas of the body in other media types.
        headers: the schemas of the response headers, by name.
        always: the names of the headers that are always present.
        problems: the names of the problems that the body may be about, for the extension `x-problem-types`.
        listed: the names of the problems that the description mentions.
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
    listed: Sequence[str] = ()


def problem_answers(names: Iterable[str]) -> Mapping[int, Answer]:
    """Return the responses for the problems with these names, by status."""
    by_status: dict[int, list[str]] = {}
    for name in sorted(set(names)):
        by_status.setdefault(PROBLEMS[name].status, []).append(name)
    return {status: _problem_answer(status, group) for status, group in sorted(by_status.items())}


def _problem_answer(status: int, names: Sequence[str]) -> Answer:
    types = [PROBLEMS[name] for name in names]
    headers = sorted({header for type_ in types for header in (*type_.always, *type_.others)})
    return Answer(
        "",
        ref("Problem"),
        PROBLEM_JSON,
        status,
        headers={name: _HEADERS[name] for name in headers},
        always=[name for name in headers if all(name in type_.always for type_ in types)],
        problems=names,
        listed=names,
    )


SHARED = problem_answers([*SERVER_PROBLEMS, *FAULTS])
"""The responses for problems that nearly every operation can have, by status.

They are in the document's components section, and operations refer to them.
"""


@frozen
class Operation:
    """An OpenAPI operation: the parameters, body and responses for one method of a route.

    Args:
        summary: a one-line summary, which may contain `{required}` (see `summary_for`).
        problems: the names of possible problems, except those in FAULTS and SERVER_PROBLEMS.
        faults: the names of those problems in FAULTS that are possible.
        body: the schemas of the request body, by media type.
        protected: whether clients need write access (see the module `access`).
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
        """Return the summary with `{required}` replaced by the required features of a model version."""
        features = version.schema.features if version else ()
        required = ", ".join(feature.name for feature in features if feature.required) or "a model"
        return self.summary.replace("{required}", required)


Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)


@define
class Resource:
    """The routes of a resource. The decorator `route` registers a handler and its operation.

    Attributes:
        tag: the tag of the operations in the OpenAPI document.
        schemas: the schemas that the operations use, by name.
        handlers: the handlers, by path and then by method.
        operations: the operations, by method and path, such as `GET /health`.
    """

    tag: str
    schemas: Mapping[str, Schema | SchemaFactory] = field(factory=dict)
    handlers: dict[str, dict[str, Handler]] = field(factory=dict)
    operations: dict[str, Operation] = field(factory=dict)

    def route(self, name: str, id_: str, *answers: Answer, **more: Any) -> Callable[[H], H]:
        """Register the decorated handler.

        The first line of the handler's docstring is the default summary of the operation.

        Args:
            name: the method and path, such as `GET /health`.
            id_: the id of the operation, such as `getHealth`.
            answers: the responses, except for problems.
            more: other attributes of the Operation.
        """

        def add(handler: H) -> H:
            summary = (handler.__doc__ or "").partition("\n")[0].removesuffix(".")
            method, _, path = name.partition(" ")
            self.operations[name] = Operation(self.tag, id_, answers, **{"summary": summary, **more})
            self.handlers.setdefault(path, {})[method] = handler
            return handler

        return add

    @property
    def routes(self) -> Iterator[Route]:
        """One route per path, with all methods of the path, so that a 405 response can list them in `Allow`."""
        for path, handlers in self.handlers.items():
            is_asgi = not all(map(isroutine, handlers.values()))
            yield Route(path, handlers["POST"] if is_asgi else self._endpoint(path, handlers), methods=list(handlers))

    def _endpoint(self, path: str, handlers: Mapping[str, Handler]) -> Handler:
        """Combine the handlers of a path into one endpoint, which checks access to protected operations."""

        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            if self.operations[f"{method} {path}"].protected:
                require_access(request)
            handler = handlers[method]
            answers = handler if iscoroutinefunction(handler) else partial(run_in_threadpool, handler)
            response: Response = await answers(request)
            return response

        return answer
