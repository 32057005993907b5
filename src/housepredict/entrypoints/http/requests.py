"""Request parsing: content negotiation, compression, bodies and JSON. All client input is untrusted."""

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
"""The header to send with responses whose media type depends on `Accept`."""

CSV = "text/csv"
_HTML = "text/html"


def prefers_html(headers: Headers) -> bool:
    """Return whether `Accept` prefers HTML to JSON (RFC 9110, section 12.5.1). `*/*`, sent by curl, means JSON."""
    return _prefers(_HTML, headers)


def prefers_csv(headers: Headers) -> bool:
    """Return whether `Accept` prefers CSV to JSON."""
    return _prefers(CSV, headers)


def _prefers(media_type: str, headers: Headers) -> bool:
    types = weights(headers.getlist("accept"))
    return 0 < types.get(media_type, 0.0) >= types.get("application/json", 0.0)


def weights(values: Sequence[str]) -> Mapping[str, float]:
    """Parse a header such as `Accept` into lowercase names and their weights (RFC 9110, section 12.4.2)."""
    weight_of = {}
    for item in ",".join(values).split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name:
            weight_of[name] = min((_weight(part) for part in parameters if part.startswith("q=")), default=1.0)
    return weight_of


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0


MIN_COMPRESSED_BYTES = 16_384
"""The minimum size in bytes of responses to compress. Compressing smaller ones takes longer than it saves."""

VARY_BY_CODING = "Accept, Accept-Encoding"
"""The `Vary` header of responses that may be compressed."""

_GZIP = ("gzip", "x-gzip")
_GZIP_WBITS = 16 + zlib.MAX_WBITS
_LEVEL = 5  # higher levels are slower, and responses hardly get smaller


def is_gzipped(headers: Headers) -> bool:
    """Return whether a request body is compressed with gzip. Raise a Problem for other content codings."""
    listed = headers.getlist("content-encoding")
    if not listed:
        return False
    codings = weights(listed).keys() - {"identity"}
    if codings and (len(codings) > 1 or not codings <= set(_GZIP)):
        detail = "This Content-Encoding is not supported. Send the body uncompressed or with `Content-Encoding: gzip`."
        raise unsupported_type(detail, {"Accept-Encoding": "gzip"})
    return bool(codings)


def decompress(body: bytes, limit: int) -> bytes:
    """Decompress a gzip body, and return at most `limit` + 1 bytes, so that the caller can detect longer content.

    Raises:
        Problem: unless the body is a single, complete gzip member.
    """
    # Supporting several members would copy the rest of the body once per member, and a body can have thousands.
    member = zlib.decompressobj(_GZIP_WBITS)
    try:
        content = member.decompress(body, limit + 1)
    except zlib.error:
        raise Problem("not-gzip", "The body is damaged or isn't gzip.") from None
    if len(content) <= limit and not member.eof:
        raise Problem("not-gzip", "The gzip body is truncated.")
    if len(content) <= limit and member.unused_data:
        raise Problem("not-gzip", "The gzip body has data after its first member. Send a single member.")
    return content


def accepts_gzip(headers: Headers) -> bool:
    """Return whether the client accepts a gzip response."""
    codings = weights(headers.getlist("accept-encoding"))
    return codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0))) > 0


def compress(content: bytes, headers: Headers) -> tuple[bytes, bool]:
    """Compress the body of a response if it is large and the client accepts gzip.

    Returns:
        The body, and whether it is compressed.
    """
    if len(content) < MIN_COMPRESSED_BYTES or not accepts_gzip(headers):
        return content, False
    return gzip.compress(content, _LEVEL, mtime=0), True


def compressed_response(
    content: bytes, headers: Headers, media_type: str, more: Mapping[str, str] | None = None
) -> Response:
    """Build a response, compressed if it is large and the client accepts gzip.

    Args:
        content: the uncompressed body.
        headers: the headers of the request.
        media_type: the media type of the response.
        more: additional headers of the response.
    """
    content, is_compressed = compress(content, headers)
    coding = {"Content-Encoding": "gzip"} if is_compressed else {}
    return Response(content, 200, {**HEADERS, **(more or {}), "Vary": VARY_BY_CODING, **coding}, media_type)


