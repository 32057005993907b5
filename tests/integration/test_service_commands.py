"""The commands around a service (`health` and `migrate`): results and exit codes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Semaphore, Thread

import psycopg
import pytest

from housepredict.entrypoints.cli.main import main
from tests.integration.load import url
from tests.integration.relay import Relay
from tests.postgres_servers import free_port, unreachable

ALIVE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(autouse=True)
def in_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Yield a port on which a liveness request gets this response."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(65536).startswith(b"GET /health/live HTTP/1.1\r\n")
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Thread(target=serve)
        server.start()
        yield listener.getsockname()[1]
        server.join(10)


class TestHealth:
    @pytest.mark.parametrize(
        ("answer", "code", "output"),
        [
            (ALIVE, 0, "alive\n"),
            (ALIVE.replace(b"200 OK", b"503 Service Unavailable"), 1, "not alive: HTTP status 503\n"),
            (b"220 smtp.example ESMTP\r\n", 1, "no response from 127.0.0.1, port "),
            (b"", 1, "no response from 127.0.0.1, port "),
        ],
        ids=["alive", "not alive", "not HTTP", "closed"],
    )
    def test_health_exit_code_reports_liveness(
        self, answer: bytes, code: int, output: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with answering(answer) as port:
            assert main(["health", "--port", str(port)]) == code
        assert output in "".join(capsys.readouterr())

    def test_health_fails_without_listener(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["health", "--port", str(free_port())]) == 1
        assert "no response from 127.0.0.1" in capsys.readouterr().err

    def test_health_asks_loopback_for_wildcard_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with answering(ALIVE) as port:
            monkeypatch.setenv("HOUSEPREDICT_HOST", "0.0.0.0")
            monkeypatch.setenv("HOUSEPREDICT_PORT", str(port))
            assert main(["health"]) == 0


class TestMigrate:
    def test_migrate_waits_for_starting_server(
        self, postgres: str, relay: Relay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts, reach = Semaphore(0), relay.connect

        def connect() -> socket.socket:
            attempts.release()
            return reach()

        relay.connect = connect
        monkeypatch.setenv("HOUSEPREDICT_DATABASE_URL", url(postgres, host="127.0.0.1", port=str(relay.port)))
        with ThreadPoolExecutor() as pool:
            with unreachable(postgres):
                ended = pool.submit(main, ["migrate", "--wait", "60"])
                for _ in range(2):  # a second attempt shows that the first has failed
                    assert attempts.acquire(timeout=30)
            assert ended.result() == 0

    def test_migrate_does_not_wait_by_default(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOUSEPREDICT_DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/houses")
        assert main(["migrate"]) == 5

    def test_migrate_does_not_wait_for_conflicting_tables(self, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOUSEPREDICT_DATABASE_URL", url(postgres))
        with psycopg.connect(postgres) as connection:
            connection.execute("CREATE TABLE predictions (name text)")
        assert main(["migrate", "--wait", "600"]) == 5

    @pytest.mark.parametrize("database", [None, "memory:"])
    def test_migrate_does_nothing_without_postgresql(
        self, database: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if database:
            monkeypatch.setenv("HOUSEPREDICT_DATABASE_URL", database)
        assert main(["migrate"]) == 0
        assert capsys.readouterr().out == "Nothing to migrate: PostgreSQL is not configured.\n"
