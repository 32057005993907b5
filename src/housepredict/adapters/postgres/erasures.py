"""How predictions are forgotten in PostgreSQL, those that were taken over in the tutorial's table, too."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from housepredict.adapters.postgres.connections import ImpatientConnection

# In the order of ids, as batches are written: two of these wait for each other rather than deadlock.
_KNOWN = "SELECT lab_id FROM {schema}.predictions WHERE id = ANY (%s) AND erased_at IS NULL ORDER BY id FOR UPDATE"

# The row stays without what it said: it keeps a prediction that arrives again, or late, from being recorded. One that
# arrives at the same time waits for this at the primary key, or this waits for it.
_ERASE = """
INSERT INTO {schema}.predictions (id, created_at, model_version, features, price, caveats, erased_at)
SELECT id, 'epoch', '', '{}', 0, '[]', now() FROM (SELECT DISTINCT unnest(%s::uuid[]) AS id ORDER BY id) AS given
ON CONFLICT (id) DO UPDATE SET
    created_at = EXCLUDED.created_at, model_version = EXCLUDED.model_version, features = EXCLUDED.features,
    price = EXCLUDED.price, caveats = EXCLUDED.caveats, erased_at = EXCLUDED.erased_at,
    valued_on = NULL, intervals = NULL, fsd = NULL, generation = NULL, lab_id = NULL
WHERE predictions.erased_at IS NULL
"""
_PRUNE = """
DELETE FROM {schema}.predictions USING (
    SELECT id FROM {schema}.predictions WHERE id < %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
) AS oldest
WHERE predictions.id = oldest.id RETURNING lab_id
"""
_LAB_TABLE = "SELECT to_regclass(%s::text) IS NOT NULL"
_FORGET_IN_LAB_TABLE = "DELETE FROM {schema}.predictions_lab WHERE id = ANY (%s)"


def erase(connection: ImpatientConnection, ids: Sequence[UUID]) -> int:
    """See PredictionRepository."""
    with connection.transaction():
        known = connection.execute(_KNOWN, (list(ids),)).fetchall()
        connection.execute(_ERASE, (list(ids),))
        _forget_in_lab_table(connection, [lab_id for (lab_id,) in known if lab_id is not None])
    return len(known)


def prune(connection: ImpatientConnection, before: UUID, limit: int) -> int:
    """See PredictionRepository."""
    with connection.transaction():
        pruned = connection.execute(_PRUNE, (before, limit)).fetchall()
        _forget_in_lab_table(connection, [lab_id for (lab_id,) in pruned if lab_id is not None])
    return len(pruned)


def _forget_in_lab_table(connection: ImpatientConnection, lab_ids: Sequence[int]) -> None:
    # who misses nothing in it may have dropped it
    if lab_ids and connection.execute(_LAB_TABLE, (f"{connection.schema}.predictions_lab",)).fetchone() == (True,):
        connection.execute(_FORGET_IN_LAB_TABLE, (list(lab_ids),))
