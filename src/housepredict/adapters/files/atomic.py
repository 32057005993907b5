"""Files that are replaced atomically, and file locks that the system releases when their process ends."""

from __future__ import annotations

import fcntl
import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from secrets import token_hex
from stat import S_IMODE
from typing import IO, cast

from attrs import frozen

from housepredict.domain.errors import UnreadableFile


@contextmanager
def text_file(path: Path | None) -> Iterator[IO[str]]:
    """Open a UTF-8 text file, gzipped if its name ends with .gz, or standard output (None). CR LF is written as LF.

    The file replaces an older one when the context exits without error.

    Raises:
        UnreadableFile: if the file can't be written.
    """
    if path is None:
        yield cast("IO[str]", _Lines(sys.stdout))
        return
    with (
        atomic_file(path) as stream,
        _packed(stream) if path.suffix.lower() == ".gz" else nullcontext(stream) as opened,
    ):
        text = TextIOWrapper(opened, encoding="utf-8", newline="")
        try:
            yield cast("IO[str]", _Lines(text))
        finally:
            text.detach()  # the context managers above close the stream


@frozen
class _Lines:
    """Replaces CR LF with LF after csv.writer, which quotes cells with CR only if its own rows end with CR LF."""

    _text: IO[str]

    def write(self, text: str) -> int:
        return self._text.write(text[:-2] + "\n" if text.endswith("\r\n") else text)


def _packed(stream: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    # no name and no time in the header: equal text makes equal files
    return cast("AbstractContextManager[IO[bytes]]", gzip.GzipFile("", "wb", fileobj=stream, mtime=0))


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing; it replaces an older file and takes over its mode when the context exits without error.

    Raises:
        UnreadableFile: if the file can't be written.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe or a device
            with path.open("wb") as stream:
                yield stream
            return
        target = path.resolve()
        temporary = target.with_name(f".{target.name}.{token_hex(4)}")
        mode = S_IMODE(target.stat().st_mode) if target.exists() else None
        try:
            # the new file is never readable by anyone who may not read the old one
            with open(temporary, "xb", opener=partial(os.open, mode=0o666 if mode is None else mode)) as stream:
                if mode is not None:
                    temporary.chmod(mode)
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def held(file: Path) -> Iterator[bool]:
    """Try to lock a file without waiting. Yields False if another process holds the lock; raises OSError."""
    with _opened(file) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def wait_for_lock(file: Path) -> Iterator[None]:
    """Lock a file, waiting while another process holds the lock. Raises OSError."""
    with _opened(file) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
