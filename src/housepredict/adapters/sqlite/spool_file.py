"""The spool: an SQLite file that stores predictions until they can be sent to the database.

If the file is locked or the disk is full, the spool can be read but not written. If the database reports predictions as
erased during this time, the spool hides them from reads until it can erase them in the file.
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
# A row counter, because counting a million rows on each append would take too long.
_COUNTER_TABLE = "CREATE TABLE tally AS SELECT 0 AS kept"
_ADD_TO_COUNTER = "UPDATE tally SET kept = kept + ? RETURNING kept"
_PENDING = "id NOT IN (SELECT id FROM set_aside)"
_REMOVE = "DELETE FROM predictions WHERE id = ? AND erased_at IS NULL"
_OLDEST = "SELECT id FROM predictions WHERE erased_at IS NULL AND id < ? ORDER BY id LIMIT ?"
# Adds nothing if the prediction was erased in the meantime.
_ADD_DEAD_LETTER = "INSERT OR REPLACE INTO set_aside SELECT id, ? FROM predictions WHERE id = ? AND erased_at IS NULL"
_CLEAN_UP = """
DELETE FROM set_aside WHERE NOT EXISTS (
    SELECT 1 FROM predictions WHERE predictions.id = set_aside.id AND erased_at IS NULL
)
"""

# More than the space that SQLite needs before a deletion frees any: 1,000 pages of 4 KiB for its log, as many pages for
# the growth of the file, and the largest batch.
_RESERVE_BYTES = 8 * 1024 * 1024
_MAX_FREE_PAGES = 16


class SpoolUnavailable(RepositoryUnavailable):
    """The spool can't be read or written. The database may still be available."""


