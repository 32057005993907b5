"""A database for each test that asks for one, on a server that is started once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.conftest import POSTGRES_SERVER

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_server(pytestconfig: pytest.Config) -> Iterator[str]:
    """The conninfo of a running server's administrator."""
    with pytestconfig.stash[POSTGRES_SERVER].running() as conninfo:
        yield conninfo


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The conninfo of an empty database, the administrator's."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
        yield make_conninfo(postgres_server, dbname=name)
        administrator.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
