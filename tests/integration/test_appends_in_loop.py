"""Appends from an event loop store everything, whatever fails, and never block the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from threading import current_thread
from typing import Any

import psycopg
import pytest
from attrs import define, evolve
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.spool import SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.errors import RefusedPredictions, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import House
from housepredict.domain.ports import PredictionRepository
from housepredict.testing.prediction_contract import Another, PredictionRepositoryContract
from tests.doubles import a_batch
from tests.in_loop import Done, InLoop, append_in_loop
from tests.integration.relay import Relay
from tests.integration.spools import SOON, Behind, spooled


class TestPostgresInLoop(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, postgres: str) -> Iterator[PredictionRepository]:
        with PostgresPredictions.open(postgres) as repository:
            yield InLoop(repository)

    @pytest.fixture
    def another(self, postgres: str, repository: PredictionRepository) -> Iterator[Another]:
        with PostgresPredictions.open(postgres) as other:
            yield lambda: nullcontext(InLoop(other))


class TestSpoolBeforePostgresInLoop(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, postgres: str, tmp_path: Path) -> Iterator[PredictionRepository]:
        spool = SqliteSpool.open(tmp_path / "spool.sqlite")
        with SpooledPredictions.open(spool, lambda: PostgresPredictions.open(postgres)) as repository:
            assert repository.drained(SOON)
            yield InLoop(repository)


@pytest.fixture
def predictions(postgres: str) -> Iterator[PostgresPredictions]:
    with PostgresPredictions.open(postgres, timeout=1) as predictions:
        yield predictions


def ignore(error: Exception | None) -> None:
    """Ignore the outcome."""


def behind(relay: Relay, postgres: str, timeout: float) -> PostgresPredictions:
    return PostgresPredictions.open(make_conninfo(postgres, host="127.0.0.1", port=relay.port), timeout=timeout)


def test_append_completes_when_server_responds(postgres: str, relay: Relay) -> None:
    batch = a_batch(3)

    async def scene(predictions: PostgresPredictions) -> None:
        relay.freeze()
        append = asyncio.create_task(append_in_loop(predictions, batch))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not append.done()
        relay.thaw()
        await append

    with behind(relay, postgres, SOON) as predictions:
        asyncio.run(scene(predictions))
        assert predictions.recent(10) == batch[::-1]


def test_append_sends_batch_larger_than_socket_buffers(postgres: str) -> None:
    estimate = evolve(a_batch(1)[0].estimate, house=House({"text": "x" * 20_000}))
    batch = [evolve(each, estimate=estimate) for each in a_batch(1000)]
    with PostgresPredictions.open(postgres, timeout=SOON) as predictions:
        InLoop(predictions).append(batch)
        assert len(predictions.recent(2000)) == 1000


def test_append_in_flight_blocks_other_appends(predictions: PostgresPredictions) -> None:
    first, second, third = a_batch(3)

    async def scene() -> None:
        append = asyncio.create_task(append_in_loop(predictions, [first]))
        await asyncio.sleep(0)
        assert not predictions.append_in_loop([second], ignore)
        await asyncio.gather(append, asyncio.to_thread(predictions.append, [third]))
        await append_in_loop(predictions, [second])

    asyncio.run(scene())
    assert predictions.recent(10) == [third, second, first]


def test_append_rejected_by_server_keeps_connection(predictions: PostgresPredictions) -> None:
    poison, well = a_batch(2)
    poison = evolve(poison, estimate=evolve(poison.estimate, house=House({"text": "\0"})))
    before = predictions._writer._connection

    async def scene() -> None:
        with pytest.raises(RefusedPredictions):
            await append_in_loop(predictions, [poison])
        await append_in_loop(predictions, [well])

    asyncio.run(scene())
    assert predictions._writer._connection is before
    assert predictions.recent(10) == [well]


def test_append_does_not_start_on_lost_connection(postgres: str, predictions: PostgresPredictions) -> None:
    before, after = a_batch(2)

    async def scene() -> None:
        await append_in_loop(predictions, [before])
        await asyncio.to_thread(terminate_other_sessions, postgres)
        assert not predictions.append_in_loop([after], ignore)
        await asyncio.to_thread(predictions.append, [after])
        assert predictions.append_in_loop([after], ignore)

    asyncio.run(scene())
    assert predictions.recent(10) == [after, before]


def test_append_does_not_start_without_free_file_descriptors(predictions: PostgresPredictions) -> None:
    batch = a_batch(1)

    async def scene() -> None:
        limits = getrlimit(RLIMIT_NOFILE)
        os.close(free := os.dup(0))
        setrlimit(RLIMIT_NOFILE, (free, limits[1]))
        try:
            assert not predictions.append_in_loop(batch, ignore)
        finally:
            setrlimit(RLIMIT_NOFILE, limits)
        await append_in_loop(predictions, batch)

    asyncio.run(scene())
    assert predictions.recent(10) == batch


def terminate_other_sessions(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_append_times_out_on_unresponsive_server(postgres: str, relay: Relay) -> None:
    batch = a_batch(2)
    with behind(relay, postgres, 0.1) as predictions:
        relay.freeze()
        with pytest.raises(RepositoryUnavailable, match="does not answer"):
            InLoop(predictions).append(batch)
        relay.thaw()
        predictions.append(batch)
        assert predictions.recent(10) == batch[::-1]


def test_append_of_ended_loop_does_not_block_close(postgres: str) -> None:
    async def scene(repository: PostgresPredictions) -> None:
        assert repository.append_in_loop(a_batch(1), ignore)

    with PostgresPredictions.open(postgres, timeout=0.5) as repository:
        asyncio.run(scene(repository))
    with pytest.raises(RepositoryUnavailable, match="closed"):
        repository.append(a_batch(1))


@define
class Counting:
    """A repository that counts the appends from threads other than the spool's."""

    _repository: Any
    appends: int = 0

    def append(self, predictions: Sequence[Prediction]) -> None:
        self.appends += current_thread().name != "housepredict-spool"
        self._repository.append(predictions)

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        started: bool = self._repository.append_in_loop(predictions, done)
        return started

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)


def test_spool_stores_failed_append_without_retrying_server(postgres: str, relay: Relay, tmp_path: Path) -> None:
    opened: list[Counting] = []

    def open_behind() -> Counting:
        opened.append(Counting(behind(relay, postgres, 0.5)))
        return opened[-1]

    spool = SqliteSpool.open(tmp_path / "spool.sqlite")
    with SpooledPredictions.open(spool, open_behind) as predictions:
        assert predictions.drained(SOON)
        batch = a_batch(2)
        relay.freeze()
        InLoop(predictions).append(batch)
        assert [each.appends for each in opened] == [0]
        assert [each.id for each in spool.recent(10)] == [each.id for each in batch[::-1]]
        relay.thaw()
        assert predictions.drained(SOON)
        assert predictions.recent(10) == batch[::-1]


def test_spool_appends_in_thread_without_loop_support(tmp_path: Path) -> None:
    batch = a_batch(1)
    with spooled(tmp_path / "spool.sqlite", Behind()) as predictions:
        assert predictions.drained(SOON)
        InLoop(predictions).append(batch)
        assert predictions.recent(10) == batch
