"""How predictions are erased and pruned in PostgreSQL, those that were taken over in the tutorial's table, too.

An erased prediction leaves its id, a marker. Pruning deletes markers, too, and raises the watermark: ids below it count
as pruned, and appends ignore them. An append that is in flight while the watermark is raised may not know it yet, so
reads leave out what is below the watermark as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from housepredict.adapters.postgres.connections import ImpatientConnection
from housepredict.domain.identifiers import next_id

# In the order of ids, as batches are written: two of these wait for each other rather than deadlock.
_KNOWN = """
SELECT lab_id FROM {schema}.predictions
WHERE id = ANY (%s) AND erased_at IS NULL AND id >= (SELECT below FROM {schema}.prune_watermark)
ORDER BY id FOR UPDATE
"""
FIND_ERASED = """
SELECT id FROM unnest(%s::uuid[]) AS given (id)
WHERE id < (SELECT below FROM {schema}.prune_watermark)
    OR EXISTS (SELECT FROM {schema}.predictions WHERE predictions.id = given.id AND erased_at IS NOT NULL)
"""

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
WHERE predictions.id = oldest.id RETURNING predictions.id, lab_id
"""
# Not above the server's time, whatever the clock of the service says: the ids that come next must not be refused.
_RAISE_WATERMARK = """
UPDATE {schema}.prune_watermark SET below = reached
FROM (
    SELECT greatest(%s::uuid, least(
        %s::uuid,
        (lpad(to_hex(floor(extract(epoch FROM now()) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
    )) AS reached
) AS pruned
WHERE below < reached
"""
_NO_ID = UUID(int=0)
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
        above_deleted = max((next_id(deleted) for deleted, _ in pruned), default=_NO_ID)
        connection.execute(_RAISE_WATERMARK, (above_deleted, before if len(pruned) < limit else _NO_ID))
        _forget_in_lab_table(connection, [lab_id for _, lab_id in pruned if lab_id is not None])
    return len(pruned)


def _forget_in_lab_table(connection: ImpatientConnection, lab_ids: Sequence[int]) -> None:
    # who misses nothing in it may have dropped it
    if lab_ids and connection.execute(_LAB_TABLE, (f"{connection.schema}.predictions_lab",)).fetchone() == (True,):
        connection.execute(_FORGET_IN_LAB_TABLE, (list(lab_ids),))
