"""PostgreSQL announces promotions, and a follower takes them up at once."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Semaphore, Thread
from typing import Any

import pytest
from attrs import frozen

from housepredict.adapters.live_model import Follower, LiveModel
from housepredict.adapters.postgres.model_store import PostgresModels
from housepredict.adapters.postgres.persistent_connection import ModelDatabase, PostgresAnnouncements
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.testing.drawing import sample_version
from tests.postgres_servers import Server

LONG = 60.0  # seconds, which nobody waits for


@pytest.fixture
def server(postgres: str) -> Iterator[ModelDatabase]:
    made = ModelDatabase.at(postgres)
    yield made
    made.close()


class Listener(Thread):
    """Waits once, in a thread, having made sure that it listens."""

    def __init__(self, announcements: PostgresAnnouncements) -> None:
        super().__init__(daemon=True)
        self._announcements = announcements
        announcements.wait(LONG)  # which connects, and returns at once
        self.start()

    def run(self) -> None:
        self._announcements.wait(LONG)

    def heard(self) -> bool:
        self.join(LONG / 2)
        return not self.is_alive()


def test_each_move_of_the_pointer_is_heard(server: ModelDatabase) -> None:
    models, announcements = PostgresModels(server), PostgresAnnouncements(server)
    for name in "ab":
        models.add(*sample_version(name))
    for move, name in ((models.promote, "a"), (models.promote, "b"), (models.rollback, "a")):
        listener = Listener(announcements)
        move(name)
        assert listener.heard()
        announcements.close()


def test_a_wait_ends_when_it_is_told_to(server: ModelDatabase) -> None:
    announcements = PostgresAnnouncements(server)
    listener = Listener(announcements)
    announcements.end()
    assert listener.heard()
    for _ in range(2):
        announcements.wait(LONG)  # and so do all that come
    announcements.close()


def test_a_connection_that_is_lost_ends_the_wait_for_it_and_is_made_anew(stoppable: Server) -> None:
    server = ModelDatabase.at(stoppable.conninfo)
    announcements, models = PostgresAnnouncements(server), PostgresModels(server)
    models.add(*sample_version("heard"))
    announcements.wait(0)
    stoppable.stop()
    announcements.wait(0.01)
    announcements.wait(0.01)  # there is nothing to connect to
    stoppable.start()
    listener = Listener(announcements)
    models.promote("heard")
    assert listener.heard()
    announcements.close()
    server.close()


@frozen
class Named:
    version: ModelVersion
    _artifact: Artifact

    predict: Any = None


def test_follower_takes_up_announced_promotions_without_polling(server: ModelDatabase) -> None:
    models, looked = PostgresModels(server), Semaphore(0)
    live = LiveModel(models, Named)
    follower = Follower(live, looked.release, PostgresAnnouncements(server), poll_interval_s=LONG)
    follower.start()
    for generation, name in enumerate(("one", "two"), 1):
        models.add(*sample_version(name))
        models.promote(name)
        while live.serving is None or live.serving.generation != generation:
            assert looked.acquire(timeout=LONG / 2)
        assert live.serving.version.name == name
    follower.close()
