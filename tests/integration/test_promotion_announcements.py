"""PostgreSQL announces promotions, and followers load the promoted version immediately."""

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

LONG_S = 60.0  # seconds; tests never wait this long


@pytest.fixture
def server(postgres: str) -> Iterator[ModelDatabase]:
    made = ModelDatabase.at(postgres)
    yield made
    made.close()


class Listener(Thread):
    """A thread that waits once for an announcement. The constructor ensures that it is listening."""

    def __init__(self, announcements: PostgresAnnouncements) -> None:
        super().__init__(daemon=True)
        self._announcements = announcements
        announcements.wait(LONG_S)  # connects, and returns immediately
        self.start()

    def run(self) -> None:
        self._announcements.wait(LONG_S)

    def has_woken(self) -> bool:
        self.join(LONG_S / 2)
        return not self.is_alive()


def test_promotions_and_rollbacks_end_the_wait(server: ModelDatabase) -> None:
    models, announcements = PostgresModels(server), PostgresAnnouncements(server)
    for name in "ab":
        models.add(*sample_version(name))
    for move, name in ((models.promote, "a"), (models.promote, "b"), (models.rollback, "a")):
        listener = Listener(announcements)
        move(name)
        assert listener.has_woken()
        announcements.close()


def test_wait_ends_when_announcements_end(server: ModelDatabase) -> None:
    announcements = PostgresAnnouncements(server)
    listener = Listener(announcements)
    announcements.end()
    assert listener.has_woken()
    for _ in range(2):
        announcements.wait(LONG_S)  # later calls return immediately, too
    announcements.close()


def test_wait_ends_and_reconnects_after_lost_connection(stoppable: Server) -> None:
    server = ModelDatabase.at(stoppable.conninfo)
    announcements, models = PostgresAnnouncements(server), PostgresModels(server)
    models.add(*sample_version("heard"))
    announcements.wait(0)
    stoppable.stop()
    announcements.wait(0.01)
    announcements.wait(0.01)  # there is no server to connect to
    stoppable.start()
    listener = Listener(announcements)
    models.promote("heard")
    assert listener.has_woken()
    announcements.close()
    server.close()


@frozen
class NamedPredictor:
    version: ModelVersion
    _artifact: Artifact

    predict: Any = None


def test_follower_loads_announced_promotions_without_polling(server: ModelDatabase) -> None:
    models, polled = PostgresModels(server), Semaphore(0)
    live = LiveModel(models, NamedPredictor)
    follower = Follower(live, polled.release, PostgresAnnouncements(server), poll_interval_s=LONG_S)
    follower.start()
    for generation, name in enumerate(("one", "two"), 1):
        models.add(*sample_version(name))
        models.promote(name)
        while live.serving is None or live.serving.generation != generation:
            assert polled.acquire(timeout=LONG_S / 2)
        assert live.serving.version.name == name
    follower.close()
