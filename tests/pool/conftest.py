"""A pgbouncer in front of PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_connection, create_server

import psycopg
import pytest

from tests.conftest import POOLS
from tests.integration.conftest import another_server, postgres, postgres_server, stoppable

__all__ = ["another_server", "postgres", "postgres_server", "stoppable"]

PGBOUNCER = shutil.which("pgbouncer", path=POOLS)


@contextmanager
def pgbouncer(server: str, folder: Path) -> Iterator[str]:
    """Run a pgbouncer with two connections in front of a server. Yields its URL."""
    assert PGBOUNCER
    with closing(create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\npooled = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
    )
    for each in (configuration, *configuration.parents[:3]):
        each.chmod(0o755)  # pgbouncer does not run as root, and reads this as another user.
    unprivileged = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([PGBOUNCER, *unprivileged, str(configuration)], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        next(line for line in process.stderr if "process up" in line)
        create_connection(("127.0.0.1", port)).close()
        yield f"postgresql://anyone@127.0.0.1:{port}/pooled"
    finally:
        process.terminate()
        process.communicate()


def behind_pool(conninfo: str, **other: object) -> str:
    """Return the connection string of a server in the form that pgbouncer expects."""
    with psycopg.connect(conninfo) as connection:
        info = connection.info
        parts = {"host": info.host, "port": info.port, "dbname": info.dbname, "user": info.user}
        parts |= {"password": info.password} | other
    return " ".join(f"{name}={value}" for name, value in parts.items() if value)


@pytest.fixture
def pool(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a pgbouncer in front of the database."""
    with pgbouncer(behind_pool(postgres), tmp_path_factory.mktemp("pgbouncer")) as url:
        yield url
