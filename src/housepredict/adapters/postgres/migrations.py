"""PostgreSQL schema migrations, which are applied when a service starts. Many replicas may start at the same time.

The migrations are the files in `sql`, applied in alphabetical order. `schema.sql` shows the resulting schema. A
migration whose name ends in `-post` removes something that earlier releases use, so only `housepredict migrate --post`
applies it. The table of applied migrations has the format of yoyo-migrations, because earlier releases use yoyo on the
same database.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from contextlib import closing
from hashlib import sha256
from importlib import resources

import psycopg
from attrs import evolve, frozen

from housepredict.adapters.postgres.connections import Database, TimeLimitedConnection
from housepredict.domain.errors import MisconfiguredRepository, RefusedPredictions, RepositoryUnavailable

_log = logging.getLogger(__name__)

_LOCK = int.from_bytes(b"housepre")
"""Key of the advisory lock for migrations. The number is arbitrary, but must be the same in every release."""
_TIMEOUT_S = 5.0
_RETRY_INTERVAL_S = 0.5

# Candidate schemas, starting with those in the search path. The query reads only the catalog, because this role may
# lack the permission to read another program's yoyo ledger.
_SCHEMAS = """
SELECT
    nspname,
    nspname = ANY (current_schemas(false)),
    ledger IS NOT NULL,
    ledger IS NOT NULL AND coalesce(names @> '{features,model_version}', false),
    coalesce(names = '{age,bedrooms,created_at,id,predicted_price,size}', false),
    CASE WHEN NOT pg_has_role(relowner, 'USAGE') THEN pg_get_userbyid(relowner) END
FROM pg_namespace
LEFT JOIN pg_class ON pg_class.oid = to_regclass(format('%I.predictions', nspname)), LATERAL (
    SELECT to_regclass(format('%I._yoyo_migration', nspname)), array_agg(attname::text ORDER BY attname)
    FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
) AS details (ledger, names)
WHERE has_schema_privilege(pg_namespace.oid, 'USAGE')
    AND (names IS NOT NULL OR nspname = ANY (current_schemas(false)))
ORDER BY array_position(current_schemas(false), nspname), nspname
"""
_APPLIED = "SELECT migration_id FROM {schema}._yoyo_migration"
_APPLY = "INSERT INTO {schema}._yoyo_migration VALUES (%s, %s, now() AT TIME ZONE 'UTC')"
# yoyo's tables, except for its log, which no release reads. An earlier release needs the version to apply migrations
# that are still pending because this release was interrupted.
_LEDGER = """
CREATE TABLE _yoyo_migration (
    migration_hash varchar(64) PRIMARY KEY,
    migration_id   varchar(255),
    applied_at_utc timestamp
);
CREATE TABLE _yoyo_version (version integer PRIMARY KEY, installed_at_utc timestamp);
INSERT INTO _yoyo_version VALUES (2, now() AT TIME ZONE 'UTC');
"""
_CREATED = re.compile(r"^CREATE (?:UNLOGGED |UNIQUE )?(?:TABLE|INDEX|FUNCTION) (\w+)", re.MULTILINE)
_CONFLICTS = """
SELECT CASE WHEN relkind IN ('v', 'm') THEN 'view' WHEN relkind IN ('i', 'I') THEN 'index'
    WHEN relkind = 'S' THEN 'sequence' WHEN relkind = 'c' THEN 'type' ELSE 'table' END, relname
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %(schema)s AND relname = ANY (%(names)s)
UNION
SELECT 'type', typname FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace
WHERE nspname = %(schema)s AND typname = ANY (%(names)s) AND typrelid = 0
UNION
SELECT 'function', proname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname = %(schema)s AND proname = ANY (%(names)s) AND pronargs = 0
ORDER BY 2
"""


@frozen
class _Schema:
    name: str
    in_path: bool
    has_ledger: bool
    is_ours: bool
    has_tutorials_predictions: bool
    """Whether the table `predictions` has the same column names as the one that the tutorial's service creates."""
    owner: str | None
    """The owner of the table `predictions`, or None if this role may act as the owner."""


def migrate(database: Database, *, post: bool = False) -> Database:
    """Apply pending migrations, each in its own transaction. If none are pending, read permission is enough.

    Args:
        database: the database to migrate. If its schema isn't set, the first of these that exists is used: a schema in
            the search path with housepredict's tables, a schema in the search path with the table `predictions` of the
            tutorial's service, the only schema outside the search path with housepredict's tables, or the current
            schema.
        post: whether to also apply migrations whose names end in `-post`.

    Returns:
        The database, with its schema set.

    Raises:
        MisconfiguredRepository: if another program's tables have the same names, if it is unclear which of several
            schemas outside the search path to use, or if the role lacks permissions.
        RepositoryUnavailable: if the database can't be reached.
    """
    try:
        with database.translated(), closing(database.connect(_TIMEOUT_S)) as connection:
            if database.schema is None:
                database = evolve(database, schema=_default_schema(database, connection))
                connection.schema = database.quoted_schema
            if _pending(connection, post):
                _apply(database, post)
    except RefusedPredictions as error:  # raised by a migration that can't handle the existing tables
        raise MisconfiguredRepository(str(error)) from error
    except RepositoryUnavailable as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise MisconfiguredRepository(f"{error}. {_run_as('a user who can create tables there')}") from error
        raise
    return database


