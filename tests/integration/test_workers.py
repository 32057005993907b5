"""Worker processes: sharing, replacement and shutdown."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from housepredict.entrypoints.serve import pause_after
from tests.integration.services import (
    LAB_HOUSE,
    PREDICT,
    Service,
    answer_to,
    failing,
    finished,
    get,
    post,
    read_answer,
    running,
    send,
)


@contextmanager
def paused(workers: Sequence[int]) -> Iterator[None]:
    """Pause these processes, so that only others can respond."""
    for each in workers:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in workers:
            os.kill(each, signal.SIGCONT)


class Watch(ExitStack):
    """Process handles that wait for processes to end, which need not be children."""

    def __init__(self, processes: Sequence[int]) -> None:
        super().__init__()
        self._descriptors = [os.pidfd_open(each) for each in processes]
        for each in self._descriptors:
            self.callback(os.close, each)

    def all_ended(self) -> bool:
        return all(select.select([each], [], [], 30)[0] for each in self._descriptors)


def ask_each_worker(service: Service) -> list[str]:
    """Return the id of an estimate from each worker."""
    ids = []
    for worker in service.workers():
        with paused([each for each in service.workers() if each != worker]):
            ids.append(send(service, post(LAB_HOUSE)).document["id"])
    return ids


@pytest.mark.parametrize("database", ["", "postgresql://me@127.0.0.1:1/nowhere"], ids=["SQLite", "spool"])
def test_workers_all_respond_and_share_predictions(tmp_path: Path, database: str) -> None:
    variables = {"HOUSEPREDICT_DATABASE_URL": database, "HOUSEPREDICT_MODELS": "folder"}
    with running(tmp_path, "--demo", "--workers", "3", **variables) as service:
        assert len(service.workers()) == 3
        ids = ask_each_worker(service)
        assert len(ids) == 3
        for _ in ids:
            stored = send(service, get("/predictions")).document["predictions"]
            assert [each["id"] for each in stored] == ids[::-1]


def test_single_worker_runs_in_main_process(tmp_path: Path) -> None:
    with running(tmp_path, "--demo") as service:
        assert service.workers() == []


def test_killed_worker_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", "--workers", "2") as service:
        victim, other = service.workers()
        with Watch([victim]) as watch:
            os.kill(victim, signal.SIGKILL)
            assert watch.all_ended()
        with paused([other]):
            assert send(service, post(LAB_HOUSE)).status == 200
        assert victim not in service.workers()
        assert len(service.workers()) == 2
        assert service.stop() == 0
    assert f"worker {victim} exited with code -9" in service.log.read_text()


def test_restart_pause_grows_with_repeated_deaths() -> None:
    pauses = [pause_after(deaths) for deaths in range(1, 2000)]
    assert pauses[:4] == [0.0, 0.1, 0.2, 0.4]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 15.0


def test_startup_failure_is_reported_once_and_ends_service(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    code, line = failing("--port", "0", "--workers", "3", "--data-dir", str(tmp_path / "data"))
    assert code == 5
    assert "data" in line


def test_first_worker_killed_during_startup_ends_service() -> None:
    killed = """
import os, signal, socket, sys
from housepredict.entrypoints.serve import Supervisor
sys.exit(Supervisor(2, socket.socket(), lambda _: os.kill(os.getpid(), signal.SIGKILL)).run(print))
"""
    ended = finished("-c", killed)
    assert ended.returncode == 1
    assert "the first worker was killed by signal 9" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_later_worker_killed_during_startup_is_replaced(tmp_path: Path) -> None:
    killed = """
import os, pathlib, signal, socket, sys
from housepredict.entrypoints.serve import Supervisor

def work(links):
    if links.slot == 1:
        try:
            pathlib.Path(sys.argv[1]).touch(exist_ok=False)
        except FileExistsError:
            os.kill(os.getppid(), signal.SIGTERM)  # this is the replacement: it has been seen
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    links.announce("ready")
    signal.pause()

sys.exit(Supervisor(2, socket.socket(), work).run(print))
"""
    ended = finished("-c", killed, str(tmp_path / "killed"))
    assert (ended.returncode, ended.stdout) == (0, "ready\n")
    assert "exited with code -9; starting a new one" in ended.stderr


def test_memory_storage_with_workers_is_reported_with_other_errors(tmp_path: Path) -> None:
    where = {"HOUSEPREDICT_DATABASE_URL": "memory:", "HOUSEPREDICT_DRAIN": "soon"}
    code, line = failing("--data-dir", str(tmp_path), "--workers", "2", **where)
    assert code == 2
    assert "HOUSEPREDICT_WORKERS must be 1 with memory:" in line
    assert "HOUSEPREDICT_DRAIN must be a number of seconds from 0 to 3600" in line


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_answers_accepted_requests_of_all_workers(tmp_path: Path, with_signal: int) -> None:
    body = json.dumps(LAB_HOUSE).encode()
    head = PREDICT + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    with running(tmp_path, "--demo", "--workers", "2") as service, ExitStack() as open_ones:
        workers = service.workers()
        watch = open_ones.enter_context(Watch(workers))
        streams = []
        for each in workers:
            with paused([other for other in workers if other != each]):
                connection = open_ones.enter_context(service.connect())
                connection.sendall(head)
                stream = open_ones.enter_context(connection.makefile("rb"))
                assert stream.readline().startswith(b"HTTP/1.1 100")
                assert stream.readline() == b"\r\n"
                streams.append((connection, stream))
        # like Ctrl-C in a terminal, to every process of the group
        for each in [service.process.pid, *(workers if with_signal == signal.SIGINT else ())]:
            os.kill(each, with_signal)
        for connection, stream in streams:
            connection.sendall(body)
            assert read_answer(stream)[0] == 200
        assert service.process.wait(30) == 0
        assert watch.all_ended()
        assert service.process.stdout
        assert service.process.stdout.read() == "", "one greeting is enough"


def test_second_interrupt_stops_immediately(tmp_path: Path) -> None:
    with (
        running(tmp_path, "--demo", "--workers", "2", HOUSEPREDICT_DRAIN="600") as service,
        Watch(service.workers()) as watch,
    ):
        service.process.send_signal(signal.SIGINT)
        while send(service, get("/health/ready")).document["status"] != "stopping":
            pass
        assert service.stop(signal.SIGINT) == 0
        assert watch.all_ended()


def test_workers_end_when_supervisor_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", "--workers", "2") as service, service.connect() as connection:
        assert answer_to(connection, post(LAB_HOUSE))[0] == 200
        with Watch(service.workers()) as watch:
            assert service.stop(signal.SIGKILL) == -signal.SIGKILL
            assert watch.all_ended()
