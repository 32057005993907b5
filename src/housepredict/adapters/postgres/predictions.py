"""Predictions in PostgreSQL: a batch is one statement, hence one transaction and one commit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from attrs import define, evolve
from psycopg_pool import ConnectionPool

from housepredict.adapters.documents import encode_each, prediction, warnings_to_json
from housepredict.adapters.postgres.connections import Database, TimeLimitedConnection
from housepredict.adapters.postgres.migrations import migrate
from housepredict.adapters.postgres.writer import Writer
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Estimate, Interval, Prediction
from housepredict.domain.features import EstimateWarning
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


def erase(connection: TimeLimitedConnection, ids: Sequence[UUID]) -> int:
    """See PredictionRepository."""
    with connection.transaction():
        known = connection.execute(_KNOWN, (list(ids),)).fetchall()
        connection.execute(_ERASE, (list(ids),))
        _forget_in_lab_table(connection, [lab_id for (lab_id,) in known if lab_id is not None])
    return len(known)


def prune(connection: TimeLimitedConnection, before: UUID, limit: int) -> int:
    """See PredictionRepository."""
    with connection.transaction():
        pruned = connection.execute(_PRUNE, (before, limit)).fetchall()
        above_deleted = max((next_id(deleted) for deleted, _ in pruned), default=_NO_ID)
        connection.execute(_RAISE_WATERMARK, (above_deleted, before if len(pruned) < limit else _NO_ID))
        _forget_in_lab_table(connection, [lab_id for _, lab_id in pruned if lab_id is not None])
    return len(pruned)


def _forget_in_lab_table(connection: TimeLimitedConnection, lab_ids: Sequence[int]) -> None:
    # who misses nothing in it may have dropped it
    if lab_ids and connection.execute(_LAB_TABLE, (f"{connection.schema}.predictions_lab",)).fetchone() == (True,):
        connection.execute(_FORGET_IN_LAB_TABLE, (list(lab_ids),))


# One parameter, whatever the batch: one prepared statement. In the order of ids, so that two batches with the same rows
# wait for each other rather than deadlock.
_INSERT = """
INSERT INTO {schema}.predictions
    (id, created_at, model_version, features, price, valued_on, caveats, intervals, fsd, generation)
