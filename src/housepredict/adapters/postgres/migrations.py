"""Brings a database's tables up to date when a service starts, however many replicas start with it."""

from __future__ import annotations

from importlib import resources

import psycopg

from housepredict.adapters.postgres.connections import Database


def migrate(database: Database) -> None:
    """Apply the migrations that the database lacks, all or none. Raises RepositoryUnavailable.

    Where nothing is to be done this takes one query, and no right but to read.
    """
    with database.translated():
        if _lacking(database):
            # here, because most starts have no need of it
            from housepredict.adapters.postgres.yoyo_backend import apply_migrations

            apply_migrations(database.conninfo)


def _lacking(database: Database) -> bool:
    known = {each.name for each in resources.files(__package__).joinpath("sql").iterdir()}
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        try:
            applied = connection.execute("SELECT migration_id FROM _yoyo_migration").fetchall()
        except psycopg.errors.UndefinedTable:
            return True
    return not known <= {f"{name}.sql" for (name,) in applied}
