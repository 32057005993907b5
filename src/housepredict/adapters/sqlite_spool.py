"""Predictions on this machine's disk on their way to elsewhere, in the table that keeps them for good where nothing is
set up.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Self
from uuid import UUID

from attrs import define

from housepredict.adapters import file_lock
from housepredict.adapters.sqlite import INSERT, SCHEMA, SELECT, SqlitePredictions, to_row
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import Backlog

_SET_ASIDE = "CREATE TABLE set_aside (id TEXT PRIMARY KEY NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID"
# counting a million rows takes too long to be done at each append
_TALLY = "CREATE TABLE tally AS SELECT 0 AS kept"
_COUNT = "UPDATE tally SET kept = kept + ? RETURNING kept"
_OF_THESE = "id IN (SELECT value FROM json_each(?))"
_WAITING = "id NOT IN (SELECT id FROM set_aside)"

# More than what SQLite takes until what is deleted makes room: its log of 1,000 pages of 4 KiB, all of which the
# file itself may still have to grow by, and the largest batch.
_RESERVE = 8 * 1024 * 1024
_FEW = 16  # pages


@define
class SqliteSpool(SqlitePredictions):
    """A repository that can be emptied again. Processes may share its file; one at a time should empty it.

    Deleting takes room on the disk, too. So it takes nothing in without a reserve, a file of zeros beside its own, and
    gives that up on a full disk for what leaves.
    """

    _tables: ClassVar[Sequence[str]] = (SCHEMA, _SET_ASIDE, _TALLY)

    _max_rows: int = 1_000_000

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0, max_rows: int = 1_000_000) -> Self:
        """See SqlitePredictions.open; beyond `max_rows` predictions it takes no more."""
        try:
            spool = super().open(path, timeout=timeout)
        except RepositoryUnavailable:
            _cut(_reserve(path))
            spool = super().open(path, timeout=timeout)
        spool._max_rows = max_rows  # noqa: SLF001  # an object of this class
        return spool

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Record a batch on disk, all or nothing. Raises RepositoryUnavailable where there is no room for it."""
        rows = [to_row(each) for each in predictions]
        with self._writing() as connection:
            self._keep_reserve()
            self._make_room(connection, connection.executemany(INSERT, rows).rowcount if rows else 0)

    def check(self) -> None:
        """Return if a row could be recorded now: there is room for it, and the disk takes what is written."""
        with self._writing() as connection:
            self._keep_reserve()
            self._make_room(connection, 1)
            connection.execute(_COUNT, (-1,))

    def oldest(self, limit: int) -> Sequence[Prediction]:
        """The oldest that wait, oldest first, at most `limit`."""
        return self._read(f"{SELECT} AND {_WAITING} ORDER BY id LIMIT ?", limit)

    def remove(self, predictions: Sequence[Prediction]) -> None:
        """Forget these, and no others: one that is older may have come in meanwhile."""
        ids = [(str(each.id),) for each in predictions]

        def delete(connection: sqlite3.Connection) -> None:
            removed = connection.executemany("DELETE FROM predictions WHERE id = ?", ids).rowcount
            connection.execute(_COUNT, (-removed,))

        self._on_the_reserve(delete)

    def erase(self, ids: Sequence[UUID]) -> int:
        """Forget these, also those set aside; how many of them were known. That they come again is for the repository
        behind to see.
        """
        given = json.dumps(list(map(str, ids)))
        with self._erasing() as connection:
            return self._forget(connection, _OF_THESE, given)

    def prune(self, before: UUID, limit: int) -> int:
        """Forget the oldest with an id below `before`, also those set aside, at most `limit`; how many those were."""
        oldest = "id IN (SELECT id FROM predictions WHERE id < ? ORDER BY id LIMIT ?)"
        with self._erasing() as connection:
            return self._forget(connection, oldest, str(before), limit)

    def _forget(self, connection: sqlite3.Connection, which: str, *parameters: object) -> int:
        connection.execute(f"DELETE FROM set_aside WHERE {which}", parameters)  # noqa: S608  # a constant
        removed = connection.execute(f"DELETE FROM predictions WHERE {which}", parameters).rowcount  # noqa: S608
        connection.execute(_COUNT, (-removed,))
        return removed

    def set_aside(self, refused: Prediction, reason: str) -> None:
        """Keep one, but among those that wait no longer."""
        row = (str(refused.id), reason)
        self._on_the_reserve(
            lambda connection: connection.execute("INSERT OR REPLACE INTO set_aside VALUES (?, ?)", row)
        )

    def backlog(self) -> Backlog:
        """How many there are, and since when."""
        with self._locked() as connection:
            found = connection.execute(
                "SELECT (SELECT kept FROM tally), (SELECT count(*) FROM set_aside),"  # noqa: S608  # constants
                f" (SELECT created_at FROM predictions WHERE {_WAITING} ORDER BY id LIMIT 1)"
            )
            kept, aside, oldest = found.fetchone()
        return Backlog(kept - aside, datetime.fromisoformat(oldest) if oldest else None, aside)

    @contextmanager
    def emptying(self) -> Iterator[bool]:
        """Whether it is this process's turn to empty it; for as long as that takes."""
        with file_lock.held(self._path.with_suffix(".lock")) as held:
            yield held
            if held:
                self._shrink()

    def _make_room(self, connection: sqlite3.Connection, rows: int) -> None:
        (kept,) = connection.execute(_COUNT, (rows,)).fetchone()
        if kept > self._max_rows:
            raise RepositoryUnavailable(f"the spool {self._path} is full: it may hold {self._max_rows} predictions")

    def _keep_reserve(self) -> None:
        # the file is locked for writing now, and when the reserve is given up: nobody takes that room in between
        reserve = _reserve(self._path)
        if not reserve.exists() or reserve.stat().st_size < _RESERVE:
            try:
                reserve.touch(mode=0o600)
                reserve.write_bytes(bytes(_RESERVE))
            except OSError:
                _cut(reserve)
                raise

    def _on_the_reserve(self, work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            with self._writing() as connection:
                work(connection)
        except RepositoryUnavailable:
            with self._writing() as connection:
                _cut(_reserve(self._path))
                work(connection)

    def _shrink(self) -> None:
        """Give back the room that many have left, for the next reserve may need it."""
        # if another process is at work here, or the disk so full: at the end of another turn
        with suppress(RepositoryUnavailable), self._locked() as connection:
            if connection.execute("PRAGMA freelist_count").fetchone()[0] > _FEW:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _reserve(path: Path) -> Path:
    return path.with_suffix(".reserve")


def _cut(reserve: Path) -> None:
    with suppress(FileNotFoundError):
        os.truncate(reserve, 0)
