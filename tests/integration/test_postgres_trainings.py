"""The log of trainings in PostgreSQL: the contract, and outages."""

from __future__ import annotations

import psycopg
import pytest

from housepredict.adapters.postgres.connections import Database
from housepredict.adapters.postgres.trainings import PostgresTrainings
from housepredict.domain.errors import ModelStoreUnavailable
from housepredict.domain.ports import TrainingLog
from housepredict.testing.trainings import NewLog, TrainingLogContract, a_training
from tests.postgres_servers import Server


class TestPostgresTrainings(TrainingLogContract):
    @pytest.fixture
    def new_log(self, postgres: str) -> NewLog:
        log = PostgresTrainings.at(postgres)

        def emptied() -> PostgresTrainings:
            log.recent(1)  # makes the table
            with psycopg.connect(postgres, autocommit=True) as connection:
                connection.execute("TRUNCATE trainings")
            return log

        return emptied

    def reopen(self, log: TrainingLog) -> TrainingLog:
        assert isinstance(log, PostgresTrainings)
        return PostgresTrainings(log._database)


def test_a_log_that_is_down_is_unavailable_and_tells_again_when_it_is_back(stoppable: Server) -> None:
    database, record = Database.at(stoppable.conninfo), a_training()
    log = PostgresTrainings(database)
    log.begin(record)
    stoppable.stop()
    for ask in lambda: log.get(record.id), lambda: log.cancel(record.id), lambda: log.recent(1):
        with pytest.raises(ModelStoreUnavailable, match="PostgreSQL at"):
            ask()
    with pytest.raises(ModelStoreUnavailable):
        PostgresTrainings(database).recent(1)
    stoppable.start()
    assert log.get(record.id) == record
