"""Whether a client is a person's browser, which gets a page, or a program, which gets JSON."""

from __future__ import annotations

import re

from starlette.datastructures import Headers

_QUALITY = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", re.ASCII | re.IGNORECASE)

VARY = {"Vary": "Accept"}
"""What an answer says that is another one for other clients."""


def prefers_html(headers: Headers) -> bool:
    """Whether `Accept` names HTML, and JSON not before it. `*/*`, as of curl, names nothing (RFC 9110, 12.5.1)."""
    html = json = 0.0
    for each in ",".join(headers.getlist("accept")).lower().split(","):
        media_type, *parameters = (part.strip() for part in each.split(";"))
        if media_type == "text/html":
            html = max(html, _quality(parameters))
        elif media_type == "application/json":
            json = max(json, _quality(parameters))
    return html > 0 and html >= json


def _quality(parameters: list[str]) -> float:
    given = [found for each in parameters if (found := _QUALITY.fullmatch(each))]
    return float(given[0][1]) if given else 1.0
