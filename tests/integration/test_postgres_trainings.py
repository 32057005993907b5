"""The training log in PostgreSQL: contract and outages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from housepredict.adapters.postgres.training_log import PostgresTrainings
from housepredict.domain.errors import ModelStoreUnavailable, UnknownTraining
from housepredict.domain.ports import TrainingLog
from housepredict.domain.training_status import TrainingStatus
from housepredict.testing.training_contract import NewLog, TrainingLogContract, sample_training
from tests.postgres_servers import Server


class TestPostgresTrainings(TrainingLogContract):
    @pytest.fixture
    def new_log(self, postgres: str) -> Iterator[NewLog]:
        server, self._other = ModelDatabase.at(postgres), ModelDatabase.at(postgres)

        def emptied() -> PostgresTrainings:
            with server.session() as connection:
                connection.execute("TRUNCATE trainings")
            return PostgresTrainings(server)

        with closing(server), closing(self._other):
            yield emptied

    def reopen(self, log: TrainingLog) -> TrainingLog:
        return PostgresTrainings(self._other)


def test_log_is_unavailable_until_server_returns(stoppable: Server) -> None:
    server, record = ModelDatabase.at(stoppable.conninfo), sample_training()
    log = PostgresTrainings(server)
    log.begin(record)
    stoppable.stop()
    for ask in (
        lambda: log.get(record.id),
        lambda: log.change(record.id, TrainingStatus.request_cancellation),
        lambda: log.recent(1),
    ):
        with pytest.raises(ModelStoreUnavailable, match="PostgreSQL at"):
            ask()
    stoppable.start()
    assert log.get(record.id) == record
    server.close()


def test_damaged_row_is_reported_and_skipped(postgres: str, caplog: pytest.LogCaptureFixture) -> None:
    with closing(ModelDatabase.at(postgres)) as server:
        log, damaged, sound = PostgresTrainings(server), sample_training(), sample_training()
        log.begin(damaged)
        log.begin(sound)
        with server.session() as connection:
            connection.execute("ALTER TABLE trainings DROP CONSTRAINT trainings_state_check")
            connection.execute("UPDATE trainings SET state = 'paused' WHERE id = %s", (damaged.id,))
        with pytest.raises(UnknownTraining, match="'paused' is unknown to this release"):
            log.get(damaged.id)
        assert list(log.recent(10)) == [sound]
    assert "'paused' is unknown to this release" in caplog.text
