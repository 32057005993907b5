"""Session settings of a database, a role or the environment affect neither values nor timeouts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from housepredict.adapters.postgres.prediction_keys import PostgresKeys
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.postgres.recorded_sales import PostgresSales
from housepredict.adapters.postgres.training_log import PostgresTrainings
from housepredict.domain.ports import TrainingLog
from housepredict.testing.prediction_contract import AnotherKeys, PredictionKeysContract, PredictionRepositoryContract
from housepredict.testing.sale_contract import Another as AnotherOfSales
from housepredict.testing.sale_contract import SaleRepositoryContract
from housepredict.testing.training_contract import NewLog, TrainingLogContract
from tests.integration.every_route import check_every_route
from tests.integration.load import url

HOSTILE_SETTINGS = {
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kolkata",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "lock_timeout": "1ms",
    "statement_timeout": "40ms",
    "idle_in_transaction_session_timeout": "20ms",
    "idle_session_timeout": "900ms",
    "search_path": "",
}
NEW_DATABASE_SETTINGS = {
    "DateStyle": "German",
    "client_encoding": "WIN1252",
    "TimeZone": "<+03>-03",
    "search_path": "nowhere, public",
}
VARIABLES = {
    "PGDATESTYLE": "Postgres, DMY",
    "PGTZ": "America/St_Johns",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGOPTIONS": "-c extra_float_digits=-15 -c bytea_output=escape -c IntervalStyle=iso_8601 -c lock_timeout=1",
}


def alter_settings(place: str, settings: dict[str, str], conninfo: str) -> None:
    """Apply the settings to all new sessions of the `DATABASE` or the `ROLE` named in the conninfo."""
    with psycopg.connect(conninfo, autocommit=True) as administrator:
        name = administrator.info.dbname if place == "DATABASE" else administrator.info.user
        for setting, value in settings.items():
            administrator.execute(
                sql.SQL("ALTER {} {} SET {} = {}").format(
                    sql.SQL("DATABASE" if place == "DATABASE" else "ROLE"),
                    sql.Identifier(name),
                    sql.Identifier(setting),
                    sql.Literal(value),
                )
            )


@pytest.fixture
def hostile(postgres: str) -> str:
    """Return a database with tables and hostile session settings."""
    PostgresPredictions.open(postgres).close()
    alter_settings("DATABASE", HOSTILE_SETTINGS, postgres)
    return postgres


class TestPredictionsInHostileSessions(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, hostile: str) -> Iterator[PostgresPredictions]:
        with PostgresPredictions.open(hostile) as repository:
            yield repository


class TestSalesInHostileSessions(SaleRepositoryContract):
    @pytest.fixture
    def repository(self, hostile: str) -> Iterator[PostgresSales]:
        with closing(PostgresSales.at(hostile)) as repository:
            yield repository

    @pytest.fixture
    def another(self, hostile: str) -> AnotherOfSales:
        return lambda: closing(PostgresSales.at(hostile))


class TestKeysInHostileSessions(PredictionKeysContract):
    @pytest.fixture
    def keys(self, hostile: str) -> Iterator[PostgresKeys]:
        with closing(PostgresKeys.at(hostile)) as keys:
            yield keys

    @pytest.fixture
    def another(self, hostile: str) -> AnotherKeys:
        return lambda: closing(PostgresKeys.at(hostile))


class TestTrainingsInHostileSessions(TrainingLogContract):
    @pytest.fixture
    def new_log(self, hostile: str) -> Iterator[NewLog]:
        server, self._other = ModelDatabase.at(hostile), ModelDatabase.at(hostile)

        def emptied() -> PostgresTrainings:
            with server.session() as connection:
                connection.execute("TRUNCATE {schema}.trainings")
            return PostgresTrainings(server)

        with closing(server), closing(self._other):
            yield emptied

    def reopen(self, log: TrainingLog) -> TrainingLog:
        return PostgresTrainings(self._other)


def test_service_ignores_database_settings(postgres: str, tmp_path: Path) -> None:
    PostgresPredictions.open(postgres).close()
    alter_settings("DATABASE", HOSTILE_SETTINGS, postgres)
    check_every_route(tmp_path, HOUSEPREDICT_DATABASE_URL=url(postgres))


def test_service_ignores_new_database_settings_and_variables(postgres: str, tmp_path: Path) -> None:
    alter_settings("DATABASE", NEW_DATABASE_SETTINGS, postgres)
    check_every_route(tmp_path, HOUSEPREDICT_DATABASE_URL=url(postgres), **VARIABLES)
