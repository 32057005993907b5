"""Sales that are sent to be trained on: their options in the query, they themselves on their way to the disk."""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request

from housepredict.domain.features import Kind
from housepredict.domain.models import Algorithm, Effort, TrainingOptions
from housepredict.domain.promotion import PromotionPolicy
from housepredict.domain.validation import Rule, Violation, pointer_to, text_problem
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.queries import from_sales, given, invalid_query
from housepredict.entrypoints.http.requests import UPLOAD, require_length, too_large, too_late
from housepredict.entrypoints.settings import Settings
from housepredict.entrypoints.training_process import TrainingRequest

_log = logging.getLogger(__name__)

_TEMPORARY = ".tmp-"
_ABANDONED_AFTER = 3600  # seconds in which nothing more came
_PIECE = 1024 * 1024  # bytes that are written at a time
TYPES: Mapping[str, str] = {
    "text/csv": ".csv",
    "application/gzip": ".csv.gz",
    "application/x-gzip": ".csv.gz",
    "application/vnd.apache.parquet": ".parquet",
}
MAX_SEED = 2**32 - 1
MOST_SECONDS = 10**9
_NUMBER = re.compile(r"\d{1,20}(\.\d{1,25})?([eE][+-]?\d{1,3})?", re.ASCII)


def kind_of_sales(headers: Headers, *, reads_parquet: bool) -> str | None:
    """The suffix of the file that a body is; None if it is no sales.

    Raises a Problem for an unknown coding, and for Parquet where it cannot be read.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    suffix = TYPES.get(media_type)
    if suffix is None:
        return None
    readable = {name: each for name, each in TYPES.items() if reads_parquet or each != ".parquet"}
    coding = headers.get("content-encoding", "identity").strip().lower()
    if media_type in readable and coding == "identity":
        return suffix
    if suffix == ".csv" and coding in ("gzip", "x-gzip"):
        return ".csv.gz"
    why = "" if media_type in readable else "Parquet needs the extra `parquet`, which is not installed. "
    or_parquet = ", or as application/vnd.apache.parquet" if reads_parquet else ""
    raise Problem(
        "unsupported-media-type",
        415,
        "These sales cannot be read",
        f"{why}Send them as text/csv, with or without `Content-Encoding: gzip`, or as application/gzip{or_parquet}.",
        headers={"Accept": ", ".join(readable), "Accept-Encoding": "gzip"},
    )


async def receive_upload(request: Request, settings: Settings, suffix: str, seconds: float | None) -> Path:
    """The body as a file in the data folder, which no more than a piece of it was in memory for.

    Each part of it has to come within `seconds`; None where the server sees to that. Raises a Problem.
    """
    require_length(request.headers, settings.max_upload, "MAX_UPLOAD")
    request.scope[UPLOAD] = settings.max_upload
    folder = settings.data_dir / "uploads"
    try:
        file = await run_in_threadpool(_begin, folder)
        temporary = Path(file.name)
        try:
            with file:
                digest = await _write(request, file, settings.max_upload, seconds)
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


async def _write(request: Request, file: IO[bytes], limit: int, seconds: float | None) -> str:
    """The SHA-256 of what was written, in hexadecimal."""
    digest, size, piece, more = hashlib.sha256(), 0, bytearray(), True

    def put() -> None:
        digest.update(piece)
        file.write(piece)
        piece.clear()
        if not more:
            file.flush()
            os.fsync(file.fileno())

    while more:
        try:
            async with asyncio.timeout(seconds):
                message = await request.receive()
        except TimeoutError:
            raise too_late() from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > limit:
            raise too_large(limit, "MAX_UPLOAD")
        piece += part
        if len(piece) >= _PIECE or not more:
            await run_in_threadpool(put)
    return digest.hexdigest()


def _column(text: str) -> str:
    if broken := ("must name a column" if not text.strip() else text_problem(text)):
        raise ValueError(broken)
    return text


def _typed(text: str) -> tuple[str, Kind]:
    name, equals, kind = text.rpartition("=")
    if not equals or kind not in list(Kind):
        raise ValueError(f"must be COLUMN=KIND, with a kind of {', '.join(Kind)}")
    return _column(name), Kind(kind)


def _one_of(kind: type[Algorithm | Effort | PromotionPolicy]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in list(kind):
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(text)

    return read


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or int(text) > MAX_SEED:
        raise ValueError(f"must be a whole number from 0 to {MAX_SEED}")
    return int(text)


def _seconds(text: str) -> float:
    if not _NUMBER.fullmatch(text) or not 0 < float(text) < MOST_SECONDS:
        raise ValueError(f"must be a number of seconds above 0, and below {MOST_SECONDS}")
    return float(text)


def _encoding(text: str) -> str:
    try:
        return codecs.lookup(text).name
    except LookupError:
        raise ValueError("must be an encoding, such as utf-8, cp1252 or gb18030") from None


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


_ONCE: Mapping[str, Callable[[str], Any]] = {
    "price": _column,
    "sale_date": _column,
    "house_id": _column,
    "algorithm": _one_of(Algorithm),
    "effort": _one_of(Effort),
    "seed": _seed,
    "time_limit": _seconds,
    "encoding": _encoding,
    "promote": _one_of(PromotionPolicy),
    "from_sales": _flag,
}
# What may be said again and again, and the field of the options that it makes.
_REPEATABLE: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "feature": (_column, "features"),
    "exclude": (_column, "exclude"),
    "closed": (_column, "closed"),
    "allow": (_column, "allow"),
    "type": (_typed, "kinds"),
}


def retraining_request(query: QueryParams) -> TrainingRequest:
    """How to train where no sales are sent: all but which version again. Raises a Problem with every violation."""
    return TrainingRequest(with_recorded=from_sales(query))


def training_request(query: QueryParams) -> TrainingRequest:
    """How to train on sales that are sent: all but where they are. Raises a Problem with every violation."""
    values: dict[str, Any] = {}
    violations = []
    for name, text in given(query):
        if name not in _ONCE and name not in _REPEATABLE:
            violations.append(Violation(pointer_to(name), Rule.UNKNOWN, "is no parameter of this route", text))
            continue
        read, field = _REPEATABLE[name] if name in _REPEATABLE else (_ONCE[name], name)
        try:
            value = read(text)
        except ValueError as error:
            violations.append(Violation(pointer_to(name), Rule.TYPE, str(error), text))
            value = None
        if name in _REPEATABLE:
            values.setdefault(field, []).append(value)
        elif name in values:
            violations.append(Violation(pointer_to(name), Rule.DUPLICATE, "is given more than once", text))
        else:
            values[name] = value
    columns = [each[0] for each in values.get("kinds", ()) if each]
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    violations += [Violation("/type", Rule.DUPLICATE, "is given more than once for this column", it) for it in repeated]
    if violations:
        raise invalid_query(violations)
    policy, with_recorded = values.pop("promote", PromotionPolicy.IF_BETTER), values.pop("from_sales", False)
    kinds = dict(values.pop("kinds", ()))
    lists: dict[str, Any] = {field: tuple(values.pop(field)) for _, field in _REPEATABLE.values() if field in values}
    options = TrainingOptions(**values, **lists, kinds=kinds)
    return TrainingRequest(options=options, policy=policy, with_recorded=with_recorded)
