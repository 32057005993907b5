"""yoyo-migrations with what replicas that start together need: a lock that cannot go stale, and one transaction."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Self

import psycopg
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import Migration, default_migration_table

_log = logging.getLogger(__name__)

_LOCK = int.from_bytes(b"housepre")
"""The advisory lock's key: any number, the same for every replica."""


class _Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]  # yoyo has no annotations
    def copy(self) -> Self:
        # A migration and the note that it was applied go into one transaction, which takes one connection.
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the connection open; see `copy`."""

    def lock(self, timeout: float = 10) -> AbstractContextManager[None]:  # noqa: ARG002
        # yoyo's own lock is a row, which a killed process leaves behind. An advisory lock ends with its connection.
        return nullcontext()

    def log_migration(self, migration: Migration, operation: str) -> None:
        """Leave yoyo's log empty: it wants a user's name, which a container need not have."""


def apply_migrations(conninfo: str) -> None:
    """Apply what the database lacks, waiting for another process that does. Raises what psycopg raises."""
    # The driver gets the conninfo as it is, whatever its password; yoyo's own URL would have to be put together again.
    uri = DatabaseURI("postgresql", None, None, None, None, None, {"conninfo": conninfo})
    backend = _Backend(uri, default_migration_table)
    with closing(backend.connection):
        backend.connection.add_notice_handler(_warn)
        backend.connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        migrations = backend.to_apply(read_migrations("package:housepredict.adapters.postgres:sql"))
        with backend.transaction():
            backend.apply_migrations(migrations)


def _warn(notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        _log.warning("%s", notice.message_primary)
