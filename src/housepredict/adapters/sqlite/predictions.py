"""The default prediction repository: an SQLite file, which is durable and needs no server."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from attrs import define

from housepredict.adapters.documents import prediction_from_row, prediction_to_row
from housepredict.adapters.sqlite.database import SqliteFile, ids_to_json
from housepredict.domain.estimates import Prediction
from housepredict.domain.identifiers import next_id

# UUIDv7 ids sort by time, even as text. WITHOUT ROWID stores the rows in the id index, so a batch extends one B-tree.
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
    generation    INTEGER,
    erased_at     TEXT                       -- ISO 8601, UTC; an erasure marker keeps only its id
) WITHOUT ROWID
"""
_UPGRADES: Mapping[int, Sequence[str]] = {
    1: ("ALTER TABLE predictions ADD COLUMN intervals TEXT", "ALTER TABLE predictions ADD COLUMN fsd REAL"),
    2: ("ALTER TABLE predictions ADD COLUMN generation INTEGER",),
    3: ("ALTER TABLE predictions ADD COLUMN erased_at TEXT",),
}
# The columns that store a prediction, in the same order as in SCHEMA.
_COLUMNS = (
    "id",
    "created_at",
    "model_version",
    "features",
    "price_cents",
    "valued_on",
    "caveats",
    "intervals",
    "fsd",
    "generation",
)
_JSON_COLUMNS = ("features", "caveats", "intervals")

_WATERMARK = "CREATE TABLE IF NOT EXISTS pruned (below TEXT NOT NULL) -- ids below it were pruned; at most one row"

INSERT = f"""
INSERT INTO predictions ({", ".join(_COLUMNS)})
SELECT {", ".join("?" * len(_COLUMNS))} WHERE NOT EXISTS (SELECT 1 FROM pruned WHERE below > ?1)
ON CONFLICT (id) DO NOTHING
"""  # noqa: S608  # constants
SELECT = f"SELECT {', '.join(_COLUMNS)} FROM predictions WHERE erased_at IS NULL"  # noqa: S608
_RECENT = f"{SELECT} AND id < ? ORDER BY id DESC LIMIT ?"
_AFTER_EVERY_ID = "g"
# All ids are one parameter, because SQLite limits the number of parameters.
_FIND = f"{SELECT} AND id IN (SELECT value FROM json_each(?)) ORDER BY id"  # noqa: S608  # a constant

_BETWEEN = f"{SELECT} AND id >= ? AND id < ? ORDER BY id LIMIT ?"
_FIND_ERASED = """
SELECT value FROM json_each(?)
WHERE EXISTS (SELECT 1 FROM pruned WHERE below > value)
    OR EXISTS (SELECT 1 FROM predictions WHERE id = value AND erased_at IS NOT NULL)
"""
_COUNT = "SELECT count(*) FROM predictions WHERE erased_at IS NULL AND id IN (SELECT value FROM json_each(?))"
# The row stays as a marker without data, so that a retried or late append of the prediction is ignored.
_ERASE = """
INSERT OR REPLACE INTO predictions (id, created_at, model_version, features, price_cents, caveats, erased_at)
SELECT DISTINCT value, '', '', '{}', 0, '[]', ? FROM json_each(?)
"""
_OLDEST = "SELECT id FROM predictions WHERE id < ? ORDER BY id LIMIT ?"

_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@define
class SqlitePredictions(SqliteFile):
    """A thread-safe PredictionRepository in an SQLite file. Processes may share the file."""

    _contents: ClassVar[str] = "predictions"
    _version: ClassVar[int] = max(_UPGRADES) + 1
    _tables: ClassVar[Sequence[str]] = (SCHEMA,)
    _upgrades: ClassVar[Mapping[int, Sequence[str]]] = _UPGRADES
    _additions: ClassVar[Sequence[str]] = (_WATERMARK,)

    def append(self, predictions: Sequence[Prediction]) -> None:
        rows = [to_row(prediction) for prediction in predictions]
        with self._writing() as connection:
            connection.executemany(INSERT, rows)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return self._read(_RECENT, _AFTER_EVERY_ID if before is None else str(before), limit)

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return self._read(_FIND, ids_to_json(ids))

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        return self._read(_BETWEEN, str(first), str(end), limit)

    def erase(self, ids: Sequence[UUID]) -> int:
        with self._erasing() as connection:
            return self._mark_erased(connection, ids_to_json(ids))

    def prune(self, before: UUID, limit: int) -> int:
        with self._erasing() as connection:
            return self._delete_oldest(connection, _OLDEST, before, limit)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        with self._locked() as connection:
            rows = connection.execute(_FIND_ERASED, (ids_to_json(ids),)).fetchall()
        return [UUID(erased) for (erased,) in rows]

    def check(self) -> None:
        """Check that a batch could be stored: the file can be locked, and the disk isn't full."""
        with self._writing() as connection:
            # SQLite writes the page even though the version stays the same. A newer release may have set the version.
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version}")

    @staticmethod
    def _mark_erased(connection: sqlite3.Connection, ids: str) -> int:
        known: int = connection.execute(_COUNT, (ids,)).fetchone()[0]
        connection.execute(_ERASE, (datetime.now(UTC).isoformat(), ids))
        return known

    @staticmethod
    def _delete_oldest(connection: sqlite3.Connection, query: str, before: UUID, limit: int) -> int:
        """Delete the rows with the lowest ids, and ensure that the deleted ids are never stored again.

        Ids below a watermark, which is set just above the last deleted id, can't be stored (see
        `PredictionRepository.prune`).

        Args:
            connection: a connection with an open transaction.
            query: a query that selects up to `limit` of the lowest ids below `before`. All rows up to the last selected
                id are deleted.
            before: the first parameter of `query`.
            limit: the second parameter of `query`.

        Returns:
            The number of selected ids.
        """
        oldest = connection.execute(query, (str(before), limit)).fetchall()
        for (last,) in oldest[-1:]:
            connection.execute("DELETE FROM predictions WHERE id <= ?", (last,))
            connection.execute("DELETE FROM pruned WHERE below <= ?", (last,))
            below = str(next_id(UUID(last)))
            connection.execute("INSERT INTO pruned SELECT ? WHERE NOT EXISTS (SELECT 1 FROM pruned)", (below,))
        return len(oldest)

    def _read(self, query: str, *parameters: object) -> list[Prediction]:
        with self._locked() as connection:
            rows = connection.execute(query, parameters).fetchall()
        return [_prediction(row) for row in rows]


def to_row(prediction: Prediction) -> list[Any]:
    """Return the parameters of the statement `INSERT` for a prediction."""
    row = prediction_to_row(prediction)
    row["price_cents"] = round(row["price"] * 100)
    for column in _JSON_COLUMNS:
        row[column] = None if row[column] is None else _to_json(row[column])
    return [row[column] for column in _COLUMNS]


def _prediction(values: Sequence[Any]) -> Prediction:
    row = dict(zip(_COLUMNS, values, strict=True))
    row["price"] = row["price_cents"] / 100
    for column in _JSON_COLUMNS:
        row[column] = row[column] and json.loads(row[column])
    return prediction_from_row(row)
