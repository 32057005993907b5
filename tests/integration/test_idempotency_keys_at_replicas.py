"""Two replicas with separate spools get the same idempotency key while one of them is disconnected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import frozen

from housepredict.adapters.memory import InMemoryKeys
from housepredict.adapters.spool import SpooledPredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.idempotency import Delivery
from housepredict.entrypoints.composition import Application
from tests.doubles import a_batch
from tests.http_service import LAB_HOUSE, application, lab_version
from tests.integration.spools import SOON, Behind, spooled

DELIVERY = Delivery("deed-4711", "0" * 64)


@frozen
class Replica:
    """An application, its spool, and its connection to the database."""

    application: Application
    predictions: SpooledPredictions
    way: Behind

    def ask(self) -> tuple[str, float, str]:
        (answer,) = self.application.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
        return str(answer.id), answer.price, answer.estimate.model_version


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[tuple[Replica, Replica]]:
    """Yield two replicas with one database. The second already serves another model version."""
    keys, ways = InMemoryKeys(), (Behind(), Behind())
    ways[1]._by_id = ways[0]._by_id
    with ExitStack() as stack:
        made = []
        for name, way in zip(("one", "two"), ways, strict=True):
            predictions = stack.enter_context(spooled(tmp_path / f"{name}.sqlite", way))
            assert predictions.drained(SOON)
            replica = application(lab_version(name))
            replica.storage.predictions, replica.storage.prediction_keys = predictions, keys
            made.append(Replica(replica, predictions, way))
        yield made[0], made[1]


def test_replica_cut_off_after_storing_key_replays_other_response(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    one.way.down = True
    with pytest.raises(RepositoryUnavailable):
        one.ask()
    assert one.predictions.backlog().pending == 0
    answer = two.ask()
    one.way.down = False
    assert one.predictions.drained(SOON)
    assert one.ask() == two.ask() == answer
    assert answer[-1] == "two"


def test_replica_cut_off_after_commit_replays_same_response(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    one.way.unsure = True
    with pytest.raises(RepositoryUnavailable):
        one.ask()
    assert two.ask()[-1] == "one"
    assert one.predictions.drained(SOON)
    assert one.ask() == two.ask()


def test_replica_with_pending_spool_answers_key_from_database(replicas: tuple[Replica, Replica]) -> None:
    one, two = replicas
    with one.predictions._spool.draining():  # so that it cannot drain yet
        one.way.down = True
        one.predictions.append(a_batch(1))
        one.way.down = False
        answer = one.ask()
        assert one.predictions.backlog().pending == 1
        assert two.ask() == answer
    assert one.predictions.drained(SOON)


def test_rejected_prediction_becomes_dead_letter_and_is_found(replicas: tuple[Replica, Replica]) -> None:
    one, _ = replicas
    (poison,) = a_batch(1)
    one.way.refused.add(poison.id)
    one.predictions.append_shared([poison])
    assert one.predictions.drained(SOON)
    assert one.predictions.backlog().dead_letters == 1
    assert list(one.predictions.find([poison.id])) == [poison]
