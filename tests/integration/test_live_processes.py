"""Who serves what, in a folder and in a database; and what a database tells of its pointer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from uuid import UUID

import pytest

from housepredict.adapters.directory_processes import DirectoryProcesses
from housepredict.adapters.postgres.announcements import PostgresAnnouncements
from housepredict.adapters.postgres.model_database import ModelDatabase
from housepredict.adapters.postgres.models import PostgresModels
from housepredict.adapters.postgres.processes import PostgresProcesses
from housepredict.domain.errors import ModelStoreUnavailable
from housepredict.domain.processes import LiveProcess
from housepredict.testing.processes import LiveProcessesContract, NewProcesses
from housepredict.testing.versions import a_version
from tests.postgres_servers import Server

SOME = LiveProcess(UUID(int=1), "host", 7, "v1", 3)
LONG = 60.0  # seconds, which nobody waits for


class TestDirectoryProcesses(LiveProcessesContract):
    @pytest.fixture
    def new_processes(self, tmp_path: Path) -> NewProcesses:
        def made() -> DirectoryProcesses:
            self._last = DirectoryProcesses(Path(tempfile.mkdtemp(dir=tmp_path)) / "processes")
            return self._last

        return made

    @pytest.fixture
    def silent(self) -> NewProcesses:
        return lambda: DirectoryProcesses(self._last.path, lasts=-1)


class TestPostgresProcesses(LiveProcessesContract):
    @pytest.fixture
    def new_processes(self, server: ModelDatabase) -> NewProcesses:
        def emptied() -> PostgresProcesses:
            with server.asked() as connection:
                connection.execute("TRUNCATE live_processes")
            return PostgresProcesses(server)

        return emptied

    @pytest.fixture
    def silent(self, server: ModelDatabase) -> NewProcesses:
        return lambda: PostgresProcesses(server, lasts=-1)


@pytest.fixture
def server(postgres: str) -> Iterator[ModelDatabase]:
    made = ModelDatabase.at(postgres)
    yield made
    made.close()


def test_what_others_left_in_a_folder_long_ago_is_removed(tmp_path: Path) -> None:
    seconds = [1e9]
    kept = DirectoryProcesses(tmp_path / "processes", time=lambda: seconds[0])
    kept.tell(SOME)
    for name in "half.json", "half.tmp":
        (kept.path / name).write_text("{")
    assert list(kept.alive()) == [SOME]
    assert kept.path.stat().st_mode & 0o777 == 0o700
    seconds[0] = 1e11
    kept.leave(UUID(int=9))
    kept.tell(SOME)
    assert [file.name for file in kept.path.iterdir()] == []


def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelStoreUnavailable, match="who serves"):
        DirectoryProcesses(tmp_path / "file" / "processes").tell(SOME)


def test_a_database_that_is_down_is_unavailable(stoppable: Server) -> None:
    server = ModelDatabase.at(stoppable.conninfo)
    kept = PostgresProcesses(server)
    kept.tell(SOME)
    stoppable.stop()
    for ask in kept.alive, lambda: kept.tell(SOME), lambda: kept.leave(SOME.id):
        with pytest.raises(ModelStoreUnavailable, match="PostgreSQL at"):
            ask()
    stoppable.start()
    kept.tell(SOME)
    assert list(kept.alive()) == [SOME]
    server.close()


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
        models.add(*a_version(name))
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
    models.add(*a_version("heard"))
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
