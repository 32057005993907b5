"""The idempotency keys of prediction requests, stored in an SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from attrs import define

from housepredict.adapters.sqlite.database import SqliteFile, ids_to_json
from housepredict.domain.errors import RepeatedKey
from housepredict.domain.idempotency import Delivery

_TABLES = (
    """
CREATE TABLE prediction_keys (
    key    TEXT PRIMARY KEY NOT NULL,
    digest TEXT NOT NULL,
    first  TEXT NOT NULL, -- UUIDv7
    ids    TEXT NOT NULL  -- JSON, in the order of the houses
) WITHOUT ROWID
""",
    "CREATE INDEX prediction_keys_by_age ON prediction_keys (first)",
)

_INSERT = "INSERT INTO prediction_keys (key, digest, first, ids) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
_FIND = "SELECT digest, ids FROM prediction_keys WHERE key = ?"
_PRUNE = """
DELETE FROM prediction_keys WHERE key IN (SELECT key FROM prediction_keys WHERE first < ? ORDER BY first LIMIT ?)
"""


@define
class SqliteKeys(SqliteFile):
    """A thread-safe PredictionKeys adapter for an SQLite file. Processes may share the file."""

    _contents: ClassVar[str] = "keys"
    _version: ClassVar[int] = 1
    _tables: ClassVar[Sequence[str]] = _TABLES

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        with self._locked() as connection:
            return _find(connection, delivery)

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        row = (delivery.key, delivery.digest, str(ids[0]), ids_to_json(ids))
        with self._writing() as connection:
            connection.execute(_INSERT, row)
            return _find(connection, delivery) or ids

    def prune(self, before: UUID, limit: int) -> int:
        with self._erasing() as connection:
            return connection.execute(_PRUNE, (str(before), limit)).rowcount


def _find(connection: sqlite3.Connection, delivery: Delivery) -> Sequence[UUID] | None:
    row = connection.execute(_FIND, (delivery.key,)).fetchone()
    if row is None:
        return None
    digest, ids = row
    if digest != delivery.digest:
        raise RepeatedKey
    return [UUID(id_) for id_ in json.loads(ids)]