@define
class SqliteSpool(SqlitePredictions):
    """A PredictionRepository that can be drained. Processes may share the file, but only one at a time drains it.

    The spool raises SpoolUnavailable, so that callers can tell its errors from those of the database. The spool stores
    the ids of erased predictions, so that an append in flight can't restore an erased prediction, even during a
    database outage. Reads omit predictions whose erasure could not be written yet.

    SQLite needs free space even to delete rows. Therefore, the spool keeps a reserve file of 8 MiB, and rejects new
    rows if it can't create the reserve. On a full disk, the spool truncates the reserve, so that it can still delete
    the rows that are drained.
    """

    _tables: ClassVar[Sequence[str]] = (SCHEMA, _DEAD_LETTERS, _COUNTER_TABLE)
    _fault: ClassVar[type[RepositoryUnavailable]] = SpoolUnavailable

    _max_rows: int = 1_000_000
    _hidden: set[UUID] = field(factory=set, init=False)

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0, max_rows: int = 1_000_000) -> Self:
        """Open a spool that can store up to `max_rows` predictions; see `SqliteFile.open`."""
        try:
            spool = super().open(path, timeout=timeout)
        except SpoolUnavailable:
            _truncate(_reserve(path))
            spool = super().open(path, timeout=timeout)
        spool._max_rows = max_rows  # noqa: SLF001  # its own class
        return spool

    def append(self, predictions: Sequence[Prediction]) -> None:
        rows = [to_row(prediction) for prediction in predictions]
        with self._writing() as connection:
            self._keep_reserve()
            self._count_rows(connection, connection.executemany(INSERT, rows).rowcount if rows else 0)

    def check(self) -> None:
        """Check that neither the spool nor the disk is full, so that a prediction could be stored."""
        with self._writing() as connection:
            self._keep_reserve()
            self._count_rows(connection, 1)
            connection.execute(_ADD_TO_COUNTER, (-1,))

    # Reads copy the hidden ids before they read the file, because another thread may erase these ids in the file and
    # then unhide them.

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
        """Return up to `limit` pending predictions, oldest first.

        Hidden predictions are included, so that they are drained too. The database ignores them.
        """
        return self._read(f"{SELECT} AND {_PENDING} ORDER BY id LIMIT ?", limit)

    def remove(self, predictions: Sequence[Prediction]) -> None:
        """Remove predictions from the file after the database has stored them."""
        ids = [(str(prediction.id),) for prediction in predictions]

        def remove(connection: sqlite3.Connection) -> None:
            removed = connection.executemany(_REMOVE, ids).rowcount
            connection.execute(_ADD_TO_COUNTER, (-removed,))

        self._on_reserve(remove, self._writing)

    def add_dead_letter(self, prediction: Prediction, reason: str) -> None:
        """Turn a pending prediction into a dead letter, and record why the database rejected it."""
        row = (reason, str(prediction.id))
        self._on_reserve(lambda connection: connection.execute(_ADD_DEAD_LETTER, row), self._writing)

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase predictions and dead letters with these ids or with hidden ids. Return how many the file contained.

        Raises:
            SpoolUnavailable: if the file can't be written. The ids stay hidden until a later call erases them.
        """
        self._hidden.update(ids)
        pending = set(self._hidden)
        known = self._delete(lambda connection: self._mark_erased(connection, ids_to_json(pending)))
        self._hidden.difference_update(pending)
        return known

    def hide(self, ids: Sequence[UUID]) -> None:
        """Erase the predictions with these ids. If the file can't be written, hide them from reads, and don't raise."""
        try:
            self.erase(ids)
        except SpoolUnavailable as error:
            _log.warning("the spool is not writable, so erased ids are hidden in memory: %d ids: %s", len(ids), error)

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and dead letters with ids below `before`.

        Erasure markers (records that an id was erased) with lower ids than the last deleted prediction are deleted too.
        Return the number of deleted predictions and dead letters, not counting the markers.
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
        """Try to acquire the drain lock, which only one process can hold. Yield whether it was acquired.

        If it was acquired, shrink the file when the context exits.
        """
        with file_lock.held(self._path.with_suffix(".lock")) as has_lock:
            yield has_lock
            if has_lock:
                self._shrink()

    def _shrink(self) -> None:
        """Return the space of deleted rows to the file system, because the next reserve file may need it."""
        # If another process uses the file or the disk is full, a later call will shrink the file.
        with suppress(SpoolUnavailable), self._locked() as connection:
            if connection.execute("PRAGMA freelist_count").fetchone()[0] > _MAX_FREE_PAGES:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _count_rows(self, connection: sqlite3.Connection, rows: int) -> None:
        (count,) = connection.execute(_ADD_TO_COUNTER, (rows,)).fetchone()
        if count > self._max_rows:
            raise SpoolUnavailable(f"the spool {self._path} is full: its limit is {self._max_rows:,} predictions")

    def _keep_reserve(self) -> None:
        # The file is locked for writing both here and when the reserve is truncated, so no append can use the freed
        # space.
        reserve = _reserve(self._path)
        if not reserve.exists() or reserve.stat().st_size < _RESERVE_BYTES:
            try:
                reserve.touch(mode=0o600)
                reserve.write_bytes(bytes(_RESERVE_BYTES))
            except OSError:
                _truncate(reserve)
                raise

    def _delete(self, delete: Callable[[sqlite3.Connection], int]) -> int:
        """Call `delete`, overwrite the deleted data, and remove the dead letters of deleted predictions.

        Args:
            delete: function that deletes predictions and returns their number.

        Returns:
            The number of deleted predictions.
        """

        def work(connection: sqlite3.Connection) -> int:
            deleted = delete(connection)
            connection.execute(_CLEAN_UP)
            connection.execute(_ADD_TO_COUNTER, (-deleted,))
            return deleted

        return self._on_reserve(work, self._erasing)

    def _on_reserve(
        self,
        work: Callable[[sqlite3.Connection], T],
        transaction: Callable[[], AbstractContextManager[sqlite3.Connection]],
    ) -> T:
        """Call `work` in a transaction and return its result.

        If the spool can't be written, truncate the reserve file to free disk space, and retry.

        Args:
            work: function that frees disk space.
            transaction: context manager that begins a transaction and yields its connection.
        """
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
