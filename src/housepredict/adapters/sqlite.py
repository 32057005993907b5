"""Predictions in one file on this machine's disk, durable without a server: what is used where nothing is set up."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import ClassVar, Self
from uuid import UUID

from attrs import define, field

from housepredict.adapters.records import caveats_to_json, intervals_to_json, prediction
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction

_SCHEMA_VERSION = 3

# Ids sort by time as text, too. Without rowid the table is its own index on them: a batch goes to the end of one tree.
SCHEMA = """
CREATE TABLE predictions (
    id            TEXT PRIMARY KEY NOT NULL, -- UUIDv7
    created_at    TEXT NOT NULL,             -- ISO 8601, UTC
    model_version TEXT NOT NULL,
    features      TEXT NOT NULL,             -- JSON
    price_cents   INTEGER NOT NULL,
    valued_on     TEXT,                      -- ISO 8601
    caveats       TEXT NOT NULL,             -- JSON
    intervals     TEXT,                      -- JSON
    fsd           REAL,
    generation    INTEGER
) WITHOUT ROWID
"""
_UPGRADES: Mapping[int, Sequence[str]] = {
    1: ("ALTER TABLE predictions ADD COLUMN intervals TEXT", "ALTER TABLE predictions ADD COLUMN fsd REAL"),
    2: ("ALTER TABLE predictions ADD COLUMN generation INTEGER",),
}
"""What makes of a file of a version one of the next; the tables of new files have it from the start."""

INSERT = """
INSERT INTO predictions (id, created_at, model_version, features, price_cents, valued_on, caveats, intervals, fsd,
    generation)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
SELECT = """
SELECT id, created_at, model_version, features, price_cents, valued_on, caveats, intervals, fsd, generation
FROM predictions
"""
_RECENT = f"{SELECT} WHERE id < ? ORDER BY id DESC LIMIT ?"
_AFTER_EVERY_ID = "g"

_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@define
class SqlitePredictions:
    """A PredictionRepository in an SQLite file. Threads may share it, and processes its file."""

    _tables: ClassVar[Sequence[str]] = (SCHEMA,)

    _path: Path
    _connection: sqlite3.Connection = field(repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0) -> Self:
        """Open the file, made where there is none, with folders and file for this user alone.

        `timeout`, in seconds, is how long to wait for another process that writes. Raises RepositoryUnavailable.
        """
        with _translated(path):
            for folder in reversed(path.parents):
                folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileExistsError):
                path.touch(mode=0o600, exist_ok=False)
            # isolation_level=None: transactions begin where this module says so
            connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
            try:
                _prepare(connection, cls._tables)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Record a batch on disk, all or nothing; a prediction whose id is known already is ignored."""
        rows = [to_row(each) for each in predictions]
        with self._writing() as connection:
            connection.executemany(INSERT, rows)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first, at most `limit`; only those with an id below `before` if given."""
        return self._read(_RECENT, _AFTER_EVERY_ID if before is None else str(before), limit)

    def check(self) -> None:
        """Return if a batch could be recorded now: the file can be locked for writing."""
        with self._writing():
            pass

    def close(self) -> None:
        """Close the file."""
        with self._locked() as connection:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self._path):
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._locked() as connection, _transaction(connection):
            yield connection

    def _read(self, query: str, *parameters: object) -> list[Prediction]:
        with self._locked() as connection:
            rows = connection.execute(query, parameters).fetchall()
        return [_prediction(*row) for row in rows]


def _prepare(connection: sqlite3.Connection, tables: Sequence[str]) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    if _schema_version(connection) < _SCHEMA_VERSION:
        with _transaction(connection):
            # asked again: another process may have been quicker
            if _schema_version(connection) < _SCHEMA_VERSION:
                for statement in _lacking(_schema_version(connection), tables):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")


def _lacking(version: int, tables: Sequence[str]) -> Sequence[str]:
    if version == 0:  # a new file
        return tables
    return [statement for each in range(version, _SCHEMA_VERSION) for statement in _UPGRADES[each]]


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > _SCHEMA_VERSION:
        raise sqlite3.DatabaseError("a newer housepredict wrote it: upgrade this one, or name another file")
    return version


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, a full disk among them
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise RepositoryUnavailable(f"the predictions in {path} cannot be recorded or read: {error}") from error


def to_row(recorded: Prediction) -> tuple[str | float | None, ...]:
    """A prediction as its row, in the order of INSERT."""
    estimate = recorded.estimate
    intervals = intervals_to_json(estimate.intervals)
    return (
        str(recorded.id),
        recorded.created_at.isoformat(),
        estimate.model_version,
        _to_json(estimate.house.values),
        round(estimate.price * 100),
        estimate.valued_on.isoformat() if estimate.valued_on else None,
        _to_json(caveats_to_json(estimate.caveats)),
        _to_json(intervals) if intervals else None,
        estimate.fsd,
        estimate.generation,
    )


def _prediction(
    id: str,  # noqa: A002  # the name of the column
    created_at: str,
    model_version: str,
    features: str,
    price_cents: int,
    valued_on: str | None,
    caveats: str,
    intervals: str | None,
    fsd: float | None,
    generation: int | None,
) -> Prediction:
    return prediction(
        UUID(id),
        datetime.fromisoformat(created_at),
        model_version,
        json.loads(features),
        price_cents / 100,
        date.fromisoformat(valued_on) if valued_on else None,
        json.loads(caveats),
        json.loads(intervals) if intervals else None,
        fsd,
        generation,
    )
