"""Replace files atomically, and use files as locks between processes.

The operating system releases a lock when the process that holds it ends.
"""

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
    """Open a UTF-8 text file for writing, or standard output if `path` is None.

    The file is gzipped if its name ends with .gz. An existing file is replaced when the context exits without error. A
    row that ends with CR LF is written with LF instead.

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
    """An output stream for csv.writer that ends rows with LF rather than CR LF.

    csv.writer itself must be set to CR LF. Otherwise, it wouldn't quote cells that contain CR.
    """

    _text: IO[str]

    def write(self, text: str) -> int:
        return self._text.write(text[:-2] + "\n" if text.endswith("\r\n") else text)


def _packed(stream: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    # without a name and a time in the header, equal text produces equal files
    return cast("AbstractContextManager[IO[bytes]]", gzip.GzipFile("", "wb", fileobj=stream, mtime=0))


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing. When the context exits without error, the new file replaces any existing file.

    The permissions of the existing file are kept. Pipes and devices are written directly.

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
            # at no time may the new file be readable by users who can't read the old one
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
    """Try to lock a file without waiting, until the context exits. Yields whether the lock was acquired.

    Raises:
        OSError: if the file can't be opened.
    """
    with _opened(file) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def wait_for_lock(file: Path) -> Iterator[None]:
    """Wait until no other process holds the lock on a file, then hold it until the context exits.

    Raises:
        OSError: if the file can't be opened.
    """
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
