"""A database for each test that asks for one, on a server that is started once."""

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
    """The conninfo of a running server's administrator."""
    with pytestconfig.stash[POSTGRES_SERVER].running() as server:
        yield server.conninfo


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The conninfo of an empty database, the administrator's."""
    with database(postgres_server) as conninfo:
        yield conninfo


@pytest.fixture
def administrator(postgres: str) -> Iterator[psycopg.Connection]:
    """The administrator's connection to that database."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture
def relay(postgres: str) -> Iterator[Relay]:
    """A relay in front of that database's server."""
    with Relay.before(postgres).running() as relay:
        yield relay


@pytest.fixture(scope="session")
def another_server(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A server for tests that stop it."""
    with pytestconfig.stash[POSTGRES_SERVER].running() as server:
        yield server


@pytest.fixture
def stoppable(another_server: Server) -> Server:
    """A running server to stop."""
    another_server.start()
    return another_server
