"""The problems that a route may answer, by status, as responses of the document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from housepredict.entrypoints.http.openapi.operations import FAULTS, header
from housepredict.entrypoints.http.openapi.schemas import TEXT, Json, about, ref
from housepredict.entrypoints.http.problems import PROBLEM_JSON, PROBLEMS, URN

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