_MAX_LENGTH_DIGITS = 18  # in a Content-Length header
UPLOAD = "housepredict.upload"
"""The ASGI scope key for the body size limit of an upload, in bytes. HOUSEPREDICT_MAX_BODY limits other requests."""
CSV_TYPES = ("text/csv", "application/csv", "text/comma-separated-values", "application/vnd.ms-excel")
"""The media types for CSV. Browsers on Windows send the last one."""
_MAX_INTEGER_DIGITS = 300  # Python refuses to parse integers with thousands of digits


def application_of(request: Request) -> Application:
    """Return the application that handles the request. Raise NotStarted outside the app's lifespan."""
    return running_service(request.app).application


def require_json(headers: Headers) -> None:
    """Raise a Problem unless the Content-Type is JSON in UTF-8."""
    if not _is_json(_utf8_type(headers)):
        detail = "Send JSON in UTF-8, with the header `Content-Type: application/json`."
        raise unsupported_type(detail, {"Accept": "application/json"})


def is_csv(headers: Headers) -> bool:
    """Return whether the Content-Type is CSV (in any encoding) rather than JSON (in UTF-8).

    Raises:
        Problem: for any other Content-Type.
    """
    type_ = _utf8_type(headers)
    if type_ in CSV_TYPES or _is_json(type_):
        return type_ in CSV_TYPES
    with suppress(ValueError):
        if media_type(headers) in CSV_TYPES and charset_of(headers):
            return True
    detail = (
        "Send JSON or CSV in UTF-8, with the header `Content-Type: application/json` or `text/csv`. To send a file: "
        "`curl --data-binary @file.csv -H 'Content-Type: text/csv'`."
    )
    raise unsupported_type(detail, {"Accept": "application/json, text/csv"})


def unsupported_type(detail: str, headers: Mapping[str, str]) -> Problem:
    """Return the problem for an unsupported media type or content coding. `headers` list what is supported."""
    return Problem("unsupported-media-type", detail, headers=headers)


def charset_of(headers: Headers) -> str | None:
    """Return Python's name for the charset of a text body, as declared in its Content-Type.

    Return None if the charset is UTF-8 or is not declared, and for a body that isn't text.

    Raises:
        ValueError: if Python doesn't know the charset. The error message is the declared charset.
    """
    type_ = media_type(headers)
    content_type = Message()
    content_type["content-type"] = headers.get("content-type", "")
    charset = content_type.get_param("charset")
    if charset is None or not (type_ in CSV_TYPES or type_.startswith("text/")):
        return None
    try:
        name = encoding(content_type.get_content_charset())
    except ValueError:
        raise ValueError(charset) from None
    return None if name == "utf-8" else name


def csv_body(headers: Headers, body: bytes, error: type[BrokenRules]) -> bytes:
    """Convert a CSV body from the charset in its Content-Type to UTF-8. Raise `error` if decoding fails."""
    charset = None if _utf8_type(headers) else charset_of(headers)
    if charset is None:
        return body
    try:
        return body.decode(charset).encode()
    except UnicodeError:
        message = f"the body is not valid {charset}, the charset in its Content-Type"
        raise error([Violation("", Rule.TYPE, message)]) from None


def media_type(headers: Headers) -> str:
    """Return the media type of a body in lower case, or an empty string without a Content-Type header.

    If there are several Content-Type headers, return all values separated by commas, which is not a valid media type.
    """
    types = headers.getlist("content-type")
    return ", ".join(types).lower() if len(types) > 1 else "".join(types).partition(";")[0].strip().lower()


def _utf8_type(headers: Headers) -> str:
    """Return the media type of a body, or an empty string if its charset isn't UTF-8."""
    parameters = [part.strip().lower() for part in headers.get("content-type", "").split(";")[1:]]
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset")]
    return media_type(headers) if set(charsets) <= {"utf-8", "utf8"} else ""


def is_blank(body: bytes) -> bool:
    """Return whether a body is empty, or consists of whitespace or an empty JSON object."""
    return b"".join(body.split()) in (b"", b"{}")


