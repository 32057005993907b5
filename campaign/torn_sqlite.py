"""SQLite files whose last writes were torn, as a loss of power may leave them, and what their adapters make of them.

A file and its log are taken after batches of which it is known how long the log was when each was acknowledged. Then
the log is torn at a byte: it ends there, or goes on with zeros, with noise, or with what was there before. Whatever the
place, the file has to open; it has to hold each batch that was acknowledged before that byte, wholly and once, nothing
that was never appended, and has to take what is appended next.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Protocol
from uuid import UUID

from attrs import define, frozen

from campaign.tears import Places, Tear
from campaign.trials import Broken, Trial
from housepredict.adapters.sqlite import SqlitePredictions
from housepredict.adapters.sqlite_keys import SqliteKeys
from housepredict.adapters.sqlite_sales import SqliteSales
from housepredict.adapters.sqlite_spool import SqliteSpool
from housepredict.domain.deliveries import Delivery
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import House
from housepredict.domain.recorded_sales import RecordedSale
from housepredict.testing.doubles import NOON

_EARLIER, _LATER, _NEXT = (1, 2), (3, 4), 5
"""Batches that are in the file itself, those that are in its log, and the one that is appended to a torn log."""
_ERASED = 0
"""A batch that was erased before."""
_LOG_HEADER, _FRAME = 32, 4096 + 24
"""Bytes of a log before its first frame, and of a frame."""


class Kind(Protocol):
    """A kind of file: how its adapter writes batches, each of which is made of its number alone."""

    def open(self, file: Path) -> Any:
        """Open it with the product's adapter."""

    def append(self, opened: Any, batch: int) -> None:
        """Append a batch; one that is there already is left as it is."""

    def erase(self, opened: Any, batch: int) -> None:
        """Erase a batch, and leave the log empty."""

    def read(self, opened: Any) -> list[int]:
        """The batches that are there, in order, each as often as it is. Raises Broken for other records."""


def _id(number: int) -> UUID:
    """An id that says in which order it was given."""
    return UUID(int=(int(NOON.timestamp() * 1000) + number << 80) | 7 << 76 | 2 << 62 | number)


def _batch(number: int) -> range:
    """The numbers of the records of a batch: one to three."""
    return range(10 * number, 10 * number + 1 + number % 3)


def _batches(found: Sequence[object], make: Callable[[int], object]) -> list[int]:
    """The batches that records make, which `make` makes of their numbers. Raises Broken for parts of a batch."""
    left, batches = list(found), []
    while left:
        number = next((each for each in range(_NEXT + 1) if make(_batch(each)[0]) == left[0]), None)
        if number is None:
            raise Broken(f"nobody has appended {left[0]}")
        whole = [make(each) for each in _batch(number)]
        if left[: len(whole)] != whole:
            raise Broken(f"of a batch only a part is there, or something else: {left[: len(whole)]}")
        batches.append(number)
        del left[: len(whole)]
    return batches


def _prediction(number: int) -> Prediction:
    made = NOON + timedelta(milliseconds=number)
    return Prediction(_id(number), made, Estimate(House({"size": number, "area": "west"}), 1000.0 + number, "a"))


def _sale(number: int) -> RecordedSale:
    made = NOON + timedelta(milliseconds=number)
    return RecordedSale(_id(number), _id(number + 1000), 2000.0 + number, made.date(), made)


class Predictions:
    """`predictions.sqlite`."""

    def open(self, file: Path) -> SqlitePredictions:
        """See Kind."""
        return SqlitePredictions.open(file)

    def append(self, opened: SqlitePredictions, batch: int) -> None:
        """See Kind."""
        opened.append([_prediction(each) for each in _batch(batch)])

    def erase(self, opened: SqlitePredictions, batch: int) -> None:
        """See Kind."""
        opened.erase([_id(each) for each in _batch(batch)])

    def read(self, opened: SqlitePredictions) -> list[int]:
        """See Kind."""
        opened.check()
        return _batches(list(reversed(opened.recent(1000))), _prediction)


class Spool(Predictions):
    """`spool.sqlite`. Its own tally has to agree with its rows."""

    def open(self, file: Path) -> SqliteSpool:
        """See Kind."""
        return SqliteSpool.open(file)

    def read(self, opened: SqlitePredictions) -> list[int]:
        """See Kind."""
        assert isinstance(opened, SqliteSpool)
        found = opened.oldest(1000)
        if (counted := opened.backlog().waiting) != len(found):
            raise Broken(f"the spool counts {counted} predictions, and holds {len(found)}")
        return super().read(opened)


class Sales:
    """`sales.sqlite`. A batch that is delivered again is not recorded again."""

    def open(self, file: Path) -> SqliteSales:
        """See Kind."""
        return SqliteSales.open(file)

    def append(self, opened: SqliteSales, batch: int) -> None:
        """See Kind."""
        sales = [_sale(each) for each in _batch(batch)]
        if opened.append(sales, Delivery(f"delivery {batch}", str(batch))) != sales:
            raise Broken(f"other sales are recorded for delivery {batch}")

    def erase(self, opened: SqliteSales, batch: int) -> None:
        """See Kind."""
        opened.erase([_id(each + 1000) for each in _batch(batch)])

    def read(self, opened: SqliteSales) -> list[int]:
        """See Kind."""
        found = sorted(opened.current(), key=lambda each: each.id)
        return _batches(found, _sale)


class Keys:
    """`keys.sqlite`."""

    def open(self, file: Path) -> SqliteKeys:
        """See Kind."""
        return SqliteKeys.open(file)

    def append(self, opened: SqliteKeys, batch: int) -> None:
        """See Kind."""
        ids = [_id(each) for each in _batch(batch)]
        if opened.reserve(Delivery(f"key {batch}", str(batch)), ids) != ids:
            raise Broken(f"other ids are reserved for key {batch}")

    def erase(self, opened: SqliteKeys, batch: int) -> None:
        """See Kind."""
        opened.prune(_id(_batch(batch)[-1] + 1), 1000)

    def read(self, opened: SqliteKeys) -> list[int]:
        """See Kind."""
        found = [opened.find(Delivery(f"key {each}", str(each))) for each in range(_NEXT + 1)]
        return _batches([id_ for ids in found if ids for id_ in ids], _id)


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
        kind.append(opened, _NEXT)
        if (found := kind.read(opened)) != [*expected, _NEXT]:
            raise Broken(f"after one more, batches {found} are there, not {[*expected, _NEXT]}")


def _put(file: Path, main: bytes, log: bytes) -> None:
    """The index is not kept: it is made of the log."""
    file.write_bytes(main)
    _beside(file, "-wal").write_bytes(log)
    _beside(file, "-shm").unlink(missing_ok=True)


def _beside(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)
