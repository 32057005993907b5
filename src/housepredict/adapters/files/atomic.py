"""A lock that one process holds at a time, and that the system takes back when it ends, however it ends."""

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
    """A file of text in UTF-8, compressed if its name ends with .gz; None is standard output. Its lines end with LF,
    also those that are written with CR LF. Raises UnreadableFile.
    """
    if path is None:
        yield cast("IO[str]", _Lines(sys.stdout))
        return
    with whole_file(path) as stream, _packed(stream) if path.suffix.lower() == ".gz" else nullcontext(stream) as opened:
        text = TextIOWrapper(opened, encoding="utf-8", newline="")
        try:
            yield cast("IO[str]", _Lines(text))
        finally:
            text.detach()  # what is below it is closed by whoever opened it


@frozen
class _Lines:
    """Lets csv.writer end rows with CR LF: of what ends lines, it quotes only what its own rows end with."""

    _text: IO[str]

    def write(self, text: str) -> int:
        return self._text.write(text[:-2] + "\n" if text.endswith("\r\n") else text)


def _packed(stream: IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    # without a name and a time in it, the same text is the same file
    return cast("AbstractContextManager[IO[bytes]]", gzip.GzipFile("", "wb", fileobj=stream, mtime=0))


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of an older one, and its mode, once it is complete. Raises UnreadableFile."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device
            with path.open("wb") as stream:
                yield stream
            return
        target = path.resolve()
        beside = target.with_name(f".{target.name}.{token_hex(4)}")
        mode = S_IMODE(target.stat().st_mode) if target.exists() else None
        try:
            # from the beginning nobody may read it who may not read the older one
            with open(beside, "xb", opener=partial(os.open, mode=0o666 if mode is None else mode)) as stream:
                if mode is not None:
                    beside.chmod(mode)
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def held(file: Path) -> Iterator[bool]:
    """Whether the lock of that name is held now: False at once if somebody else holds it. Raises OSError."""
    with _opened(file) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def waited_for(file: Path) -> Iterator[None]:
    """Hold the lock of this name; wait while another process holds it. Raises OSError."""
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
