"""SQLite files whose last writes were torn, as a loss of power may leave them, and what their adapters make of them.

A file and its log are taken after batches of which it is known how long the log was when each was acknowledged. Then
the log is torn at a byte: it ends there, or goes on with zeros, with noise, or with what was there before. Whatever the
place, the file has to open; it has to hold each batch that was acknowledged before that byte, wholly and once, nothing
that was never appended, and has to take what is appended next.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, frozen

from campaign.tears import Places, Tear
from campaign.torn_kinds import NEXT, Kind
from campaign.trials import Broken, Trial

_EARLIER, _LATER = (1, 2), (3, 4)
"""Batches that are in the file itself, and those that are in its log."""
_ERASED = 0
"""A batch that was erased before."""
_LOG_HEADER, _FRAME = 32, 4096 + 24
"""Bytes of a log before its first frame, and of a frame."""


@frozen
class _Written:
    """A file and its log in a moment, and what they hold."""

    name: str
    main: bytes
    log: bytes
    stored: tuple[int, ...]
    """The batches in the file itself."""
    acknowledged: tuple[tuple[int, int], ...]
    """The batches in the log, and where it ended when each was acknowledged."""
    before: bytes = b""
    """What the log held before them."""


@define
class _Writer:
    """Writes batches with an adapter, and sees how long the log is when each is acknowledged."""

    kind: Kind
    file: Path
    opened: Any

    def append(self, batches: Sequence[int]) -> tuple[tuple[int, int], ...]:
        ends = []
        for batch in batches:
            self.kind.append(self.opened, batch)
            ends.append((batch, self.end()))
        return tuple(ends)

    def end(self) -> int:
        """Where the log ends that counts, by its index: what is behind may be left from before."""
        index = _beside(self.file, "-shm").read_bytes()
        (frames,) = struct.unpack_from("=I", index, 16)
        return _LOG_HEADER + _FRAME * int(frames)

    def now(self, name: str, stored: Sequence[int], ends: tuple[tuple[int, int], ...], before: bytes = b"") -> _Written:
        main, log = self.file.read_bytes(), _beside(self.file, "-wal").read_bytes()
        return _Written(name, main, log, tuple(stored), ends, before)


def _written(kind: Kind, folder: Path) -> Iterator[_Written]:
    """A new file, all of which is in its log; one with a log that was begun; and one whose log began anew."""
    folder.mkdir()
    file = folder / "new.sqlite"
    with kind.open(file) as opened:
        writer = _Writer(kind, file, opened)
        yield writer.now("a new file", (), writer.append(_LATER))
    file = folder / "grown.sqlite"
    with kind.open(file) as opened:
        writer = _Writer(kind, file, opened)
        writer.append((_ERASED, *_EARLIER))
        kind.erase(opened, _ERASED)
        yield writer.now("a file with a log", _EARLIER, writer.append(_LATER))
    file = folder / "anew.sqlite"
    with kind.open(file) as opened:
        writer = _Writer(kind, file, opened)
        writer.append(_EARLIER)
        before = _beside(file, "-wal").read_bytes()
        with closing(sqlite3.connect(file)) as other:
            other.execute("PRAGMA wal_checkpoint(RESTART)")
        yield writer.now("a file whose log began anew", _EARLIER, writer.append(_LATER), before)


def tear(trial: Trial, kind: Kind, folder: Path, places: Places) -> None:
    """Tear the log of files of a kind, in a folder. Raises Broken."""
    for written in _written(kind, folder / "written"):
        size, ends = len(written.log), [end for _, end in written.acknowledged]
        # a log that began anew is as one that was begun, but for what is behind its end
        for at in places.some(size, ends) if written.before else places.of(size, ends):
            _require_sound(trial, kind, written, Tear.CUT, at, folder / "torn.sqlite")
        for way in (Tear.ZEROS, Tear.NOISE, *([Tear.BEFORE] if written.before else [])):
            for at in places.some(size, ends):
                _require_sound(trial, kind, written, way, at, folder / "torn.sqlite")
        if written.stored:
            _tear_checkpoints(trial, kind, written, folder / "torn.sqlite", places)


def _require_sound(trial: Trial, kind: Kind, written: _Written, way: Tear, at: int, file: Path) -> None:
    log = way.tear(written.log, at, trial.random, written.before)
    least = [batch for batch, end in written.acknowledged if end <= at]
    try:
        _open_torn(kind, file, written.main, log, written, least, trial.random)
    except Exception as error:
        error.add_note(f"{type(kind).__name__}: {written.name}, its log torn at byte {at} of {len(written.log)}: {way}")
        raise
    trial.counts[f"{type(kind).__name__.lower()}: logs torn, {way}"] += 1


def _tear_checkpoints(trial: Trial, kind: Kind, written: _Written, file: Path, places: Places) -> None:
    """Tear the file itself while its log is copied into it: all of that is in the log as well."""
    _put(file, written.main, written.log)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        copied = file.read_bytes()
    everything = [batch for batch, _ in written.acknowledged]
    for at in places.some(len(copied)):
        try:
            torn = copied[:at] + written.main[at:]
            _open_torn(kind, file, torn, written.log, written, everything, trial.random)
        except Exception as error:
            error.add_note(f"{type(kind).__name__}: {written.name}, torn at byte {at} when its log was copied into it")
            raise
        trial.counts[f"{type(kind).__name__.lower()}: files torn while their log was copied"] += 1


def _open_torn(
    kind: Kind, file: Path, main: bytes, log: bytes, written: _Written, least: Sequence[int], random: Random
) -> None:
    """Open a file with a torn log, of which at least these batches count, and compare what is in it."""
    _put(file, main, log)
    appended = [*written.stored, *(batch for batch, _ in written.acknowledged)]
    with kind.open(file) as opened:
        found = kind.read(opened)
        if found != appended[: len(found)] or len(found) < len(written.stored) + len(least):
            raise Broken(f"batches {found} are there; {[*written.stored, *least]} were acknowledged, of {appended}")
        expected = found
        if random.random() < 0.1:  # whoever was not answered asks again
            for batch in appended:
                kind.append(opened, batch)
            expected = appended
        kind.append(opened, NEXT)
        if (found := kind.read(opened)) != [*expected, NEXT]:
            raise Broken(f"after one more, batches {found} are there, not {[*expected, NEXT]}")


def _put(file: Path, main: bytes, log: bytes) -> None:
    """The index is not kept: it is made of the log."""
    file.write_bytes(main)
    _beside(file, "-wal").write_bytes(log)
    _beside(file, "-shm").unlink(missing_ok=True)


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)
