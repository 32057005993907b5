"""Brings a database's tables up to date when a service starts, however many replicas start with it.

The files in `sql` are the migrations, in the order of their names; `schema.sql` shows what they add up to. One whose
name ends in `-post` removes what an earlier release uses, and waits for `housepredict migrate --post`. The ledger of
applied migrations is that of yoyo-migrations, which earlier releases use on the same database.
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
"""The key of the advisory lock: any number, the same in every replica of every release."""
_PATIENCE = 5.0
_PAUSE = 0.5  # seconds between attempts

# The schemas that may matter, those of the search path first. It reads the catalog alone: another program may have a
# ledger of yoyo's, too, which this role must not read.
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
) AS found (ledger, names)
WHERE has_schema_privilege(pg_namespace.oid, 'USAGE')
    AND (names IS NOT NULL OR nspname = ANY (current_schemas(false)))
ORDER BY array_position(current_schemas(false), nspname), nspname
"""
_APPLIED = "SELECT migration_id FROM {schema}._yoyo_migration"
_APPLY = "INSERT INTO {schema}._yoyo_migration VALUES (%s, %s, now() AT TIME ZONE 'UTC')"
# The tables of yoyo without its log, which no release reads. An earlier release reads the version before it completes
# an interrupted start of this one.
_LEDGER = """
CREATE TABLE _yoyo_migration (
    migration_hash varchar(64) PRIMARY KEY,
    migration_id   varchar(255),
    applied_at_utc timestamp
);
CREATE TABLE _yoyo_version (version integer PRIMARY KEY, installed_at_utc timestamp);
INSERT INTO _yoyo_version VALUES (2, now() AT TIME ZONE 'UTC');
"""
_MADE = re.compile(r"^CREATE (?:UNLOGGED |UNIQUE )?(?:TABLE|INDEX|FUNCTION) (\w+)", re.MULTILINE)
_IN_THE_WAY = """
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
    """As it seems; the migration looks closely."""
    owner: str | None
    """The owner of the table `predictions`, unless this role may act as the owner."""


def migrate(database: Database, *, post: bool = False) -> Database:
    """Apply the migrations that the database lacks. Returns the database with the schema of its tables.

    Each is applied in a transaction of its own, in the order of their names, and those whose names end in `-post` only
    with `post`. The default schema is the first of the search path with tables of housepredict, else with the
    tutorial's, else the only schema with tables of housepredict, else the current one. If no migration is pending, this
    takes two queries, and only the right to read.

    Raises:
        MisconfiguredRepository: for tables of another program, for several schemas with tables outside the search path,
            or for a role without the rights that it takes.
        RepositoryUnavailable: if the database can't be reached.
    """
    try:
        with database.translated(), closing(database.connect(_PATIENCE)) as connection:
            if database.schema is None:
                database = evolve(database, schema=_schema(database, connection))
                connection.schema = database.quoted_schema
            if _pending(connection, post):
                _apply(database, post)
    except RefusedPredictions as error:  # there are none: a migration refuses what it found
        raise MisconfiguredRepository(str(error)) from error
    except RepositoryUnavailable as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise MisconfiguredRepository(f"{error}. {_run_as('a user who can create tables there')}") from error
        raise
    return database


def migrate_once_it_answers(conninfo: str, seconds: float, *, schema: str | None = None, post: bool = False) -> None:
    """As `migrate`, for a server that may be starting: it has so long to answer."""
    database, deadline = Database.at(conninfo, schema=schema), time.monotonic() + seconds
    while True:
        try:
            migrate(database, post=post)
        except RepositoryUnavailable as error:
            if isinstance(error, MisconfiguredRepository) or time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _pending(connection: TimeLimitedConnection, post: bool) -> dict[str, str]:
    """The SQL of the migrations to apply, by name and in order."""
    try:
        applied = {name for (name,) in connection.execute(_APPLIED)}
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        applied = set()
    files = {file.name.removesuffix(".sql"): file for file in resources.files(__package__).joinpath("sql").iterdir()}
    names = [name for name in sorted(files.keys() - applied) if post or not name.endswith("-post")]
    return {name: files[name].read_text(encoding="utf-8") for name in names}


def _apply(database: Database, post: bool) -> None:
    """Apply what is pending, once no other process does."""
    with closing(database.connect(None)) as connection:
        connection.add_notice_handler(lambda notice: _log.warning("%s", notice.message_primary))
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        pending = _pending(connection, post)  # by now: another process may have had the lock
        if not pending:
            return
        schema = next((each for each in _schemas(connection) if each.name == database.schema), None)
        first = next(iter(pending))
        if schema is None or not schema.has_ledger:
            pending[first] = _LEDGER + pending[first]
        if connection.execute("SELECT to_regnamespace(%s::text)", (database.quoted_schema,)).fetchone() == (None,):
            pending[first] = f"CREATE SCHEMA {database.quoted_schema};{pending[first]}"
        _check(database, schema, connection, pending.values())
        for name, script in pending.items():
            with database.translated(f"migration {name}"), connection.transaction():
                psycopg.Cursor(connection).execute(script)  # several statements can't be read in binary
                connection.execute(_APPLY, (sha256(name.encode()).hexdigest(), name))
            _log.info("applied the migration %s in the schema %s", name, database.schema)


def _check(
    database: Database, schema: _Schema | None, connection: TimeLimitedConnection, scripts: Iterable[str]
) -> None:
    """Raise MisconfiguredRepository for names that are taken, which it names, or for tables of another role."""
    names = {name for script in scripts for name in _MADE.findall(script)}
    if "predictions" in names and schema and schema.has_tutorials_predictions:
        names = names - {"predictions"} | {"predictions_lab"}  # to which it is renamed
    found = connection.execute(_IN_THE_WAY, {"schema": database.schema, "names": sorted(names)}).fetchall()
    if found:
        things = " and ".join(f'{"an" if kind == "index" else "a"} {kind} "{name}"' for kind, name in found)
        raise MisconfiguredRepository(
            f"in the schema {database.quoted_schema} of PostgreSQL at {database.place} there is {things} that neither"
            f" housepredict nor the tutorial made. Rename {'it' if len(found) == 1 else 'them'}, or give housepredict a"
            " schema of its own with HOUSEPREDICT_DATABASE_SCHEMA. Nothing was changed."
        )
    if schema and schema.owner:
        raise MisconfiguredRepository(
            f"only the owner of the tables in PostgreSQL at {database.place} can apply this release's migrations."
            f" Nothing was changed. {_run_as(f'the user {schema.owner}')}"
        )


def _schemas(connection: TimeLimitedConnection) -> list[_Schema]:
    return [_Schema(*row) for row in connection.execute(_SCHEMAS)]


def _schema(database: Database, connection: TimeLimitedConnection) -> str:
    schemas = _schemas(connection)
    path = [each for each in schemas if each.in_path]
    for each in (*(each for each in path if each.is_ours), *(each for each in path if each.has_tutorials_predictions)):
        return each.name
    elsewhere = [each.name for each in schemas if each.is_ours]
    if len(elsewhere) > 1:
        raise MisconfiguredRepository(
            f"in PostgreSQL at {database.place}, the schemas {' and '.join(elsewhere)} have tables of housepredict, and"
            " the search path leads to none of them: name one in HOUSEPREDICT_DATABASE_SCHEMA"
        )
    if elsewhere:
        _log.warning(
            "the search path of PostgreSQL at %s does not lead to the schema %s, which has the tables of housepredict"
            " and is used: set HOUSEPREDICT_DATABASE_SCHEMA to use another schema",
            database.place,
            elsewhere[0],
        )
        return elsewhere[0]
    return path[0].name if path else "public"


def _run_as(user: str) -> str:
    return (
        f"Run `housepredict migrate` once with {user} in the database URL, then grant this role the rights to serve:"
        " see docs/how-to/use-postgresql.md"
    )
