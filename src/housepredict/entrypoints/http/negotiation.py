"""What of several forms a client would rather have: a person's browser a page, a program JSON or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.datastructures import Headers

VARY = {"Vary": "Accept"}
"""What an answer says that is another one for other clients."""

CSV = "text/csv"
_HTML = "text/html"


def prefers_html(headers: Headers) -> bool:
    """Whether `Accept` names HTML, and JSON not before it. `*/*`, as of curl, names nothing (RFC 9110, 12.5.1)."""
    return _prefers(_HTML, headers)


def prefers_csv(headers: Headers) -> bool:
    """Whether `Accept` names CSV, and JSON not before it."""
    return _prefers(CSV, headers)


def _prefers(media_type: str, headers: Headers) -> bool:
    types = weights(headers.getlist("accept"))
    return 0 < types.get(media_type, 0.0) >= types.get("application/json", 0.0)


def weights(values: Sequence[str]) -> Mapping[str, float]:
    """What is listed in headers, in lower case, each with its weight (RFC 9110, 12.4.2)."""
    found = {}
    for each in ",".join(values).split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        if name:
            found[name] = min((_weight(part) for part in parameters if part.startswith("q=")), default=1.0)
    return found


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
