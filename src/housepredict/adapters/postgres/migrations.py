"""Brings a database's tables up to date when a service starts, however many replicas start with it."""

from __future__ import annotations

import time
from importlib import resources

import psycopg

from housepredict.adapters.postgres.connections import Database, ImpatientConnection
from housepredict.domain.errors import MisconfiguredRepository, RefusedPredictions, RepositoryUnavailable

_PATIENCE = 5.0
_PAUSE = 0.5  # seconds between attempts


def migrate(database: Database) -> None:
    """Apply the migrations that the database lacks, all or none. Raises RepositoryUnavailable,
    or MisconfiguredRepository for a database whose tables are somebody else's.

    Where nothing is to be done this takes one query, and no right but to read.
    """
    try:
        with database.translated():
            if _lacking(database):
                # here, because most starts have no need of it
                from housepredict.adapters.postgres.yoyo_backend import apply_migrations

                apply_migrations(database.conninfo)
    except RefusedPredictions as error:  # there are none: what a migration raises is about what it found
        raise MisconfiguredRepository(str(error)) from error


def migrate_once_it_answers(conninfo: str, seconds: float) -> None:
    """As `migrate`, for a server that may be starting: it has so long to answer."""
    database, deadline = Database.at(conninfo), time.monotonic() + seconds
    while True:
        try:
            return migrate(database)
        except MisconfiguredRepository:
            raise
        except RepositoryUnavailable:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE)


def _lacking(database: Database) -> bool:
    known = {each.name for each in resources.files(__package__).joinpath("sql").iterdir()}
    with ImpatientConnection.connect(database.conninfo, autocommit=True) as connection:
        connection.patience = _PATIENCE
        try:
            applied = connection.execute("SELECT migration_id FROM _yoyo_migration").fetchall()
        except psycopg.errors.UndefinedTable:
            return True
    return not known <= {f"{name}.sql" for (name,) in applied}
