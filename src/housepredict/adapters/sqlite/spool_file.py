"""Predictions in an SQLite file, pending on their way to a database.

A spool may be readable and not writable: the file is locked, or the disk is full. Then ids that the database reports as
erased cannot be erased in the spool. They are hidden in memory until the spool can be written.
"""

from __future__ import annotations

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
from housepredict.adapters.sqlite.database import ids_to_json
from housepredict.adapters.sqlite.predictions import INSERT, SCHEMA, SELECT, SqlitePredictions, to_row
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import Backlog

T = TypeVar("T")

_log = logging.getLogger(__name__)

_DEAD_LETTERS = "CREATE TABLE set_aside (id TEXT PRIMARY KEY NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID"
# counting a million rows takes too long to be done at each append
_TALLY = "CREATE TABLE tally AS SELECT 0 AS kept"
_COUNT = "UPDATE tally SET kept = kept + ? RETURNING kept"
_PENDING = "id NOT IN (SELECT id FROM set_aside)"
_REMOVE = "DELETE FROM predictions WHERE id = ? AND erased_at IS NULL"
_OLDEST = "SELECT id FROM predictions WHERE erased_at IS NULL AND id < ? ORDER BY id LIMIT ?"
# nothing of one that was erased meanwhile
_ADD_DEAD_LETTER = "INSERT OR REPLACE INTO set_aside SELECT id, ? FROM predictions WHERE id = ? AND erased_at IS NULL"
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
    """A repository that can be drained. Processes may share its file; one at a time drains it.

    Its errors are SpoolUnavailable, to tell them from those of the database. It keeps the ids of erased predictions, as
    every repository does: an append that is in flight when its prediction is erased does not store it, also while the
    database is unavailable. Reads leave out predictions whose erasure it could not store.

    SQLite needs free space even to delete. The spool keeps a reserve file of 8 MiB, rejects rows without it, and
    truncates it on a full disk so that it can still be drained.
    """

    _tables: ClassVar[Sequence[str]] = (SCHEMA, _DEAD_LETTERS, _TALLY)
    _fault: ClassVar[type[RepositoryUnavailable]] = SpoolUnavailable

    _max_rows: int = 1_000_000
    _hidden: set[UUID] = field(factory=set, init=False)

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0, max_rows: int = 1_000_000) -> Self:
        """See SqlitePredictions.open; the spool takes up to `max_rows` predictions."""
        try:
            spool = super().open(path, timeout=timeout)
        except SpoolUnavailable:
            _truncate(_reserve(path))
            spool = super().open(path, timeout=timeout)
        spool._max_rows = max_rows  # noqa: SLF001  # an object of this class
        return spool

    def append(self, predictions: Sequence[Prediction]) -> None:
        rows = [to_row(prediction) for prediction in predictions]
        with self._writing() as connection:
            self._keep_reserve()
            self._make_room(connection, connection.executemany(INSERT, rows).rowcount if rows else 0)

    def check(self) -> None:
        """Return if a row could be stored now: there is room for it, and the disk takes what is written."""
        with self._writing() as connection:
            self._keep_reserve()
            self._make_room(connection, 1)
            connection.execute(_COUNT, (-1,))

    # Reads ask for the hidden ids before they read the file: another thread may erase them there and unhide them.

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        hidden = set(self._hidden)
        return _visible(super().recent(limit + len(hidden), before), hidden)[:limit]

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        hidden = set(self._hidden)
        return _visible(super().find(ids), hidden)

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        hidden = set(self._hidden)
        return _visible(super().between(first, end, limit + len(hidden)), hidden)[:limit]

    def oldest(self, limit: int) -> Sequence[Prediction]:
        """Up to `limit` pending predictions, oldest first, with hidden ones: the database ignores these, and they leave
        the spool.
        """
        return self._read(f"{SELECT} AND {_PENDING} ORDER BY id LIMIT ?", limit)

    def remove(self, predictions: Sequence[Prediction]) -> None:
        """Remove these, and no others: an older one may have arrived meanwhile."""
        ids = [(str(prediction.id),) for prediction in predictions]

        def remove(connection: sqlite3.Connection) -> None:
            removed = connection.executemany(_REMOVE, ids).rowcount
            connection.execute(_COUNT, (-removed,))

        self._on_reserve(remove, self._writing)

    def add_dead_letter(self, refused: Prediction, reason: str) -> None:
        """Keep a prediction, which is not pending any more."""
        row = (reason, str(refused.id))
        self._on_reserve(lambda connection: connection.execute(_ADD_DEAD_LETTER, row), self._writing)

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids, also dead letters.

        Raises:
            SpoolUnavailable: if it can't be written. The ids are hidden until a later call can store them.
        """
        self._hidden.update(ids)
        pending = set(self._hidden)
        known = self._delete(lambda connection: self._mark_erased(connection, ids_to_json(pending)))
        self._hidden.difference_update(pending)
        return known

    def hide(self, ids: Sequence[UUID]) -> None:
        """Erase these ids if the file can be written; leave them out of reads in any case."""
        try:
            self.erase(ids)
        except SpoolUnavailable as error:
            _log.warning("%d erased predictions are hidden, since the spool is not writable: %s", len(ids), error)

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions below `before`, also dead letters, and the erasure markers
        among them. Returns the number of predictions.
        """
        return self._delete(lambda connection: self._delete_oldest(connection, _OLDEST, before, limit))

    def backlog(self) -> Backlog:
        with self._locked() as connection:
            row = connection.execute(
                "SELECT (SELECT kept FROM tally), (SELECT count(*) FROM set_aside),"  # noqa: S608  # constants
                f" (SELECT created_at FROM predictions WHERE erased_at IS NULL AND {_PENDING} ORDER BY id LIMIT 1)"
            )
            rows, dead_letters, oldest = row.fetchone()
        return Backlog(rows - dead_letters, datetime.fromisoformat(oldest) if oldest else None, dead_letters)

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """Whether it is this process's turn to drain it, for as long as that takes."""
        with file_lock.held(self._path.with_suffix(".lock")) as held:
            yield held
            if held:
                self._shrink()

    def _shrink(self) -> None:
        """Return the space of deleted rows to the disk: the next reserve may need it."""
        # if another process is at work here, or the disk so full: at the end of another turn
        with suppress(SpoolUnavailable), self._locked() as connection:
            if connection.execute("PRAGMA freelist_count").fetchone()[0] > _FEW:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _make_room(self, connection: sqlite3.Connection, rows: int) -> None:
        (kept,) = connection.execute(_COUNT, (rows,)).fetchone()
        if kept > self._max_rows:
            raise SpoolUnavailable(f"the spool {self._path} is full: it may hold {self._max_rows} predictions")

    def _keep_reserve(self) -> None:
        # the file is locked for writing now, and when the reserve is truncated: nobody takes that room in between
        reserve = _reserve(self._path)
        if not reserve.exists() or reserve.stat().st_size < _RESERVE:
            try:
                reserve.touch(mode=0o600)
                reserve.write_bytes(bytes(_RESERVE))
            except OSError:
                _truncate(reserve)
                raise

    def _delete(self, delete: Callable[[sqlite3.Connection], int]) -> int:
        """Delete predictions so that nothing of them is left in the file. Returns their number."""

        def work(connection: sqlite3.Connection) -> int:
            deleted = delete(connection)
            connection.execute(_CLEAN_UP)
            connection.execute(_COUNT, (-deleted,))
            return deleted

        return self._on_reserve(work, self._erasing)

    def _on_reserve(
        self,
        work: Callable[[sqlite3.Connection], T],
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
    ) -> T:
        """Do what makes room on the disk, on the reserve if there is no other room."""
        try:
            with transaction() as connection:
                return work(connection)
        except SpoolUnavailable:
            with transaction() as connection:
                _truncate(_reserve(self._path))
                return work(connection)


def _visible(predictions: Sequence[Prediction], hidden: Container[UUID]) -> Sequence[Prediction]:
    return [prediction for prediction in predictions if prediction.id not in hidden]


def _reserve(path: Path) -> Path:
    return path.with_suffix(".reserve")


def _truncate(reserve: Path) -> None:
    with suppress(FileNotFoundError):
        os.truncate(reserve, 0)
