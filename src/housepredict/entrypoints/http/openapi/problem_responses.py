"""The problems that a route may answer, by status, as responses of the document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from housepredict.domain.errors import TrainingInProgress
from housepredict.domain.validation import Rule
from housepredict.entrypoints.http.openapi.operations import FAULTS, TEXT, Json, about, an_object, header, list_of, ref
from housepredict.entrypoints.http.problems import KINDS, URN

PROBLEM_JSON = "application/problem+json"

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


@frozen
class _Told:
    """How a problem is told; `headers` are always there, `others` sometimes."""

    status: int
    title: str
    headers: Sequence[str] = ()
    others: Sequence[str] = ()


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
    "not-gzip": _Told(400, "The body is not gzip"),
    "not-json": _Told(400, "The body is not JSON"),
    "not-started": _Told(503, "The service was not started"),
    "overloaded": _Told(503, "Too many requests", ["Retry-After"]),
    "refused-version": _Told(409, "The version is refused"),
    "request-timeout": _Told(408, "The request took too long"),
    "too-many-connections": _Told(503, "Too many connections", ["Retry-After"]),
    "unauthorized": _Told(401, "A token is needed", ["WWW-Authenticate"]),
    "unknown-version": _Told(404, "There is no such version"),
    "unsupported-media-type": _Told(415, "The body is of another type", others=["Accept", "Accept-Encoding"]),
    "wrong-method": _Told(405, "Wrong method", ["Allow"]),
}

PROBLEMS: Mapping[str, _Told] = _OF_HTTP | {
    each.name: _Told(
        each.status,
        each.title,
        [] if each.retry_after is None else ["Retry-After"],
        ["Location"] if error is TrainingInProgress else [],
    )
    for error, each in KINDS.items()
}
"""Every problem by name."""

_HEADERS: Mapping[str, Json] = {
    "Accept": about(TEXT, "The media types that are understood."),
    "Accept-Encoding": about(TEXT, "The codings of a body that are understood."),
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


def by_status(names: Iterable[str]) -> dict[int, list[str]]:
    """Names of problems by their statuses."""
    found: dict[int, list[str]] = {}
    for name in sorted(set(names)):
        found.setdefault(PROBLEMS[name].status, []).append(name)
    return dict(sorted(found.items()))


SHARED: Mapping[int, Sequence[str]] = by_status([*BY_THE_SERVER, *FAULTS])
"""What nearly every route may answer, by status: it is told once."""


def response(names: Sequence[str]) -> dict[str, Any]:
    """The response that may be any of these problems, which have a status in common."""
    told = {name: PROBLEMS[name] for name in names}
    headers = {each for one in told.values() for each in (*one.headers, *one.others)}
    always = headers.intersection(*(one.headers for one in told.values()))
    return {
        "description": " ".join(f"`{name}`: {one.title}." for name, one in told.items()),
        "headers": WITH_ID | {name: {"required": name in always, "schema": _HEADERS[name]} for name in sorted(headers)},
        "content": {PROBLEM_JSON: {"schema": ref("Problem")}},
        # not in the schema: generated clients would have a class of its own for each response
        "x-problem-types": [URN + name for name in names],
    }
