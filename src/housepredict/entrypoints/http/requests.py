"""What a request says, read without trusting any of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.message import Message
from json import JSONDecodeError
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from housepredict.domain.errors import BrokenRules
from housepredict.domain.training_options import encoding
from housepredict.domain.validation import Rule, Violation
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.responses import HEADERS
from housepredict.entrypoints.http.service_state import running_service

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


LARGE = 16_384
"""Answers of fewer bytes, a house's among them, are not packed: it would take longer than to send them."""

VARY_BY_CODING = "Accept, Accept-Encoding"
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
        hint = "Send it as it is, or with `Content-Encoding: gzip`."
        raise unsupported_type("The coding of the body is not understood", hint, {"Accept-Encoding": "gzip"})
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
    return Response(content, 200, {**HEADERS, **(more or {}), "Vary": VARY_BY_CODING, **coding}, media_type)


_LONGEST_LENGTH = 18  # digits of a Content-Length; longer ones are no lengths
UPLOAD = "housepredict.upload"
"""Where the scope of a request has the bytes that its body may have, if those are more than HOUSEPREDICT_MAX_BODY."""
CSV_TYPES = ("text/csv", "application/csv", "text/comma-separated-values", "application/vnd.ms-excel")
"""What clients call CSV; browsers on Windows send the last."""
_LONG_NUMBER = 300  # digits; Python refuses to read integers of some thousands


def application_of(request: Request) -> Application:
    """The use cases. Raises NotStarted outside of the app's lifespan."""
    return running_service(request.app).application


def require_json(headers: Headers) -> None:
    """Raise a Problem unless the body is said to be JSON in UTF-8."""
    if not _is_json(_utf8_type(headers)):
        hint = "Send JSON in UTF-8, with the header `Content-Type: application/json`."
        raise unsupported_type("Only JSON is understood", hint, {"Accept": "application/json"})


def is_csv(headers: Headers) -> bool:
    """Whether the body is said to be CSV, see csv_body. Raises a Problem unless it is that or JSON in UTF-8."""
    named = _utf8_type(headers)
    if named in CSV_TYPES or _is_json(named):
        return named in CSV_TYPES
    with suppress(ValueError):
        if media_type(headers) in CSV_TYPES and charset_of(headers):
            return True
    hint = (
        "Send JSON or CSV in UTF-8, with the header `Content-Type: application/json` or `text/csv`; a file with "
        "`curl --data-binary @file.csv -H 'Content-Type: text/csv'`."
    )
    raise unsupported_type("Only JSON and CSV are understood", hint, {"Accept": "application/json, text/csv"})


def unsupported_type(title: str, detail: str, headers: Mapping[str, str]) -> Problem:
    """Return the Problem of a body in a form that is not read; `headers` say which forms are."""
    return Problem("unsupported-media-type", 415, title, detail, headers=headers)


def charset_of(headers: Headers) -> str | None:
    """The encoding other than UTF-8 that a body of text is said to be in, as Python calls it.

    Raises:
        ValueError: with the charset as the header has it, if Python knows no such encoding.
    """
    named = media_type(headers)
    content_type = Message()
    content_type["content-type"] = headers.get("content-type", "")
    charset = content_type.get_param("charset")
    if charset is None or not (named in CSV_TYPES or named.startswith("text/")):
        return None
    try:
        name = encoding(content_type.get_content_charset())
    except ValueError:
        raise ValueError(charset) from None
    return None if name == "utf-8" else name


def csv_body(headers: Headers, body: bytes, error: type[BrokenRules]) -> bytes:
    """A CSV body in UTF-8, whichever encoding it is said to be in. Raises this error if it is not in that."""
    charset = None if _utf8_type(headers) else charset_of(headers)
    if charset is None:
        return body
    try:
        return body.decode(charset).encode()
    except UnicodeError:
        raise error([Violation("", Rule.TYPE, f"is not in {charset}, as its Content-Type says")]) from None


def media_type(headers: Headers) -> str:
    """The type of the body, in lower case: empty where there is none, and all of them where there are several."""
    types = headers.getlist("content-type")
    return ", ".join(types).lower() if len(types) > 1 else "".join(types).partition(";")[0].strip().lower()


