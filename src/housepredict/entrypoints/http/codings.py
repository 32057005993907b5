"""Bodies in gzip, both ways: what a request sends, unpacked within bounds, and answers that are worth packing."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response

from housepredict.entrypoints.http.answers import HEADERS
from housepredict.entrypoints.http.negotiation import weights
from housepredict.entrypoints.http.problems import Problem

LARGE = 16_384
"""Answers of fewer bytes, a house's among them, are not packed: it would take longer than to send them."""

VARY = "Accept, Accept-Encoding"
"""What answers depend on that come in several forms."""

_GZIP = ("gzip", "x-gzip")
_WITH_ITS_HEADER = 16 + zlib.MAX_WBITS
_LEVEL = 5  # beyond which it takes longer, and answers get hardly smaller


def is_packed(headers: Headers) -> bool:
    """Whether a body comes in gzip. Raises a Problem for another coding."""
    listed = headers.getlist("content-encoding")
    if not listed:
        return False
    codings = weights(listed).keys() - {"identity"}
    if codings and (len(codings) > 1 or not codings <= set(_GZIP)):
        raise Problem(
            "unsupported-media-type",
            415,
            "The coding of the body is not understood",
            "Send it as it is, or with `Content-Encoding: gzip`.",
            headers={"Accept-Encoding": "gzip"},
        )
    return bool(codings)


def unpacked(body: bytes, limit: int) -> bytes:
    """What a body in gzip holds, or a byte more than `limit` of it. Raises a Problem."""
    # of one member alone, as everybody sends it: a body of thousands of empty ones takes as many copies of itself
    member = zlib.decompressobj(_WITH_ITS_HEADER)
    try:
        found = member.decompress(body, limit + 1)
    except zlib.error:
        raise _not_gzip("It is damaged, or something else.") from None
    if len(found) <= limit and not member.eof:
        raise _not_gzip("It is cut off.")
    if len(found) <= limit and member.unused_data:
        raise _not_gzip("Something follows it.")
    return found


def _not_gzip(detail: str) -> Problem:
    return Problem("not-gzip", 400, "The body is not gzip", detail)


def accepts_gzip(headers: Headers) -> bool:
    """Whether the answer may come in gzip."""
    codings = weights(headers.getlist("accept-encoding"))
    return codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0))) > 0


def packed(content: bytes, headers: Headers) -> tuple[bytes, bool]:
    """The content of an answer to a request with these headers, in gzip if it is large; and whether it is."""
    if len(content) < LARGE or not accepts_gzip(headers):
        return content, False
    return gzip.compress(content, _LEVEL, mtime=0), True


def response(content: bytes, headers: Headers, media_type: str, more: Mapping[str, str] | None = None) -> Response:
    """An answer that comes in several forms, to a request with these headers; packed if it is large."""
    content, is_packed_ = packed(content, headers)
    coding = {"Content-Encoding": "gzip"} if is_packed_ else {}
    return Response(content, 200, {**HEADERS, **(more or {}), "Vary": VARY, **coding}, media_type)
