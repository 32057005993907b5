"""Uploaded training sales: detecting the file format, and writing the file to disk."""

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
    is_blank,
    media_type,
    too_large,
    too_late,
    unsupported_type,
)
from housepredict.entrypoints.settings import Settings

_log = logging.getLogger(__name__)

_TEMPORARY = ".tmp-"
_ABANDONED_AFTER_S = 3600
_CHUNK_BYTES = 1024 * 1024
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
"""The accepted Content-Types. Clients guess them from file names, so the first bytes decide the format."""

_COMPRESSED = {type_ for type_ in TYPES if "gzip" in type_ or "parquet" in type_}
_GZIP, _PARQUET, _ZIP, _OLE = b"\x1f\x8b", b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_JSON = re.compile(rb'(\xef\xbb\xbf)?\s*(\{|\[\s*[\[\]{"\d-])')
_FIRST_BYTES = 64
"""How many leading bytes to inspect when detecting the format."""


@define
class Body:
    """The body of a training request. `first` contains its first bytes, and `more` is whether there is more to read."""

    _request: Request
    _seconds: float | None
    first: bytes
    more: bool

    @classmethod
    async def start(cls, request: Request, seconds: float | None) -> Self:
        """Read the first bytes of a request's body.

        Args:
            request: the training request.
            seconds: the maximum time to wait for each part of the body, or None if the server enforces deadlines.

        Raises:
            Problem: if a part arrives too late.
            ClientDisconnect: if the client disconnects.
        """
        body = cls(request, seconds, b"", more=True)
        while body.more and len(body.first) < _FIRST_BYTES:
            body.first += await body.part()
        return body

    @property
    def is_empty(self) -> bool:
        """Whether the body contains no sales: it is blank or `{}`, which some of the tutorial's clients send."""
        return not self.more and is_blank(self.first)

    async def part(self) -> bytes:
        """Read the next part of the body. Raise the same errors as `start`."""
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
    """Return whether the Content-Length shows that the body contains sales.

    This is the case if it is larger than that of any empty body, even a gzipped one. To find out whether a smaller
    body, or one of unknown length, contains sales, the body must be read.
    """
    length = headers.get("content-length", "")
    return length.isdecimal() and (len(length) > 2 or int(length) > _FIRST_BYTES)


def describes_sales(request: Request) -> bool:
    """Return whether the Content-Type and the query describe a sales file.

    If so, an empty body is an empty sales file. Otherwise, it is a request to retrain the model in service.
    """
    return media_type(request.headers) in TYPES and not set(request.query_params) <= {"from_sales"}


def require_type(request: Request, *, reads_parquet: bool) -> None:
    """Raise a Problem unless the Content-Type, charset and Content-Encoding of an upload are supported.

    `reads_parquet` is whether Parquet files are supported.
    """
    type_, coding = media_type(request.headers), request.headers.get("content-encoding", "identity").strip().lower()
    if type_ and type_ not in TYPES:
        is_workbook = "spreadsheet" in type_ or "ms-excel" in type_
        reason = _WORKBOOK if is_workbook else _REASONS.get(type_, "This Content-Type is not supported.")
        raise _unsupported(request, reason, reads_parquet=reads_parquet)
    try:
        charset_of(request.headers)
    except ValueError as error:
        reason = f"Unknown charset {str(error)!r}: use an encoding such as utf-8, cp1252 or gb18030, or leave it out."
        raise _unsupported(request, reason, reads_parquet=reads_parquet) from None
    if coding != "identity" and (type_ in _COMPRESSED or coding not in ("gzip", "x-gzip")):
        raise _unsupported(request, "This Content-Encoding is not supported.", reads_parquet=reads_parquet)


_WORKBOOK = "Excel workbooks and ZIP archives are not supported: export the sheet as CSV, or unpack the archive."
_REASONS: Mapping[str, str] = {
    "application/x-www-form-urlencoded": "A form is not a sales file, and `curl -d` removes line breaks from a file.",
    "multipart/form-data": "A form is not a sales file: send the file itself as the body, without `-F`.",
    "application/json": "JSON is not supported for training sales.",
    "application/zip": _WORKBOOK,
}


