"""The prediction repository in PostgreSQL. It writes each batch in a single statement and transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Self
from uuid import UUID

import psycopg
from attrs import define, evolve
from psycopg_pool import ConnectionPool

from housepredict.adapters.documents import encode_objects, prediction_from_row, unstructure
from housepredict.adapters.postgres.connections import Database, TimeLimitedConnection
from housepredict.adapters.postgres.migrations import migrate
from housepredict.adapters.postgres.writer import Writer
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.identifiers import next_id
from housepredict.domain.warnings import EstimateWarning

# Prediction columns, with the type that each has in the statement that reads a batch from JSON.
_COLUMNS = {
    "id": "uuid",
    "created_at": "timestamptz",
    "model_version": "text",
    "features": "jsonb",
    "price": "numeric",
    "valued_on": "date",
    "caveats": "jsonb",
    "intervals": "jsonb",
    "fsd": "float8",
    "generation": "bigint",
}
# Column values of an erasure marker, as SQL. All other columns are null.
_MARKER = {
    "id": "id",
    "created_at": "'epoch'",
    "model_version": "''",
    "features": "'{}'",
    "price": "0",
    "caveats": "'[]'",
    "erased_at": "now()",
}

# Lock rows in id order, as _INSERT does, so that concurrent statements wait for each other instead of deadlocking.
_LOCK_KNOWN = """
SELECT lab_id FROM {schema}.predictions
WHERE id = ANY (%s) AND erased_at IS NULL AND id >= (SELECT below FROM {schema}.prune_watermark)
ORDER BY id FOR UPDATE
"""
_FIND_ERASED = """
SELECT id FROM unnest(%s::uuid[]) AS requested (id)
WHERE id < (SELECT below FROM {schema}.prune_watermark)
    OR EXISTS (SELECT FROM {schema}.predictions WHERE predictions.id = requested.id AND erased_at IS NOT NULL)
"""

# The row stays as a marker, so that a retried or late append of the prediction is ignored. If an append runs at the
# same time, the primary key makes one of the two statements wait for the other.
_ERASE = f"""
INSERT INTO {{schema}}.predictions ({", ".join(_MARKER)})
SELECT {", ".join(_MARKER.values())} FROM (SELECT DISTINCT unnest(%s::uuid[]) AS id ORDER BY id) AS requested
ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{column} = EXCLUDED.{column}" for column in {**_MARKER, **_COLUMNS, "lab_id": None} if column != "id")}
WHERE predictions.erased_at IS NULL
"""  # noqa: S608
# ARRAY(...) is evaluated once. PostgreSQL may evaluate a joined subquery again for each row of a small table. It would
# then skip rows that the statement has already deleted, and delete more rows than the limit.
_PRUNE = """
DELETE FROM {schema}.predictions WHERE id = ANY (ARRAY(
    SELECT id FROM {schema}.predictions WHERE id < %s ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)) RETURNING id, lab_id
