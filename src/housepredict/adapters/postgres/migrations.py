"""Brings a database's tables up to date when a service starts, however many replicas start with it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import resources

import psycopg
from attrs import evolve, frozen

from housepredict.adapters.postgres.connections import Database, ImpatientConnection
from housepredict.domain.errors import MisconfiguredRepository, RefusedPredictions, RepositoryUnavailable

_log = logging.getLogger(__name__)

_PATIENCE = 5.0
_PAUSE = 0.5  # seconds between attempts

# The schemas that may matter, those of the search path first. It reads the catalog alone: another program may have a
# ledger of yoyo's, too, which this role must not read.
_SCHEMAS = """
SELECT
    nspname,
    nspname = ANY (current_schemas(false)) AS in_path,
    to_regclass(format('%I._yoyo_migration', nspname)) IS NOT NULL
        AND coalesce(names @> '{features,model_version}', false) AS ours,
    coalesce(names = '{age,bedrooms,created_at,id,predicted_price,size}', false) AS tutorials
FROM pg_namespace, LATERAL (
    SELECT array_agg(attname::text ORDER BY attname) FROM pg_attribute
    WHERE attrelid = to_regclass(format('%I.predictions', nspname)) AND attnum > 0 AND NOT attisdropped
) AS columns_of_predictions (names)
WHERE has_schema_privilege(oid, 'USAGE') AND (names IS NOT NULL OR nspname = ANY (current_schemas(false)))
ORDER BY array_position(current_schemas(false), nspname), nspname
"""
_APPLIED = "SELECT migration_id FROM {schema}._yoyo_migration"
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
    ours: bool
    tutorials: bool
    """Whether the tutorial's table of predictions is there, as it seems; its migration looks closely."""


def migrate(database: Database) -> Database:
    """Apply the migrations that the database lacks, all or none; the same database, with the schema of its tables.

    Without a schema, that is the first of the search path that has them, else that has the tutorial's, else the only
    schema that has them, else the current one. Where nothing is to be done this takes two queries, and no right but to
    read.

    Raises RepositoryUnavailable, or MisconfiguredRepository for tables that are somebody else's, for several schemas
    with tables outside the search path, or for a role without the rights that it takes.
    """
    with _misconfigured(database), database.translated(), closing(database.connect(_PATIENCE)) as connection:
        if database.schema is None:
            database = evolve(database, schema=_schema(database, connection))
            connection.schema = database.quoted_schema
        if lacking(connection):
            # here, because most starts have no need of it
            from housepredict.adapters.postgres.yoyo_backend import apply_migrations

            apply_migrations(database)
    return database


def migrate_once_it_answers(conninfo: str, seconds: float, *, schema: str | None = None) -> None:
    """As `migrate`, for a server that may be starting: it has so long to answer."""
    database, deadline = Database.at(conninfo, schema=schema), time.monotonic() + seconds
    while True:
        try:
            migrate(database)
        except MisconfiguredRepository:
            raise
        except RepositoryUnavailable:
            if time.monotonic() >= deadline:
                raise
        else:
            return
        time.sleep(_PAUSE)


def lacking(connection: ImpatientConnection) -> Sequence[str]:
    """The SQL of the migrations that the connection's schema lacks."""
    try:
        applied = {f"{name}.sql" for (name,) in connection.execute(_APPLIED)}
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        applied = set()
    files = resources.files(__package__).joinpath("sql").iterdir()
    return [file.read_text(encoding="utf-8") for file in files if file.name not in applied]


def require_room(database: Database, connection: ImpatientConnection, migrations: Sequence[str]) -> None:
    """Raise MisconfiguredRepository, naming everything that has a name which these migrations need."""
    names = {name for migration in migrations for name in _MADE.findall(migration)}
    if "predictions" in names and any(each.tutorials for each in _schemas(connection) if each.name == database.schema):
        names = names - {"predictions"} | {"predictions_lab"}  # to which it is renamed
    found = connection.execute(_IN_THE_WAY, {"schema": database.schema, "names": sorted(names)}).fetchall()
    if found:
        things = " and ".join(f'{"an" if kind == "index" else "a"} {kind} "{name}"' for kind, name in found)
        raise MisconfiguredRepository(
            f"in the schema {database.quoted_schema} of PostgreSQL at {database.place} there is {things} that neither"
            f" housepredict nor the tutorial made. Rename {'it' if len(found) == 1 else 'them'}, or give housepredict a"
            " schema of its own with HOUSEPREDICT_DATABASE_SCHEMA. Nothing was changed."
        )


def _schemas(connection: ImpatientConnection) -> list[_Schema]:
    return [_Schema(*row) for row in connection.execute(_SCHEMAS)]


def _schema(database: Database, connection: ImpatientConnection) -> str:
    schemas = _schemas(connection)
    path = [each for each in schemas if each.in_path]
    for each in (*(each for each in path if each.ours), *(each for each in path if each.tutorials)):
        return each.name
    elsewhere = [each.name for each in schemas if each.ours]
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


@contextmanager
def _misconfigured(database: Database) -> Iterator[None]:
    """Raise MisconfiguredRepository where waiting helps nothing."""
    try:
        yield
    except RefusedPredictions as error:  # there are none: what a migration raises is about what it found
        raise MisconfiguredRepository(str(error)) from error
    except RepositoryUnavailable as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            raise MisconfiguredRepository(
                f"{error}. Nothing was changed. Run `housepredict migrate` once as a role that owns the tables, or may"
                f" create them in the schema {database.schema or 'that it uses'}, and grant this role the rights to"
                " serve: see docs/how-to/use-postgresql.md"
            ) from error
        raise