def suffix_of(request: Request, first: bytes, *, reads_parquet: bool) -> str:
    """Return the file suffix for an upload, based on its first bytes. Raise a Problem for unsupported formats.

    `reads_parquet` is whether Parquet files are supported.
    """
    reason = None
    if first.startswith((_ZIP, _OLE)):
        reason = _WORKBOOK
    elif first.startswith(_PARQUET) and not reads_parquet:
        reason = "Parquet needs the extra `parquet`, which is not installed."
    elif _JSON.match(first):
        reason = _REASONS["application/json"]
    if reason:
        raise _unsupported(request, reason, reads_parquet=reads_parquet)
    return ".parquet" if first.startswith(_PARQUET) else ".csv.gz" if first.startswith(_GZIP) else ".csv"


def _unsupported(request: Request, reason: str, *, reads_parquet: bool) -> Problem:
    or_parquet = ", or Parquet as application/vnd.apache.parquet" if reads_parquet else ""
    command = f"curl --data-binary @sales.csv -H 'Content-Type: text/csv' {shlex.quote(str(request.url))}"
    return unsupported_type(
        f"{reason} Send CSV as text/csv, with or without `Content-Encoding: gzip`{or_parquet}: `{command}`. To retrain "
        "the model in service on its own sales, send no body.",
        {
            "Accept": ", ".join(type_ for type_ in TYPES if reads_parquet or "parquet" not in type_),
            "Accept-Encoding": "gzip",
        },
    )


async def receive_upload(body: Body, settings: Settings, suffix: str) -> Path:
    """Stream a body to a new file in the data directory. The name of the file ends with `suffix`.

    Returns:
        The path of the file.

    Raises:
        Problem: if the body is too large or too late, or can't be written.
        ClientDisconnect: if the client disconnects.
    """
    folder = settings.data_dir / "uploads"
    try:
        file = await run_in_threadpool(_open, folder)
        temporary = Path(file.name)
        try:
            with file:
                digest = await _write(body, file, settings.max_upload)
            target = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{digest[:16]}{suffix}"
            await run_in_threadpool(temporary.replace, target)
        except BaseException:
            temporary.unlink()  # noqa: ASYNC240  # a task that is being cancelled must not await
            raise
    except OSError as error:
        _log.error("uploaded sales could not be stored: %s", error)
        detail = "The service's disk can't store the sales at the moment."
        raise Problem("storage-unavailable", detail, headers={"Retry-After": "30"}) from error
    return target


def _open(folder: Path) -> IO[bytes]:
    """Open a temporary file in `folder` that only its owner can read.

    Also delete old temporary files, which services leave behind if they are killed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = tempfile.NamedTemporaryFile(prefix=_TEMPORARY, dir=folder, delete=False)  # noqa: SIM115  # the caller closes it
    abandoned_before = Path(file.name).stat().st_mtime - _ABANDONED_AFTER_S
    for other in folder.glob(f"{_TEMPORARY}*"):
        with suppress(FileNotFoundError):
            if other.stat().st_mtime < abandoned_before:
                other.unlink()
    return file


async def _write(body: Body, file: IO[bytes], limit: int) -> str:
    """Write the body to `file`, and return the SHA-256 of the body in hexadecimal.

    Raise a Problem if the body is larger than `limit` bytes.
    """
    digest, size, chunk = hashlib.sha256(), len(body.first), bytearray(body.first)

    def write_chunk() -> None:
        digest.update(chunk)
        file.write(chunk)
        chunk.clear()

    while body.more and size <= limit:
        part = await body.part()
        size += len(part)
        chunk += part
        if len(chunk) >= _CHUNK_BYTES:
            await run_in_threadpool(write_chunk)
    if size > limit:
        raise too_large(limit, "MAX_UPLOAD")
    await run_in_threadpool(write_chunk)
    await run_in_threadpool(_flush, file)
    return digest.hexdigest()


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
