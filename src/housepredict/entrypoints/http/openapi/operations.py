"""Operations: what the methods of a route take and answer, as the OpenAPI document describes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, TypeVar

from attrs import define, field, frozen
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.http.openapi.schemas import TEXT, Json, Schema, SchemaFactory, about, list_of

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


@frozen
class Answer:
    """A response that is not a problem.

    Args:
        schema: of the body; several are alternatives.
        also: the schemas of the other media types in which the response may come.
        headers: their schemas by name.
        always: the names of the headers that are never left out.
    """

    description: str
    schema: Schema | Sequence[Schema] | None = None
    media_type: str = JSON
    also: Json = field(factory=dict)
    headers: Json = field(factory=dict)
    always: Sequence[str] = ()
    links: Json = field(factory=dict)


@frozen
class Operation:
    """What a method of a route takes and answers.

    Args:
        summary: see `summary_for`.
        problems: the names of the problems that it may answer, beside those of any request and `faults`.
        body: the schemas of the body by media type.
        protected: whether it needs access; see `access`.
    """

    tag: str
    id: str
    summary: str
    answers: Mapping[int, Answer]
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

    def get(self, path: str, *operation: Any, **more: Any) -> Callable[[H], H]:
        """Add what GET answers at a path; see Operation."""
        return self._adds("GET", path, Operation(self.tag, *operation, **more))

    def post(self, path: str, *operation: Any, **more: Any) -> Callable[[H], H]:
        """Add what POST answers at a path; see Operation."""
        return self._adds("POST", path, Operation(self.tag, *operation, **more))

    def delete(self, path: str, *operation: Any, **more: Any) -> Callable[[H], H]:
        """Add what DELETE answers at a path; see Operation."""
        return self._adds("DELETE", path, Operation(self.tag, *operation, **more))

    def _adds(self, method: str, path: str, operation: Operation) -> Callable[[H], H]:
        def add(handler: H) -> H:
            self.operations[f"{method} {path}"] = operation
            self.handlers.setdefault(path, {})[method] = handler
            return handler

        return add

    @property
    def routes(self) -> Iterator[Route]:
        """The routes. A path has one for all its methods, so that it tells them all where it refuses another."""
        for path, handlers in self.handlers.items():
            endpoint = next(iter(handlers.values())) if len(handlers) == 1 else _by_method(handlers)
            yield Route(path, endpoint, methods=list(handlers))


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    async def answer(request: Request) -> Response:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        answers = handler if iscoroutinefunction(handler) else partial(run_in_threadpool, handler)
        response: Response = await answers(request)
        return response

    return answer
