"""An append that is begun is an append: whatever comes between, nothing is lost, and nobody waits who may not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from select import select
from typing import Any

import psycopg
import pytest
from attrs import define, evolve
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.repository import PostgresPredictions
from housepredict.adapters.spooled.repository import SpooledPredictions
from housepredict.adapters.sqlite_spool import SqliteSpool
from housepredict.domain.errors import RefusedPredictions, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import House
from housepredict.domain.ports import Appending, PredictionRepository
from housepredict.testing.prediction_machine import Another
from housepredict.testing.predictions import PredictionRepositoryContract
from tests.begun import Begun
from tests.doubles import a_batch
from tests.integration.relay import Relay
from tests.integration.spools import SOON, Behind, spooled


class TestBegunInPostgres(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, postgres: str) -> Iterator[PredictionRepository]:
        with PostgresPredictions.open(postgres) as repository:
            yield Begun(repository)

    @pytest.fixture
    def another(self, postgres: str, repository: PredictionRepository) -> Iterator[Another]:
        with PostgresPredictions.open(postgres) as other:
            yield lambda: nullcontext(Begun(other))


class TestBegunBeforePostgres(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, postgres: str, tmp_path: Path) -> Iterator[PredictionRepository]:
        spool = SqliteSpool.open(tmp_path / "spool.sqlite")
        with SpooledPredictions.open(spool, lambda: PostgresPredictions.open(postgres)) as repository:
            assert repository.drained(SOON)
            yield Begun(repository)


@pytest.fixture
def predictions(postgres: str) -> Iterator[PostgresPredictions]:
    with PostgresPredictions.open(postgres, timeout=1) as predictions:
        yield predictions


def begun(repository: PostgresPredictions | SpooledPredictions, batch: list[Prediction]) -> Appending:
    """Begin it, as soon as whoever empties the spool has had a look at it."""
    gives_up = time.monotonic() + SOON
    while (appending := repository.begin(batch)) is None:
        assert time.monotonic() < gives_up
    return appending


def finish(appending: Appending) -> None:
    """Ask until it is done. Raises what it raises."""
    done = False
    while not done:
        select([appending], [] if appending.is_sent() else [appending], [], 1)
        done = appending.is_done()


def test_it_is_recorded_when_it_is_done_and_not_before_the_server_says_so(predictions: PostgresPredictions) -> None:
    batch = a_batch(3)
    appending = begun(predictions, batch)
    finish(appending)
    assert predictions.recent(10) == batch[::-1]


def test_more_than_fits_into_the_connection_is_sent_bit_by_bit(postgres: str) -> None:
    estimate = evolve(a_batch(1)[0].estimate, house=House({"text": "x" * 20_000}))
    batch = [evolve(each, estimate=estimate) for each in a_batch(1000)]
    with PostgresPredictions.open(postgres, timeout=SOON) as predictions:
        finish(begun(predictions, batch))
        assert len(predictions.recent(2000)) == 1000


def test_while_one_is_under_way_others_are_not_begun_and_wait_for_it_if_they_may(
    predictions: PostgresPredictions,
) -> None:
    first, second, third = a_batch(3)
    appending = begun(predictions, [first])
    assert predictions.begin([second]) is None
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(predictions.append, [third])
        finish(appending)
        waiting.result(SOON)
    finish(begun(predictions, [second]))
    assert predictions.recent(10) == [third, second, first]


def test_what_the_server_refuses_says_so_and_leaves_the_connection_as_it_was(predictions: PostgresPredictions) -> None:
    poison, well = a_batch(2)
    poison = evolve(poison, estimate=evolve(poison.estimate, house=House({"text": "\0"})))
    appending = begun(predictions, [poison])
    with pytest.raises(RefusedPredictions):
        finish(appending)
    after = begun(predictions, [well])
    finish(after)
    assert after.connection is appending.connection
    assert predictions.recent(10) == [well]


def test_a_connection_that_is_gone_is_left_to_who_may_wait_for_another(
    postgres: str, predictions: PostgresPredictions
) -> None:
    before, after = a_batch(2)
    finish(appending := begun(predictions, [before]))
    end_others(postgres)
    assert predictions.begin([after]) is None
    predictions.append([after])
    finish(again := begun(predictions, [after]))
    assert again.connection is not appending.connection
    assert predictions.recent(10) == [after, before]


def end_others(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_server_that_says_nothing_is_given_up(postgres: str, relay: Relay) -> None:
    batch = a_batch(2)
    with PostgresPredictions.open(
        make_conninfo(postgres, host="127.0.0.1", port=relay.port), timeout=0.1
    ) as predictions:
        relay.freeze()
        appending = begun(predictions, batch)
        with pytest.raises(RepositoryUnavailable, match="does not answer"):
            finish(appending)
        relay.thaw()
        predictions.append(batch)
        assert predictions.recent(10) == batch[::-1]


@define
class Counting:
    """A repository, and how often it was asked to append something itself."""

    _whole: Any
    appends: int = 0

    def append(self, predictions: Sequence[Prediction]) -> None:
        self.appends += 1
        self._whole.append(predictions)

    def begin(self, predictions: Sequence[Prediction]) -> Appending | None:
        begun: Appending | None = self._whole.begin(predictions)
        return begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


def test_an_append_that_nobody_asks_for_any_more_does_not_keep_the_repository_open(postgres: str) -> None:
    with PostgresPredictions.open(postgres, timeout=0.5) as predictions:
        begun(predictions, a_batch(1))
    with pytest.raises(RepositoryUnavailable, match="closed"):
        predictions.append(a_batch(1))


def test_after_a_failure_the_spool_takes_the_batch_and_nobody_asks_the_server_again(
    postgres: str, relay: Relay, tmp_path: Path
) -> None:
    behind: list[Counting] = []

    def opened() -> Counting:
        conninfo = make_conninfo(postgres, host="127.0.0.1", port=relay.port)
        behind.append(Counting(PostgresPredictions.open(conninfo, timeout=0.5)))
        return behind[-1]

    spool = SqliteSpool.open(tmp_path / "spool.sqlite")
    with SpooledPredictions.open(spool, opened) as predictions:
        assert predictions.drained(SOON)
        batch = a_batch(2)
        relay.freeze()
        appending = begun(predictions, batch)
        with pytest.raises(RepositoryUnavailable):
            finish(appending)
        predictions.append(batch)
        assert [each.appends for each in behind] == [0]
        assert [each.id for each in spool.recent(10)] == [each.id for each in batch[::-1]]
        assert predictions.begin(a_batch(1)) is None
        relay.thaw()
        assert predictions.drained(SOON)
        assert predictions.recent(10) == batch[::-1]


def test_what_cannot_begin_behind_is_appended(tmp_path: Path) -> None:
    batch = a_batch(1)
    with spooled(tmp_path / "spool.sqlite", Behind()) as predictions:
        assert predictions.drained(SOON)
        assert predictions.begin(batch) is None
        predictions.append(batch)
        assert predictions.recent(10) == batch
