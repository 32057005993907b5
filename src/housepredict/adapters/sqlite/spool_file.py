"""Predictions on this machine's disk on their way to elsewhere, in the table that keeps them for good where nothing is
set up.

A spool may be readable and not writable: the file is locked, or the disk is full. Then ids that the database calls
erased cannot be erased in the spool. They are hidden in memory instead until the spool takes them.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Self, TypeVar
from uuid import UUID

from attrs import define, field

from housepredict.adapters.files import atomic as file_lock
from housepredict.adapters.sqlite.predictions import INSERT, SCHEMA, SELECT, SqlitePredictions, to_row
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import Backlog

T = TypeVar("T")

_log = logging.getLogger(__name__)

_SET_ASIDE = "CREATE TABLE set_aside (id TEXT PRIMARY KEY NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID"
# counting a million rows takes too long to be done at each append
_TALLY = "CREATE TABLE tally AS SELECT 0 AS kept"
_COUNT = "UPDATE tally SET kept = kept + ? RETURNING kept"
_WAITING = "id NOT IN (SELECT id FROM set_aside)"
_REMOVE = "DELETE FROM predictions WHERE id = ? AND erased_at IS NULL"
_OLDEST = "SELECT id FROM predictions WHERE erased_at IS NULL AND id < ? ORDER BY id LIMIT ?"
# nothing of one that was erased meanwhile
_SET_ONE_ASIDE = "INSERT OR REPLACE INTO set_aside SELECT id, ? FROM predictions WHERE id = ? AND erased_at IS NULL"
_CLEAN_UP = """
DELETE FROM set_aside WHERE NOT EXISTS (
    SELECT 1 FROM predictions WHERE predictions.id = set_aside.id AND erased_at IS NULL
)
"""

# More than what SQLite takes until what is deleted makes room: its log of 1,000 pages of 4 KiB, all of which the
# file itself may still have to grow by, and the largest batch.
_RESERVE = 8 * 1024 * 1024
_FEW = 16  # pages


class SpoolUnavailable(RepositoryUnavailable):
    """The spool cannot be read or written. The database may be available."""


@define
class SqliteSpool(SqlitePredictions):
    """A repository that can be emptied again. Processes may share its file; one at a time should empty it.

    Its errors are SpoolUnavailable, so that they are told from those of the database. It leaves ids out of reads whose
    erasure it could not store.

    It keeps the ids of what was erased, as every repository does: an append that is in flight when its prediction is
    erased brings nothing back, also while the repository behind is away.

    Deleting takes room on the disk, too. So it takes nothing in without a reserve, a file of zeros beside its own, and
    gives that up on a full disk for what leaves.
    """

    _tables: ClassVar[Sequence[str]] = (SCHEMA, _SET_ASIDE, _TALLY)
    _fault: ClassVar[type[RepositoryUnavailable]] = SpoolUnavailable

    _max_rows: int = 1_000_000
    _hidden: set[UUID] = field(factory=set, init=False)

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0, max_rows: int = 1_000_000) -> Self:
        """See SqlitePredictions.open; beyond `max_rows` predictions it takes no more."""
        try:
            spool = super().open(path, timeout=timeout)
        except SpoolUnavailable:
            _cut(_reserve(path))
            spool = super().open(path, timeout=timeout)
        spool._max_rows = max_rows  # noqa: SLF001  # an object of this class
        return spool

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Record a batch on disk, all or nothing. Raises SpoolUnavailable where there is no room for it."""
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

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """As SqlitePredictions.recent, without hidden predictions."""
        hidden = set(self._hidden)  # before the file is read: another thread may erase them there and unhide them
        return _visible(super().recent(limit + len(hidden), before), hidden)[:limit]

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """As SqlitePredictions.find, without hidden predictions."""
        hidden = set(self._hidden)
        return _visible(super().find(ids), hidden)

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """As SqlitePredictions.between, without hidden predictions."""
        hidden = set(self._hidden)
        return _visible(super().between(first, end, limit + len(hidden)), hidden)[:limit]

    def oldest(self, limit: int) -> Sequence[Prediction]:
        """The oldest that wait, oldest first, at most `limit`. Includes hidden ones: the database ignores them, and
        they leave the spool.
        """
        return self._read(f"{SELECT} AND {_WAITING} ORDER BY id LIMIT ?", limit)

    def remove(self, predictions: Sequence[Prediction]) -> None:
        """Forget these, and no others: one that is older may have come in meanwhile."""
        ids = [(str(each.id),) for each in predictions]

        def delete(connection: sqlite3.Connection) -> None:
            removed = connection.executemany(_REMOVE, ids).rowcount
            connection.execute(_COUNT, (-removed,))

        self._on_the_reserve(delete)

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids, also those set aside. Returns how many of them were known. They are never stored again.

        Where this raises SpoolUnavailable, they are hidden until a later call can store them.
        """
        self._hidden.update(ids)
        pending = set(self._hidden)
        given = json.dumps(list(map(str, pending)))
        known = self._on_the_reserve(
            lambda connection: _counted(connection, self._mark_erased(connection, given)), self._erasing
        )
        self._hidden.difference_update(pending)
        return known

    def hide(self, ids: Sequence[UUID]) -> None:
        """Erase these ids if the file can be written; leave them out of reads in any case."""
        try:
            self.erase(ids)
        except SpoolUnavailable as error:
            _log.warning("%d erased predictions are hidden, since the spool is not writable: %s", len(ids), error)

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions below `before`, also those set aside, and the erasure markers
        among them. Returns the number of predictions.
        """
        return self._on_the_reserve(
            lambda connection: _counted(connection, self._delete_oldest(connection, _OLDEST, before, limit)),
            self._erasing,
        )

    def add_dead_letter(self, refused: Prediction, reason: str) -> None:
        """Keep one, but among those that wait no longer."""
        row = (reason, str(refused.id))
        self._on_the_reserve(lambda connection: connection.execute(_SET_ONE_ASIDE, row))

    def backlog(self) -> Backlog:
        with self._locked() as connection:
            found = connection.execute(
                "SELECT (SELECT kept FROM tally), (SELECT count(*) FROM set_aside),"  # noqa: S608  # constants
                f" (SELECT created_at FROM predictions WHERE erased_at IS NULL AND {_WAITING} ORDER BY id LIMIT 1)"
            )
            kept, aside, oldest = found.fetchone()
        return Backlog(kept - aside, datetime.fromisoformat(oldest) if oldest else None, aside)

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """Whether it is this process's turn to empty it; for as long as that takes."""
        with file_lock.held(self._path.with_suffix(".lock")) as held:
            yield held
            if held:
                self._shrink()

    def _make_room(self, connection: sqlite3.Connection, rows: int) -> None:
        (kept,) = connection.execute(_COUNT, (rows,)).fetchone()
        if kept > self._max_rows:
            raise SpoolUnavailable(f"the spool {self._path} is full: it may hold {self._max_rows} predictions")

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

    def _on_the_reserve(
        self,
        work: Callable[[sqlite3.Connection], T],
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]] | None = None,
    ) -> T:
        writing = transaction or self._writing
        try:
            with writing() as connection:
                return work(connection)
        except SpoolUnavailable:
            with writing() as connection:
                _cut(_reserve(self._path))
                return work(connection)

    def _shrink(self) -> None:
        """Give back the room that many have left, for the next reserve may need it."""
        # if another process is at work here, or the disk so full: at the end of another turn
        with suppress(SpoolUnavailable), self._locked() as connection:
            if connection.execute("PRAGMA freelist_count").fetchone()[0] > _FEW:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _visible(rows: Sequence[Prediction], hidden: Container[UUID]) -> Sequence[Prediction]:
    return [row for row in rows if row.id not in hidden]


def _counted(connection: sqlite3.Connection, removed: int) -> int:
    connection.execute(_CLEAN_UP)
    connection.execute(_COUNT, (-removed,))
    return removed


def _reserve(path: Path) -> Path:
    return path.with_suffix(".reserve")


def _cut(reserve: Path) -> None:
    with suppress(FileNotFoundError):
        os.truncate(reserve, 0)
