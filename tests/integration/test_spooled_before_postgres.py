"""The spool in front of a real PostgreSQL that stops responding or rejects rows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from attrs import evolve
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.spool import Backoff, SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.estimates import Estimate
from housepredict.domain.features import House
from tests.doubles import a_batch
from tests.integration.relay import Relay
from tests.integration.spools import SOON


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def test_unresponsive_database_delays_only_one_append(path: Path, postgres: str, relay: Relay) -> None:
    behind = make_conninfo(postgres, host="127.0.0.1", port=relay.port)
    batch = a_batch(30)
    opened = partial(PostgresPredictions.open, behind, timeout=0.2)
    with SpooledPredictions.open(SqliteSpool.open(path), opened, backoff=Backoff(0.01, 0.2)) as predictions:
        assert predictions.drained(SOON)
        predictions.append(batch[:1])
        relay.freeze()
        for each in batch[1:]:
            predictions.append([each])
        assert predictions.backlog().pending == 29
        relay.thaw()
        assert predictions.drained(SOON)
        assert not predictions.backlog()
    with PostgresPredictions.open(postgres) as stored:
        assert stored.recent(100) == batch[::-1]


def test_row_rejected_by_postgresql_becomes_dead_letter(path: Path, postgres: str) -> None:
    first, poison, last = a_batch(3)
    poison = evolve(poison, estimate=Estimate(House({"text": "a\0b"}), 1.0, "a version"))
    with SpooledPredictions.open(SqliteSpool.open(path), partial(PostgresPredictions.open, postgres)) as predictions:
        assert predictions.drained(SOON)
        predictions.append([first, poison, last])
        assert predictions.drained(SOON)
        assert predictions.backlog().dead_letters == 1
        with PostgresPredictions.open(postgres) as stored:
            assert stored.recent(10) == [last, first]