async def require_no_body(request: Request) -> None:
    """Raise a Problem if a request has a body, because the route would ignore it."""
    estimator = running_service(request.app).estimator
    body = await read_body(request.headers, request.receive, estimator.max_body, estimator.body_timeout)
    if not is_blank(body):
        raise unsupported_type("This route accepts no body. Its parameters are in its path: see `GET /`.", {})


def _is_json(media_type: str) -> bool:
    return media_type == "application/json" or media_type.endswith("+json")


def idempotency_key(headers: Headers, error: type[BrokenRules]) -> str | None:
    """Return the `Idempotency-Key` header of a request, or None. Raise `error` if there is more than one.

    The header is defined in draft-ietf-httpapi-idempotency-key-header.
    """
    keys = headers.getlist("idempotency-key")
    if len(keys) > 1:
        message = "Idempotency-Key: must be sent only once"
        raise error([Violation("", Rule.DUPLICATE, message, keys)])
    return keys[0] if keys else None


async def read_body(headers: Headers, receive: Receive, limit: int, seconds: float | None = None) -> bytes:
    """Read and decompress the body of a request.

    Args:
        headers: the headers of the request.
        receive: the ASGI callable that returns the parts of the body.
        limit: the maximum size of the body in bytes, before and after decompression.
        seconds: the deadline in seconds, or None if the server enforces the deadline.

    Raises:
        Problem: if the body is too large or takes too long, or if its content coding is not supported.
        ClientDisconnect: if the client disconnects before the end of the body.
    """
    gzipped = is_gzipped(headers)
    try:
        async with asyncio.timeout(seconds):
            body = await _read_body(headers, receive, limit)
    except TimeoutError:
        raise too_late() from None
    if gzipped:
        body = await run_in_threadpool(decompress, body, limit)
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
    """Raise a Problem if the Content-Length exceeds `limit` bytes, which is the value of HOUSEPREDICT_`setting`."""
    length = headers.get("content-length", "")
    if length.isdecimal() and (len(length) > _MAX_LENGTH_DIGITS or int(length) > limit):
        raise too_large(limit, setting)


def too_late() -> Problem:
    """Return the problem for a request that didn't arrive in time."""
    return Problem(
        "request-timeout",
        "The request took too long: the headers and then the body must each arrive within HOUSEPREDICT_CLIENT_TIMEOUT.",
    )


def too_large(limit: int, setting: str = "MAX_BODY") -> Problem:
    """Return the problem for a body larger than `limit` bytes, which is the value of HOUSEPREDICT_`setting`."""
    advice = "fewer houses at once" if setting == "MAX_BODY" else "fewer sales, or compress them"
    return Problem(
        "body-too-large", f"The body is larger than {limit:,} bytes. Send {advice}, or raise HOUSEPREDICT_{setting}."
    )


class RepeatingObject(dict[str, object]):
    """A JSON object with duplicate names, which `repeated` lists. The object contains the last value for each name."""

    repeated: Sequence[str] = ()


def decode(body: bytes) -> Any:
    """Parse a JSON body.

    An object with duplicate names becomes a RepeatingObject. NaN, infinities and integers of any size are accepted, so
    that the schema validation can report where they are.

    Raises:
        Problem: if the body is not JSON in UTF-8.
    """
    if not body.strip():
        raise _not_json("The body is empty.")
    if body.startswith(BOM_UTF8):
        raise _not_json("The body starts with a byte order mark (BOM), which JSON does not allow.")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _not_json(f"The body is not UTF-8: byte {error.start} is invalid.") from None
    try:
        try:
            return _DECODER.decode(text)
        except JSONDecodeError:
            raise
        except ValueError:
            # Python doesn't parse an integer this long. The schema validation rejects it and reports where it is.
            return json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except JSONDecodeError as error:
        raise _not_json(f"Line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise _not_json("The body is nested too deeply.") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    counts = Counter(name for name, _ in pairs)
    repeating = RepeatingObject(values)
    repeating.repeated = [name for name, count in counts.items() if count > 1]
    return repeating


_DECODER = json.JSONDecoder(object_pairs_hook=_object)  # json.loads would build one for each call


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else float(digits)


def _not_json(detail: str) -> Problem:
    return Problem("not-json", detail)