SELECT given.* FROM jsonb_to_recordset($1::jsonb) AS given (
    id uuid, created_at timestamptz, model_version text, features jsonb, price numeric, valued_on date, caveats jsonb,
    intervals jsonb, fsd float8, generation bigint
)
WHERE id >= (SELECT below FROM {schema}.prune_watermark)
ORDER BY id
ON CONFLICT (id) DO NOTHING
"""

_SELECT = """
SELECT id, created_at, model_version, features, price::float8, valued_on, caveats, intervals, fsd, generation
FROM {schema}.predictions WHERE erased_at IS NULL AND id >= (SELECT below FROM {schema}.prune_watermark)
"""
_RECENT = f"{_SELECT} AND id < %s ORDER BY id DESC LIMIT %s"
_FIND = f"{_SELECT} AND id = ANY (%s) ORDER BY id"
_OF_LAB = f"{_SELECT} AND lab_id = %s"
_BETWEEN = f"{_SELECT} AND id >= %s AND id < %s ORDER BY id LIMIT %s"
_AFTER_EVERY_ID = UUID(int=2**128 - 1)

_CHECK = "SELECT has_table_privilege(%s::text, 'INSERT'), current_setting('transaction_read_only') = 'off'"

_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@define
class PostgresPredictions:
    """A PredictionRepository in PostgreSQL. Threads may share it; a process that forks opens its own."""

    _database: Database
    _pool: ConnectionPool[TimeLimitedConnection]
    _writer: Writer

    @classmethod
    def open(
        cls,
        conninfo: str,
        *,
        direct: str | None = None,
        schema: str | None = None,
        connections: int = 4,
        timeout: float = 5.0,
    ) -> Self:
        """Connect, and bring the database's tables up to date.

        `conninfo` is a URL or a `key=value` text of libpq, `connections` the most to hold at once; `timeout`, in
        seconds, bounds the wait for a connection, and then for the answer. With `direct`, the way to the server itself,
        `conninfo` is that to a pool in front of it, of connections or of transactions. `schema` is where the tables
        are; by default they are looked for, see `migrate`. Raises RepositoryUnavailable.
        """
        through_pool = None if direct is None else Database.at(conninfo, pooled=True)
        database = migrate(Database.at(conninfo if direct is None else direct, schema=schema))
        if through_pool:
            database = evolve(through_pool, schema=database.schema)

        def configure(connection: TimeLimitedConnection) -> None:
            database.set_up(connection, timeout)

        def check(connection: TimeLimitedConnection) -> None:
            if connection.is_lost_when_asked():
                connection.close()
                pool.drain()  # a server that restarts or is demoted is lost to all of them
                raise psycopg.OperationalError("the connection was lost")

        pool = ConnectionPool(
            database.conninfo,
            connection_class=TimeLimitedConnection,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=connections,
            open=True,
            configure=configure,
            check=check,
            timeout=timeout,
            # How long failed attempts back off, too: a pool that waits long notices late that the server is back.
            reconnect_timeout=timeout,
            name="housepredict",
        )
        writer = Writer(database, _INSERT.replace("{schema}", database.quoted_schema).encode(), timeout)
        try:
            with database.translated():
                writer.connect()
        except RepositoryUnavailable:
            pool.close()
            raise
        return cls(database, pool, writer)

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch durably, all or nothing. Ignores predictions whose id is known, was erased or was pruned."""
        rows = _rows(predictions)
        with self._database.translated():
            self._writer.execute(rows)

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        """Store a batch as `append` does, without blocking the running event loop; see AppendsInLoop."""
        return self._writer.execute_in_loop(
            _rows(predictions), lambda error: done(error and self._database.translation(error))
        )

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first, at most `limit`; only those with an id below `before` if given."""
        return [prediction(*row) for row in self._read(_RECENT, before or _AFTER_EVERY_ID, limit)]

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """The predictions with these ids, in the order of their ids; those that are not known are left out."""
        return [prediction(*row) for row in self._read(_FIND, list(ids))]

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """The predictions with ids from `first` on and below `end`, oldest first, at most `limit`."""
        return [prediction(*row) for row in self._read(_BETWEEN, first, end, limit)]

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids. Returns how many of them were known. They are never stored again."""
        with self._lent() as connection:
            return erase(connection, ids)

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers below `before`. Returns the number."""
        with self._lent() as connection:
            return prune(connection, before, limit)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these ids that were erased or pruned."""
        return [erased for (erased,) in self._read(FIND_ERASED, list(ids))]

    def find_by_lab_id(self, number: int) -> Prediction | None:
        """The prediction that had this number in the tutorial's table; None if there is none."""
        return next((prediction(*row) for row in self._read(_OF_LAB, number)), None)

    def check(self) -> None:
        """Return if a batch could be stored now: the server responds, the role may write, the table isn't locked."""
        with self._database.translated():
            self._writer.connect()
        with self._lent() as connection:
            table = f"{connection.schema}.predictions"
            [(granted, writable)] = connection.execute(_CHECK, (table,), prepare=not self._database.pooled)
            if not writable:
                raise psycopg.errors.ReadOnlySqlTransaction
        if not granted:
            place = f"the predictions in PostgreSQL at {self._database.place}"
            raise RepositoryUnavailable(f"{place} are read-only for this role: it needs INSERT on {table}")
        self.append([])  # which takes the locks of any batch, and waits for them no longer

    def close(self) -> None:
        """Close every connection."""
        self._writer.close()
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._lent() as connection:
            return connection.execute(query, parameters, prepare=not self._database.pooled).fetchall()

    @contextmanager
    def _lent(self) -> Iterator[TimeLimitedConnection]:
        with self._database.translated(), self._pool.connection() as connection:
            try:
                yield connection
            except psycopg.Error as error:
                if connection.close_after(error):
                    self._pool.drain()  # the others lead to the same server
                raise


def _rows(predictions: Sequence[Prediction]) -> str:
    """A batch as the statement takes it. Put together by hand: most of what a row says, many rows have in common."""
    features = encode_each(_to_json, [each.estimate.house.values for each in predictions])
    rows = [_row(each.id, each.created_at, each.estimate, own) for each, own in zip(predictions, features, strict=True)]
    return f"[{','.join(rows)}]"


def _row(identifier: UUID, created_at: datetime, estimate: Estimate, features: str) -> str:
    valued_on = f'"{estimate.valued_on.isoformat()}"' if estimate.valued_on else "null"
    return (
        f'{{"id":"{identifier}","created_at":"{_time(created_at)}","model_version":{_text(estimate.model_version)},'
        f'"features":{features},"price":{estimate.price!r},"valued_on":{valued_on},'
        f'"caveats":{_caveats(estimate.warnings)}{_rest(estimate.intervals, estimate.fsd, estimate.generation)}}}'
    )


def _rest(intervals: Sequence[Interval], fsd: float | None, generation: int | None) -> str:
    # what is left out is null in the row
    parts = ""
    if intervals:
        bounds = ",".join([f'"{level}":[{low!r},{high!r}]' for level, low, high in intervals])
        parts += f',"intervals":{{{bounds}}}'
    if fsd is not None:
        parts += f',"fsd":{fsd!r}'
    if generation is not None:
        parts += f',"generation":{generation}'
    return parts


@lru_cache(maxsize=1024)
def _caveats(caveats: tuple[EstimateWarning, ...]) -> str:
    return _to_json(warnings_to_json(caveats))


_text = lru_cache(maxsize=16)(_to_json)
_time = lru_cache(maxsize=16)(datetime.isoformat)
