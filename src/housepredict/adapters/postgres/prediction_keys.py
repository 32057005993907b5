"""The keys that predictions were asked for with in PostgreSQL, beside the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from attrs import define

from housepredict.adapters.postgres.connections import TimeLimitedConnection
from housepredict.adapters.postgres.persistent_connection import PersistentConnection
from housepredict.domain.errors import ErasedPredictions, RepeatedKey
from housepredict.domain.idempotency import Delivery

# Of two with one key the second waits here for the first to end.
_INSERT = """
INSERT INTO {schema}.prediction_keys (key, digest, first, ids) VALUES (%s, %s, %s, %s) ON CONFLICT (key) DO NOTHING
"""
_FIND = """
SELECT digest, ids, EXISTS (SELECT FROM {schema}.predictions WHERE id = ANY (ids) AND erased_at IS NOT NULL)
FROM {schema}.prediction_keys WHERE key = %s
"""
_PRUNE = """
DELETE FROM {schema}.prediction_keys WHERE key IN (
    SELECT key FROM {schema}.prediction_keys WHERE first < %s ORDER BY first LIMIT %s
)
"""


@define
class PostgresKeys(PersistentConnection):
    """PredictionKeys in PostgreSQL."""

    _contents: ClassVar[str] = "keys"

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        with self.session() as connection:
            return _find(connection, delivery)

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        with self.session() as connection:
            added = connection.execute(_INSERT, (delivery.key, delivery.digest, ids[0], list(ids)))
            return (None if added.rowcount else _find(connection, delivery)) or ids

    def prune(self, before: UUID, limit: int) -> int:
        with self.session() as connection:
            return connection.execute(_PRUNE, (before, limit)).rowcount


def _find(connection: TimeLimitedConnection, delivery: Delivery) -> Sequence[UUID] | None:
    known = connection.execute(_FIND, (delivery.key,)).fetchone()
    if known is None:
        return None
    digest, ids, erased = known
    if digest != delivery.digest:
        raise RepeatedKey
    # asked here, too: predictions that wait in a spool do not tell while it is cut off from the database
    if erased:
        raise ErasedPredictions
    return list(ids)