def _utf8_type(headers: Headers) -> str:
    """What the body is said to be; nothing where that is not said once, or another encoding than UTF-8 is."""
    parameters = [part.strip().lower() for part in headers.get("content-type", "").split(";")[1:]]
    charsets = [each.partition("=")[2].strip('"') for each in parameters if each.startswith("charset")]
    return media_type(headers) if set(charsets) <= {"utf-8", "utf8"} else ""


def is_nothing(body: bytes) -> bool:
    """Whether a body says nothing: it is blank, or an empty JSON object."""
    return b"".join(body.split()) in (b"", b"{}")


async def require_no_body(request: Request) -> None:
    """Raise a Problem for a body where none is expected: it would be ignored."""
    estimator = running_service(request.app).estimator
    body = await read_body(request.headers, request.receive, estimator.max_body, estimator.body_timeout)
    if not is_nothing(body):
        detail = "This route takes no body. What it needs is in its path: see `GET /`."
        raise unsupported_type("No body is expected", detail, {})


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def idempotency_key(headers: Headers, error: type[BrokenRules]) -> str | None:
    """The key by which a repeated request is known again (draft-ietf-httpapi-idempotency-key-header), if it has one.

    Raises this error if it has several.
    """
    keys = headers.getlist("idempotency-key")
    if len(keys) > 1:
        message = "there must be one Idempotency-Key at most"
        raise error([Violation("", Rule.DUPLICATE, message, keys)])
    return keys[0] if keys else None


async def read_body(headers: Headers, receive: Receive, limit: int, seconds: float | None = None) -> bytes:
    """The body, unpacked and of at most `limit` bytes, within `seconds`, or None where the server sees to that.

    Raises a Problem as soon as it is known to be longer or late, or in an unknown coding, or ClientDisconnect.
    """
    packed = is_packed(headers)
    try:
        async with asyncio.timeout(seconds):
            body = await _read_body(headers, receive, limit)
    except TimeoutError:
        raise too_late() from None
    if packed:
        body = await run_in_threadpool(unpacked, body, limit)
        if len(body) > limit:
            raise too_large(limit)
    return body


async def _read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    require_length(headers, limit)
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise too_large(limit)
    return body


def require_length(headers: Headers, limit: int, setting: str = "MAX_BODY") -> None:
    """Raise a Problem if the body is said to be longer than the setting lets it be."""
    announced = headers.get("content-length", "")
    if announced.isdecimal() and (len(announced) > _LONGEST_LENGTH or int(announced) > limit):
        raise too_large(limit, setting)


def too_late() -> Problem:
    """What to say of a request that does not come to its end."""
    detail = "Its headers, and then its body, have HOUSEPREDICT_CLIENT_TIMEOUT seconds to arrive."
    return Problem("request-timeout", 408, "The request took too long", detail)


def too_large(limit: int, setting: str = "MAX_BODY") -> Problem:
    """What to say of a body that is longer than the setting lets it be."""
    less = "fewer houses at once" if setting == "MAX_BODY" else "fewer sales, or compressed ones"
    detail = f"A body may have {limit} bytes: send {less}, or raise HOUSEPREDICT_{setting}."
    return Problem("body-too-large", 413, "The body is too large", detail)


class RepeatingObject(dict[str, object]):
    """A JSON object that holds names more than once; the last value of each counts, as is usual."""

    repeated: Sequence[str] = ()


def decode(body: bytes) -> Any:
    """The JSON value of a body, as Python has it; NaN and numbers too large for a float among them.

    Raises a Problem if it is no JSON in UTF-8.
    """
    if not body.strip():
        raise _not_json("The body is empty.")
    if body.startswith(BOM_UTF8):
        raise _not_json("It begins with a byte order mark (BOM), which JSON has not.")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _not_json(f"Byte {error.start} is not UTF-8.") from None
    try:
        try:
            return _DECODER.decode(text)
        except JSONDecodeError:
            raise
        except ValueError:
            # an integer with more digits than Python reads: the schema is to refuse it, naming where it stands
            return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except JSONDecodeError as error:
        raise _not_json(f"{error.msg}: line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise _not_json("It is nested too deeply.") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    counts = Counter(name for name, _ in pairs)
    repeating = RepeatingObject(values)
    repeating.repeated = [name for name, count in counts.items() if count > 1]
    return repeating


_DECODER = json.JSONDecoder(object_pairs_hook=_object)  # made once: json.loads makes one for each call


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONG_NUMBER else float(digits)


def _not_json(detail: str) -> Problem:
    return Problem("not-json", 400, "The body is not JSON", detail)
