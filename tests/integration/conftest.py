"""Fixtures for PostgreSQL: one server per session and one database per test."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import POSTGRES_SERVER
from tests.integration.command_line import run, sales
from tests.integration.relay import Relay
from tests.postgres_servers import Server, database

__all__ = ["run", "sales"]


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[str]:
    """Yield the administrator's conninfo of a running server."""
    with pytestconfig.stash[POSTGRES_SERVER].running() as server:
        yield server.conninfo


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """Yield the administrator's conninfo of an empty database."""
    with database(postgres_server) as conninfo:
        yield conninfo


@pytest.fixture
def administrator(postgres: str) -> Iterator[psycopg.Connection]:
    """Yield the administrator's connection to the test's database."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture
def relay(postgres: str) -> Iterator[Relay]:
    """Yield a relay in front of the test's database server."""
    with Relay.before(postgres).running() as relay:
        yield relay


@pytest.fixture(scope="session")
def another_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """Yield a second server, which tests may stop."""
    with pytestconfig.stash[POSTGRES_SERVER].running() as server:
        yield server


@pytest.fixture
def stoppable(another_server: Server) -> Server:
    """Return a running server that the test may stop."""
    another_server.start()
    return another_server
