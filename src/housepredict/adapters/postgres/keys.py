"""The keys that predictions were asked for with in PostgreSQL, beside the predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self
from uuid import UUID

from attrs import define, field

from housepredict.adapters.postgres.connections import Database, ImpatientConnection
from housepredict.adapters.postgres.kept import KeptConnection
from housepredict.domain.deliveries import Delivery
from housepredict.domain.errors import RepeatedKey

# Of two with one key the second waits here for the first to end.
_INSERT = "INSERT INTO prediction_keys (key, digest, first, ids) VALUES (%s, %s, %s, %s) ON CONFLICT (key) DO NOTHING"
_FIND = "SELECT digest, ids FROM prediction_keys WHERE key = %s"
_PRUNE = """
DELETE FROM prediction_keys WHERE key IN (SELECT key FROM prediction_keys WHERE first < %s ORDER BY first LIMIT %s)
"""


@define
class PostgresKeys:
    """PredictionKeys in PostgreSQL. Threads may share it; a process that forks opens its own.

    `patience`, in seconds, bounds the wait for each answer. It connects, and brings the database's tables up to date,
    when it is first used.
    """

    _database: Database
    _patience: float = 5.0
    _kept_connection: KeptConnection = field(init=False, repr=False)

    @_kept_connection.default
    def _not_connected(self) -> KeptConnection:
        return KeptConnection(self._database, self._patience)

    @classmethod
    def at(cls, conninfo: str, patience: float = 5.0) -> Self:
        """The keys in the database that a URL or a `key=value` text of libpq names. Raises MisconfiguredRepository."""
        return cls(Database.at(conninfo), patience)

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        """The ids that were reserved for it, or None; see PredictionKeys."""
        with self._connected() as connection:
            return _find(connection, delivery)

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Keep these ids for it durably, unless some were before; those that are kept."""
        with self._connected() as connection:
            added = connection.execute(_INSERT, (delivery.key, delivery.digest, ids[0], list(ids)))
            return (None if added.rowcount else _find(connection, delivery)) or ids

    def prune(self, before: UUID, limit: int) -> int:
        """Forget keys whose first id lies below `before`, at most `limit`; how many those were."""
        with self._connected() as connection:
            return connection.execute(_PRUNE, (before, limit)).rowcount

    def close(self) -> None:
        """Close the connection; another one is made if it is used again."""
        self._kept_connection.close()

    @contextmanager
    def _connected(self) -> Iterator[ImpatientConnection]:
        with self._database.translated("keys"), self._kept_connection() as connection:
            yield connection


def _find(connection: ImpatientConnection, delivery: Delivery) -> Sequence[UUID] | None:
    known = connection.execute(_FIND, (delivery.key,)).fetchone()
    if known is None:
        return None
    digest, ids = known
    if digest != delivery.digest:
        raise RepeatedKey
    return list(ids)
