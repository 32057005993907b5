"""The problems that a route may answer, by status, as responses of the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from housepredict.domain.validation import Rule
from housepredict.entrypoints.http.openapi.parts import TEXT, Json, about, an_object, list_of, ref
from housepredict.entrypoints.http.problems import KINDS, URN

PROBLEM_JSON = "application/problem+json"

ALWAYS = ("malformed-request", "request-timeout", "headers-too-large", "internal-error", "too-many-connections")
"""What any request may be answered, whatever it asks for."""


@frozen
class _Told:
    status: int
    title: str
    headers: Sequence[str] = ()


# Those that no error of the domain stands behind.
_OF_HTTP = {
    "body-too-large": _Told(413, "The body is too large"),
    "forbidden": _Told(403, "Not from here"),
    "headers-too-large": _Told(431, "The headers are too large"),
    "internal-error": _Told(500, "Internal error"),
    "invalid-houses": _Told(422, "This is no house to estimate"),
    "invalid-query": _Told(422, "The query cannot be understood"),
    "invalid-sales": _Told(422, "This is no sale of a house"),
    "malformed-request": _Told(400, "This is not HTTP"),
    "missing-feature": _Told(400, "A feature is missing"),
    "not-found": _Told(404, "Not found"),
    "not-json": _Told(400, "The body is not JSON"),
    "overloaded": _Told(503, "Too many requests", ["Retry-After"]),
    "refused-version": _Told(409, "The version is refused"),
    "request-timeout": _Told(408, "The request took too long"),
    "too-many-connections": _Told(503, "Too many connections", ["Retry-After"]),
    "unauthorized": _Told(401, "A token is needed", ["WWW-Authenticate"]),
    "unknown-version": _Told(404, "There is no such version"),
    "unsupported-media-type": _Told(415, "The body is of another type", ["Accept"]),
    "wrong-method": _Told(405, "Wrong method", ["Allow"]),
}

PROBLEMS: Mapping[str, _Told] = _OF_HTTP | {
    each.name: _Told(each.status, each.title, [] if each.retry_after is None else ["Retry-After"])
    for each in KINDS.values()
}
"""Every problem by name."""

_HEADERS: Mapping[str, Json] = {
    "Accept": about(TEXT, "The media types that are understood."),
    "Allow": about(TEXT, "The methods that are possible here."),
    "Location": about(TEXT, "The address of the training that is under way, if it is known."),
    "Retry-After": about({"type": "integer", "minimum": 1}, "After how many seconds to try again."),
    "WWW-Authenticate": about(TEXT, "How to send a token."),
}

SCHEMAS: Mapping[str, Json] = {
    "Problem": {
        **an_object(
            {
                "type": about({"type": "string", "enum": [URN + each for each in sorted(PROBLEMS)]}, "A stable name."),
                "title": TEXT,
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": TEXT,
                "error": about(TEXT, "What the tutorial's service would say."),
                "instance": about(TEXT, "Where the service's log says more of this."),
                "violations": list_of(ref("Violation")),
                "training": about({"type": ["string", "null"]}, "The address of the training that is under way."),
            },
            optional=("instance", "violations", "training"),
        ),
        "description": "What kept a request from being answered (RFC 9457).",
    },
    "Violation": an_object(
        {
            "pointer": about(
                TEXT, "Where the value stands in the body (RFC 6901), or the parameter's name after a `/`."
            ),
            "rule": {"type": "string", "enum": [str(each) for each in Rule]},
            "message": TEXT,
            "value": {"description": "What stood there, cut off where it is long."},
        }
    ),
}


def by_status(names: Sequence[str]) -> dict[int, list[str]]:
    """Names of problems by their statuses."""
    found: dict[int, list[str]] = {}
    for name in sorted({*names, *ALWAYS}):
        found.setdefault(PROBLEMS[name].status, []).append(name)
    return found


def response(names: Sequence[str]) -> dict[str, Any]:
    """The response that may be any of these problems, which have a status in common."""
    told = {name: PROBLEMS[name] for name in names}
    headers = {each for one in told.values() for each in one.headers}
    always = headers.intersection(*(one.headers for one in told.values()))
    if "training-in-progress" in told:
        headers.add("Location")
    made: dict[str, Any] = {
        "description": " ".join(f"`{name}`: {one.title}." for name, one in told.items()),
        "content": {PROBLEM_JSON: {"schema": ref("Problem")}},
        # not in the schema: generated clients would have a class of its own for each response
        "x-problem-types": [URN + name for name in names],
    }
    if headers:
        made["headers"] = {name: {"required": name in always, "schema": _HEADERS[name]} for name in sorted(headers)}
    return made
