"""PostgreSQL behind pgbouncer, which may use another connection for each transaction."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.domain.errors import RepositoryUnavailable, TrainingInProgress
from housepredict.domain.estimates import Prediction
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import Settings
from tests.doubles import a_batch
from tests.pool.conftest import PGBOUNCER

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="there is no pgbouncer: install it to test a pool in front of PostgreSQL"
)


def url_of(conninfo: str) -> str:
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(conninfo).items()}
    return "postgresql://?" + "&".join(f"{name}={value}" for name, value in parts.items())


def append_concurrently(repositories: list[PostgresPredictions]) -> list[Prediction]:
    """Append and read with all repositories concurrently. Returns the appended predictions."""
    batches = [a_batch(3) for _ in range(60)]

    def work(number: int) -> None:
        repository = repositories[number % len(repositories)]
        repository.append(batches[number])
        assert list(repository.find([each.id for each in batches[number]])) == batches[number]

    with ThreadPoolExecutor(8) as threads:
        for each in [threads.submit(work, number) for number in range(len(batches))]:
            each.result()
    return [each for batch in batches for each in batch]


def test_processes_can_outnumber_pool_connections(pool: str, postgres: str) -> None:
    with ExitStack() as resources:
        repositories = [resources.enter_context(PostgresPredictions.open(pool, direct=postgres)) for _ in range(4)]
        appended = append_concurrently(repositories)
        assert sorted(repositories[0].recent(1000), key=lambda each: each.id) == sorted(
            appended, key=lambda each: each.id
        )
        assert repositories[1].erase([appended[0].id]) == 1
        repositories[2].check()


def test_pool_without_direct_url_fails(pool: str) -> None:
    with ExitStack() as resources, pytest.raises(RepositoryUnavailable, match="prepared statement"):
        append_concurrently([resources.enter_context(PostgresPredictions.open(pool)) for _ in range(4)])


def test_locks_use_the_direct_connection(pool: str, postgres: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=pool, database_direct_url=url_of(postgres), demo=True)
    with Application(settings) as one, Application(settings) as other:
        assert one.storage.migrate(0)
        prediction = one.predict.one({"size": 2500, "bedrooms": 3, "age": 10})
        returned = other.record_sales.one({"prediction": prediction.id, "price": 250_000, "date": "2025-06-02"})
        assert returned.prediction == prediction
        with one.models.training(), pytest.raises(TrainingInProgress), other.models.training():
            pass
        with other.models.training():
            pass
