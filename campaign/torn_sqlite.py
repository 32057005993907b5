"""SQLite files with torn writes, as a power failure may leave them, and checks of how their adapters read them.

Batches are appended to a file, and the length of its write-ahead log is recorded when each is acknowledged. Then the
log is torn at a byte: it ends there, or continues with zeros, noise, or its former content. At each position, the file
must open, have each batch that was acknowledged before that byte exactly once and complete, have nothing else, and
accept the next batch.
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
"""Batches in the file itself, and batches in its log."""
_ERASED = 0
"""A batch that was erased before."""
_LOG_HEADER_BYTES, _FRAME_BYTES = 32, 4096 + 24


@frozen
class _Written:
    """A copy of a file and its log, and the batches in them."""

    name: str
    main: bytes
    log: bytes
    stored: tuple[int, ...]
    """The batches in the file itself."""
    acknowledged: tuple[tuple[int, int], ...]
    """The batches in the log, each with the end of the log when it was acknowledged."""
    before: bytes = b""
    """The former content of the log."""


@define
class _Writer:
    """Writes batches with an adapter, and records the length of the log when each is acknowledged."""

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
        """Return the end of the valid part of the log, from its index. Former content may follow it."""
        index = _with_suffix(self.file, "-shm").read_bytes()
        (frames,) = struct.unpack_from("=I", index, 16)
        return _LOG_HEADER_BYTES + _FRAME_BYTES * int(frames)

    def now(self, name: str, stored: Sequence[int], ends: tuple[tuple[int, int], ...], before: bytes = b"") -> _Written:
        main, log = self.file.read_bytes(), _with_suffix(self.file, "-wal").read_bytes()
        return _Written(name, main, log, tuple(stored), ends, before)


def _written(kind: Kind, folder: Path) -> Iterator[_Written]:
    """Yield a new file that is only in its log, a file with a log, and a file whose log was restarted."""
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
    file = folder / "restarted.sqlite"
    with kind.open(file) as opened:
        writer = _Writer(kind, file, opened)
        writer.append(_EARLIER)
        before = _with_suffix(file, "-wal").read_bytes()
        with closing(sqlite3.connect(file)) as other:
            other.execute("PRAGMA wal_checkpoint(RESTART)")
        yield writer.now("a file whose log was restarted", _EARLIER, writer.append(_LATER), before)


def tear(trial: Trial, kind: Kind, folder: Path, places: Places) -> None:
    """Tear the logs of files of a kind at several positions, and check each. Raises Broken."""
    for written in _written(kind, folder / "written"):
        size, ends = len(written.log), [end for _, end in written.acknowledged]
        # A restarted log differs from a new one only after its end.
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
    """Tear the file itself during a checkpoint, which copies the log into it. The log still has everything."""
    _write(file, written.main, written.log)
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
    """Open a file with a torn log, and check the batches in it. At least those in `least` must be stored."""
    _write(file, main, log)
    appended = [*written.stored, *(batch for batch, _ in written.acknowledged)]
    with kind.open(file) as opened:
        stored = kind.read(opened)
        if stored != appended[: len(stored)] or len(stored) < len(written.stored) + len(least):
            raise Broken(f"stored batches: {stored}; acknowledged: {[*written.stored, *least]}; appended: {appended}")
        expected = stored
        if random.random() < 0.1:  # clients repeat requests without an answer
            for batch in appended:
                kind.append(opened, batch)
            expected = appended
        kind.append(opened, NEXT)
        if (stored := kind.read(opened)) != [*expected, NEXT]:
            raise Broken(f"stored batches after another append: {stored}, not {[*expected, NEXT]}")


def _write(file: Path, main: bytes, log: bytes) -> None:
    """Write a file and its log. The index is deleted, since SQLite rebuilds it from the log."""
    file.write_bytes(main)
    _with_suffix(file, "-wal").write_bytes(log)
    _with_suffix(file, "-shm").unlink(missing_ok=True)


def _with_suffix(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)