"""
# Limit the watermark to the server's time, because the service's clock may be ahead, and new ids below the watermark
# are ignored.
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
_DELETE_FROM_LAB_TABLE = "DELETE FROM {schema}.predictions_lab WHERE id = ANY (%s)"
# The batch is a single parameter, so that one prepared statement works for any batch size. Rows are inserted in id
# order, so that concurrent batches with the same rows wait for each other instead of deadlocking.
_INSERT = f"""
INSERT INTO {{schema}}.predictions ({", ".join(_COLUMNS)})
SELECT {", ".join(_COLUMNS)} FROM jsonb_to_recordset($1::jsonb) AS batch (
    {", ".join(f"{column} {kind}" for column, kind in _COLUMNS.items())}
)
WHERE id >= (SELECT below FROM {{schema}}.prune_watermark)
ORDER BY id
ON CONFLICT (id) DO NOTHING
"""  # noqa: S608  # constants

_SELECT = f"""
SELECT {", ".join(_COLUMNS).replace("price", "price::float8")}
FROM {{schema}}.predictions WHERE erased_at IS NULL AND id >= (SELECT below FROM {{schema}}.prune_watermark)
"""  # noqa: S608
_RECENT = f"{_SELECT} AND id < %s ORDER BY id DESC LIMIT %s"
_FIND = f"{_SELECT} AND id = ANY (%s) ORDER BY id"
_OF_LAB = f"{_SELECT} AND lab_id = %s"
_BETWEEN = f"{_SELECT} AND id >= %s AND id < %s ORDER BY id LIMIT %s"
_AFTER_EVERY_ID = UUID(int=2**128 - 1)

_CHECK = "SELECT has_table_privilege(%s::text, 'INSERT'), current_setting('transaction_read_only') = 'off'"

_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


@define
class PostgresPredictions:
    """A thread-safe PredictionRepository in PostgreSQL. A forked process must open its own."""

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
        """Connect to the database and apply pending migrations.

        Args:
            conninfo: URL or libpq `key=value` string of the server, or of a connection pool in front of it.
            direct: URL or libpq `key=value` string of the server itself, if `conninfo` is that of a pool.
            schema: schema of the tables; see `migrate` for the default.
            connections: maximum number of connections.
            timeout: how long to wait for a connection, and how long to wait for each response, in seconds.

        Raises:
            RepositoryUnavailable: if the database can't be reached, or the migrations can't be applied.
        """
        through_pool = None if direct is None else Database.at(conninfo, pooled=True)
        database = migrate(Database.at(conninfo if direct is None else direct, schema=schema))
        if through_pool:
            database = evolve(through_pool, schema=database.schema)

        def configure(connection: TimeLimitedConnection) -> None:
            database.set_up(connection, timeout)

        def check(connection: TimeLimitedConnection) -> None:
            if connection.is_lost_after_ping():
                connection.close()
                pool.drain()  # the server was restarted or demoted, so the other connections are lost, too
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
            # Also limits the backoff between attempts. With a long backoff, the pool would reconnect too late.
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
        rows = _encode_batch(predictions)
        with self._database.translated():
            self._writer.execute(rows)

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        return self._writer.execute_in_loop(
            _encode_batch(predictions), lambda error: done(error and self._database.translation(error))
        )

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return self._read(_RECENT, before or _AFTER_EVERY_ID, limit)

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return self._read(_FIND, list(ids))

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        return self._read(_BETWEEN, first, end, limit)

    def erase(self, ids: Sequence[UUID]) -> int:
        with self._borrowed_connection() as connection, connection.transaction():
            known = connection.execute(_LOCK_KNOWN, (list(ids),)).fetchall()
            connection.execute(_ERASE, (list(ids),))
            _delete_from_lab_table(connection, [lab_id for (lab_id,) in known if lab_id is not None])
        return len(known)

    def prune(self, before: UUID, limit: int) -> int:
        with self._borrowed_connection() as connection, connection.transaction():
            pruned = connection.execute(_PRUNE, (before, limit)).fetchall()
            above_deleted = max((next_id(deleted) for deleted, _ in pruned), default=_NO_ID)
            connection.execute(_RAISE_WATERMARK, (above_deleted, before if len(pruned) < limit else _NO_ID))
            _delete_from_lab_table(connection, [lab_id for _, lab_id in pruned if lab_id is not None])
        return len(pruned)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        return [erased for (erased,) in self._rows(_FIND_ERASED, list(ids))]

    def find_by_lab_id(self, number: int) -> Prediction | None:
        return next(iter(self._read(_OF_LAB, number)), None)

    def check(self) -> None:
        """Check that a batch could be stored: the server responds, the role may write, and the table isn't locked."""
        with self._database.translated():
            self._writer.connect()
        with self._borrowed_connection() as connection:
            table = f"{connection.schema}.predictions"
            [(granted, writable)] = connection.execute(_CHECK, (table,), prepare=not self._database.pooled)
            if not writable:
                raise psycopg.errors.ReadOnlySqlTransaction
        if not granted:
            place = f"the predictions in PostgreSQL at {self._database.place}"
            raise RepositoryUnavailable(f"{place} are read-only for this role: it needs INSERT on {table}")
        self.append([])  # waits for the same locks as any other batch, with the same timeout

    def close(self) -> None:
        self._writer.close()
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _read(self, query: str, *parameters: object) -> list[Prediction]:
        return [prediction_from_row(dict(zip(_COLUMNS, row, strict=True))) for row in self._rows(query, *parameters)]

    def _rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._borrowed_connection() as connection:
            return connection.execute(query, parameters, prepare=not self._database.pooled).fetchall()

    @contextmanager
    def _borrowed_connection(self) -> Iterator[TimeLimitedConnection]:
        with self._database.translated(), self._pool.connection() as connection:
            try:
                yield connection
            except psycopg.Error as error:
                if connection.close_after(error):
                    self._pool.drain()  # the other connections go to the same server
                raise


def _delete_from_lab_table(connection: TimeLimitedConnection, lab_ids: Sequence[int]) -> None:
    # The owner of the table may have dropped it.
    if lab_ids and connection.execute(_LAB_TABLE, (f"{connection.schema}.predictions_lab",)).fetchone() == (True,):
        connection.execute(_DELETE_FROM_LAB_TABLE, (list(lab_ids),))


def _encode_batch(predictions: Sequence[Prediction]) -> str:
    """Encode a batch as JSON.

    This function is faster than a JSON encoder, because it caches the encodings of values that several rows share.
    """
    houses = encode_objects(_to_json, [prediction.estimate.house.values for prediction in predictions])
    rows = [_encode(prediction, features) for prediction, features in zip(predictions, houses, strict=True)]
    return f"[{','.join(rows)}]"


def _encode(prediction: Prediction, features: str) -> str:
    """Encode a prediction as a JSON object. Columns without a value are omitted.

    Args:
        prediction: the prediction.
        features: the features of the house, as JSON.
    """
    estimate = prediction.estimate
    optional = ""
    if estimate.valued_on is not None:
        optional += f',"valued_on":"{estimate.valued_on.isoformat()}"'
    if estimate.intervals:
        bounds = ",".join([f'"{level}":[{low!r},{high!r}]' for level, low, high in estimate.intervals])
        optional += f',"intervals":{{{bounds}}}'
    if estimate.fsd is not None:
        optional += f',"fsd":{estimate.fsd!r}'
    if estimate.generation is not None:
        optional += f',"generation":{estimate.generation}'
    return (
        f'{{"id":"{prediction.id}","created_at":"{_time(prediction.created_at)}",'
        f'"model_version":{_text(estimate.model_version)},"features":{features},"price":{estimate.price!r},'
        f'"caveats":{_warnings(estimate.warnings)}{optional}}}'
    )


@lru_cache(maxsize=1024)
def _warnings(warnings: tuple[EstimateWarning, ...]) -> str:
    return _to_json([unstructure(warning) for warning in warnings])


_text = lru_cache(maxsize=16)(_to_json)
_time = lru_cache(maxsize=16)(datetime.isoformat)