def migrate_once_it_answers(conninfo: str, seconds: float, *, schema: str | None = None, post: bool = False) -> None:
    """Apply pending migrations (see `migrate`). While the server is unavailable, retry for up to `seconds`."""
    database, deadline = Database.at(conninfo, schema=schema), time.monotonic() + seconds
    while True:
        try:
            migrate(database, post=post)
        except RepositoryUnavailable as error:
            if isinstance(error, MisconfiguredRepository) or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_INTERVAL_S)
        else:
            return


def _pending(connection: TimeLimitedConnection, post: bool) -> dict[str, str]:
    """Return the names and SQL of pending migrations, in the order in which to apply them."""
    try:
        applied = {name for (name,) in connection.execute(_APPLIED)}
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        applied = set()
    files = {file.name.removesuffix(".sql"): file for file in resources.files(__package__).joinpath("sql").iterdir()}
    names = [name for name in sorted(files.keys() - applied) if post or not name.endswith("-post")]
    return {name: files[name].read_text(encoding="utf-8") for name in names}


def _apply(database: Database, post: bool) -> None:
    """Apply pending migrations while holding the advisory lock."""
    with closing(database.connect(None)) as connection:
        connection.add_notice_handler(lambda notice: _log.warning("%s", notice.message_primary))
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        pending = _pending(connection, post)  # read again: another process may have applied them
        if not pending:
            return
        schema = next((known for known in _schemas(connection) if known.name == database.schema), None)
        first = next(iter(pending))
        if schema is None or not schema.has_ledger:
            pending[first] = _LEDGER + pending[first]
        if connection.execute("SELECT to_regnamespace(%s::text)", (database.quoted_schema,)).fetchone() == (None,):
            pending[first] = f"CREATE SCHEMA {database.quoted_schema};{pending[first]}"
        _check(database, schema, connection, pending.values())
        for name, script in pending.items():
            with database.translated(f"migration {name}"), connection.transaction():
                psycopg.Cursor(connection).execute(script)  # a script of several statements can't return binary results
                connection.execute(_APPLY, (sha256(name.encode()).hexdigest(), name))
            _log.info("applied the migration %s in the schema %s", name, database.schema)


def _check(
    database: Database, schema: _Schema | None, connection: TimeLimitedConnection, scripts: Iterable[str]
) -> None:
    """Check, before migrating, that the names of new tables are free and that this role owns the existing tables.

    Args:
        database: the database to migrate.
        schema: the existing schema, or None if it doesn't exist.
        connection: a connection to the database.
        scripts: the SQL of the pending migrations.

    Raises:
        MisconfiguredRepository: if a name is taken, or if another role owns the tables.
    """
    names = {name for script in scripts for name in _CREATED.findall(script)}
    if "predictions" in names and schema and schema.has_tutorials_predictions:
        names = names - {"predictions"} | {"predictions_lab"}  # the migration renames the tutorial's table
    conflicts = connection.execute(_CONFLICTS, {"schema": database.schema, "names": sorted(names)}).fetchall()
    if conflicts:
        objects = " and ".join(f'{"an" if kind == "index" else "a"} {kind} "{name}"' for kind, name in conflicts)
        raise MisconfiguredRepository(
            f"the schema {database.quoted_schema} of PostgreSQL at {database.place} has {objects} that neither"
            f" housepredict nor the tutorial created. Rename {'it' if len(conflicts) == 1 else 'them'}, or give"
            " housepredict its own schema with HOUSEPREDICT_DATABASE_SCHEMA. Nothing was changed."
        )
    if schema and schema.owner:
        raise MisconfiguredRepository(
            f"only the owner of the tables in PostgreSQL at {database.place} can apply this release's migrations."
            f" Nothing was changed. {_run_as(f'the user {schema.owner}')}"
        )


def _schemas(connection: TimeLimitedConnection) -> list[_Schema]:
    return [_Schema(*row) for row in connection.execute(_SCHEMAS)]


def _default_schema(database: Database, connection: TimeLimitedConnection) -> str:
    schemas = _schemas(connection)
    path = [schema for schema in schemas if schema.in_path]
    candidates = [schema for schema in path if schema.is_ours] or [
        schema for schema in path if schema.has_tutorials_predictions
    ]
    if candidates:
        return candidates[0].name
    elsewhere = [schema.name for schema in schemas if schema.is_ours]
    if len(elsewhere) > 1:
        raise MisconfiguredRepository(
            f"in PostgreSQL at {database.place}, the schemas {' and '.join(elsewhere)} have tables of housepredict, but"
            " none of them is in the search path: set HOUSEPREDICT_DATABASE_SCHEMA to one of them"
        )
    if elsewhere:
        _log.warning(
            "using the schema %s of PostgreSQL at %s: it has the tables of housepredict but is not in the search path."
            " To use another schema, set HOUSEPREDICT_DATABASE_SCHEMA",
            elsewhere[0],
            database.place,
        )
        return elsewhere[0]
    return path[0].name if path else "public"


def _run_as(user: str) -> str:
    return (
        f"Run `housepredict migrate` once with {user} in the database URL, then grant this role the rights to serve:"
        " see docs/how-to/use-postgresql.md"
    )
