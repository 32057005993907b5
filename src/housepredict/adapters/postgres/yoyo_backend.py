"""yoyo-migrations with what replicas that start together need: a lock that cannot go stale, and one transaction."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Self

import psycopg
from yoyo import internalmigrations, read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration, default_migration_table

from housepredict.adapters.postgres.connections import Database, ImpatientConnection
from housepredict.adapters.postgres.migrations import lacking, require_room

_log = logging.getLogger(__name__)

_LOCK = int.from_bytes(b"housepre")
"""The advisory lock's key: any number, the same for every replica."""


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no annotations
    def connect(self, dburi: DatabaseURI) -> ImpatientConnection:
        database: Database = dburi.args["database"]
        return database.connect(None)

    def copy(self) -> Self:
        # A migration and the note that it was applied go into one transaction, which takes one connection.
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the connection open; see `copy`."""

    def lock(self, timeout: float = 10) -> AbstractContextManager[None]:  # noqa: ARG002
        # yoyo's own lock is a row, which a killed process leaves behind. An advisory lock ends with its connection.
        return nullcontext()

    def ensure_internal_schema_updated(self) -> None:
        """Make yoyo's own tables, in the transaction of the migrations: all or nothing."""
        if internalmigrations.needs_upgrading(self):
            internalmigrations.upgrade(self)

    def log_migration(self, migration: Migration, operation: str) -> None:
        """Leave yoyo's log empty: it wants a user's name, which a container need not have."""


def apply_migrations(database: Database) -> None:
    """Apply what the database lacks, waiting for another process that does.

    Raises what psycopg raises, or MisconfiguredRepository, with nothing changed.
    """
    uri = DatabaseURI("postgresql", None, None, None, None, None, {"database": database})
    backend = _Backend(uri, default_migration_table)
    with closing(backend.connection) as connection:
        connection.add_notice_handler(_warn)
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        migrations = lacking(connection)  # by now: another process may have had the lock
        if not migrations:
            return
        require_room(database, connection, migrations)
        with backend.transaction():
            if connection.execute("SELECT to_regnamespace(%s::text)", (database.quoted_schema,)).fetchone() == (None,):
                connection.execute("CREATE SCHEMA {schema}")
            backend.apply_migrations(backend.to_apply(read_migrations("package:housepredict.adapters.postgres:sql")))
        _log.info("applied %d migrations in the schema %s", len(migrations), database.schema)


def _warn(notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        _log.warning("%s", notice.message_primary)
