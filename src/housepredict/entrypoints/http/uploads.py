"""Sales that are sent to be trained on, on their way to the disk."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

from attrs import define
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import (
    CSV_TYPES,
    charset_of,
    is_nothing,
    media_type,
    too_large,
    too_late,
    unsupported_type,
)
from housepredict.entrypoints.settings import Settings

_log = logging.getLogger(__name__)

_TEMPORARY = ".tmp-"
_ABANDONED_AFTER = 3600  # seconds in which nothing more came
_PIECE = 1024 * 1024  # bytes that are written at a time
TYPES = (
    *CSV_TYPES,
    "text/tab-separated-values",
    "text/plain",
    "application/gzip",
    "application/x-gzip",
    "application/vnd.apache.parquet",
    "application/x-parquet",
    "application/octet-stream",
    "binary/octet-stream",
)
"""What sales may be sent as. What they are, their first bytes tell: clients guess types by the names of files."""

_PACKED = {each for each in TYPES if "gzip" in each or "parquet" in each}
_GZIP, _PARQUET, _ZIP, _OLE = b"\x1f\x8b", b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_JSON = re.compile(rb'(\xef\xbb\xbf)?\s*(\{|\[\s*[\[\]{"\d-])')
_FIRST = 64
"""The first bytes of a body, which tell what it is."""


@define
class Body:
    """The body of a request to train: its first bytes are read, and the rest is not."""

    _request: Request
    _seconds: float | None
    first: bytes
    more: bool

    @classmethod
    async def begun(cls, request: Request, seconds: float | None) -> Self:
        """Read as much as tells what it is. Each part has to come within `seconds`; None where the server sees to that.

        Raises a Problem, or ClientDisconnect.
        """
        body = cls(request, seconds, b"", more=True)
        while body.more and len(body.first) < _FIRST:
            body.first += await body.part()
        return body

    @property
    def is_empty(self) -> bool:
        """Whether nothing is sent: the tutorial's clients send no body, or an empty JSON object."""
        return not self.more and is_nothing(self.first)

    async def part(self) -> bytes:
        """The next part of it."""
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._request.receive()
        except TimeoutError:
            raise too_late() from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self.more = message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part


def announces_sales(headers: Headers) -> bool:
    """Whether the headers alone show that the body is not empty."""
    length = headers.get("content-length", "")
    return length.isdecimal() and (len(length) > 2 or int(length) > _FIRST)


def describes_sales(request: Request) -> bool:
    """Whether the type and the query describe a file of sales. Then an empty body is an empty file."""
    return media_type(request.headers) in TYPES and not set(request.query_params) <= {"from_sales"}


def require_type(request: Request, *, reads_parquet: bool) -> None:
    """Raise a Problem unless the body has a type and a coding in which sales can be sent."""
    named, coding = media_type(request.headers), request.headers.get("content-encoding", "identity").strip().lower()
    if named and named not in TYPES:
        workbook = "spreadsheet" in named or "ms-excel" in named
        why = _WORKBOOK if workbook else _WHY.get(named, "This Content-Type is not supported.")
        raise _unsupported(request, why, reads_parquet=reads_parquet)
    try:
        charset_of(request.headers)
    except ValueError as error:
        why = f"The charset {str(error)!r} is unknown: name an encoding, such as utf-8, cp1252 or gb18030, or none."
        raise _unsupported(request, why, reads_parquet=reads_parquet) from None
    if coding != "identity" and (named in _PACKED or coding not in ("gzip", "x-gzip")):
        raise _unsupported(request, "This Content-Encoding is not supported.", reads_parquet=reads_parquet)


_WORKBOOK = "Excel workbooks and ZIP archives are not supported: export the sheet as CSV, or unpack the archive."
_WHY: Mapping[str, str] = {
    "application/x-www-form-urlencoded": "A form is not a file of sales, and `curl -d` removes its line breaks.",
    "multipart/form-data": "A form is not a file of sales: send the file itself as the body, without `-F`.",
    "application/json": "JSON is not supported for training sales.",
    "application/zip": _WORKBOOK,
}


def suffix_of(request: Request, first: bytes, *, reads_parquet: bool) -> str:
    """The suffix of the file that a body is, by its first bytes. Raises a Problem for a body that cannot be sales."""
    why = None
    if first.startswith((_ZIP, _OLE)):
        why = _WORKBOOK
    elif first.startswith(_PARQUET) and not reads_parquet:
        why = "Parquet needs the extra `parquet`, which is not installed."
    elif _JSON.match(first):
        why = _WHY["application/json"]
    if why:
        raise _unsupported(request, why, reads_parquet=reads_parquet)
    return ".parquet" if first.startswith(_PARQUET) else ".csv.gz" if first.startswith(_GZIP) else ".csv"


def _unsupported(request: Request, why: str, *, reads_parquet: bool) -> Problem:
    or_parquet = ", or Parquet as application/vnd.apache.parquet" if reads_parquet else ""
    command = f"curl --data-binary @sales.csv -H 'Content-Type: text/csv' {shlex.quote(str(request.url))}"
    return unsupported_type(
        "The sales cannot be read",
        f"{why} Send CSV as text/csv, with or without `Content-Encoding: gzip`{or_parquet}: `{command}`. To train on "
        "the sales of the model in service, send no body.",
        {
            "Accept": ", ".join(each for each in TYPES if reads_parquet or "parquet" not in each),
            "Accept-Encoding": "gzip",
        },
    )


async def receive_upload(body: Body, settings: Settings, suffix: str) -> Path:
    """The body as a file in the data folder, which no more than a piece of it was in memory for. Raises a Problem."""
    folder = settings.data_dir / "uploads"
    try:
        file = await run_in_threadpool(_begin, folder)
        temporary = Path(file.name)
        try:
            with file:
                digest = await _write(body, file, settings.max_upload)
            target = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{digest[:16]}{suffix}"
            await run_in_threadpool(temporary.replace, target)
        except BaseException:
            temporary.unlink()  # noqa: ASYNC240  # also where it is being cancelled, and may wait for nothing
            raise
    except OSError as error:
        _log.error("sales that were sent cannot be kept: %s", error)
        detail = "The service's disk does not take them at the moment."
        raise Problem(
            "storage-unavailable", 503, "The sales cannot be kept", detail, headers={"Retry-After": "30"}
        ) from error
    return target


def _begin(folder: Path) -> IO[bytes]:
    """A file to write to, for its owner alone; those of services that were killed are removed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = tempfile.NamedTemporaryFile(prefix=_TEMPORARY, dir=folder, delete=False)  # noqa: SIM115  # closed by others
    abandoned = Path(file.name).stat().st_mtime - _ABANDONED_AFTER
    for other in folder.glob(f"{_TEMPORARY}*"):
        with suppress(FileNotFoundError):
            if other.stat().st_mtime < abandoned:
                other.unlink()
    return file


async def _write(body: Body, file: IO[bytes], limit: int) -> str:
    """The SHA-256 of what was written, in hexadecimal."""
    digest, size, piece = hashlib.sha256(), len(body.first), bytearray(body.first)

    def put() -> None:
        digest.update(piece)
        file.write(piece)
        piece.clear()

    while body.more and size <= limit:
        part = await body.part()
        size += len(part)
        piece += part
        if len(piece) >= _PIECE:
            await run_in_threadpool(put)
    if size > limit:
        raise too_large(limit, "MAX_UPLOAD")
    await run_in_threadpool(put)
    await run_in_threadpool(_flush, file)
    return digest.hexdigest()


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
