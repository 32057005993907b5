"""PostgreSQL behind pgbouncer, which gives each transaction another connection."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from socket import create_connection, create_server
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from housepredict.adapters.postgres.repository import PostgresPredictions
from housepredict.domain.errors import RepositoryUnavailable, TrainingInProgress
from housepredict.domain.estimates import Prediction
from housepredict.entrypoints.bootstrap import Application
from housepredict.entrypoints.settings import Settings
from tests.doubles import a_batch

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="there is no pgbouncer: install it to test a pool in front of PostgreSQL"
)


@pytest.fixture
def pool(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a pgbouncer in front of the database, with two connections for all who come."""
    assert PGBOUNCER
    with psycopg.connect(postgres) as connection:
        info = connection.info
        server = f"host={info.host} port={info.port} dbname={info.dbname} user={info.user} password={info.password}"
    with closing(create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    configuration = Path(tmp_path_factory.mktemp("pgbouncer")) / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\npooled = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        "unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 2\n"
    )
    for folder in (configuration, *configuration.parents[:3]):
        folder.chmod(0o755)  # it will not run as root, and has to read this
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


def url_of(conninfo: str) -> str:
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(conninfo).items()}
    return "postgresql://?" + "&".join(f"{name}={value}" for name, value in parts.items())


def busy(repositories: list[PostgresPredictions]) -> list[Prediction]:
    """Have all of them append and read at once; what was appended."""
    batches = [a_batch(3) for _ in range(60)]

    def work(number: int) -> None:
        repository = repositories[number % len(repositories)]
        repository.append(batches[number])
        assert list(repository.find([each.id for each in batches[number]])) == batches[number]

    with ThreadPoolExecutor(8) as threads:
        for each in [threads.submit(work, number) for number in range(len(batches))]:
            each.result()
    return [each for batch in batches for each in batch]


def test_more_processes_than_connections_record_and_read(pool: str, postgres: str) -> None:
    with ExitStack() as resources:
        repositories = [resources.enter_context(PostgresPredictions.open(pool, direct=postgres)) for _ in range(4)]
        appended = busy(repositories)
        assert sorted(repositories[0].recent(1000), key=lambda each: each.id) == sorted(
            appended, key=lambda each: each.id
        )
        assert repositories[1].erase([appended[0].id]) == 1
        repositories[2].check()


def test_without_the_direct_way_it_is_seen_to_fail(pool: str) -> None:
    with ExitStack() as resources, pytest.raises(RepositoryUnavailable, match="prepared statement"):
        busy([resources.enter_context(PostgresPredictions.open(pool)) for _ in range(4)])


def test_what_locks_goes_to_the_server_itself(pool: str, postgres: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=pool, database_direct_url=url_of(postgres), demo=True)
    with Application(settings) as one, Application(settings) as other:
        assert one.migrate(0)
        prediction = one.predict.one({"size": 2500, "bedrooms": 3, "age": 10})
        returned = other.record_sales.one({"prediction": prediction.id, "price": 250_000, "date": "2025-06-02"})
        assert returned.prediction == prediction
        with one.models.training(), pytest.raises(TrainingInProgress), other.models.training():
            pass
        with other.models.training():
            pass
