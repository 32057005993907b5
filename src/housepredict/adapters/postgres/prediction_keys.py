"""The idempotency keys of prediction requests, stored in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID

from attrs import define

from housepredict.adapters.postgres.connections import TimeLimitedConnection
from housepredict.adapters.postgres.persistent_connection import PersistentConnection
from housepredict.domain.errors import ErasedPredictions, RepeatedKey
from housepredict.domain.idempotency import Delivery

# A concurrent insert of the same key waits until this transaction ends.
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
    """A PredictionKeys adapter for PostgreSQL."""

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
    row = connection.execute(_FIND, (delivery.key,)).fetchone()
    if row is None:
        return None
    digest, ids, is_erased = row
    if digest != delivery.digest:
        raise RepeatedKey
    # Check for erasure here too: a service that loses the database can't tell whether predictions in its spool were
    # erased.
    if is_erased:
        raise ErasedPredictions
    return list(ids)
