"""The documented privileges are sufficient for their purpose, and no others are needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import LiteralString, cast

import httpx2
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.prediction_keys import PostgresKeys
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.postgres.recorded_sales import PostgresSales
from housepredict.adapters.system import SystemClock
from housepredict.domain.usecases.manage_records import Records
from tests.integration.load import url
from tests.integration.services import LAB_HOUSE, finished, running
from tests.integration.test_postgres_migrations import LAB_TABLE

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-postgresql.md"
TO_SERVE, TO_ERASE, TO_TRAIN = (
    cast("LiteralString", each)
    for each in re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
)
OLD = "00000000-0000-7000-8000-000000000001"


@pytest.fixture
def role(postgres: str, administrator: psycopg.Connection) -> Iterator[str]:
    """Yield the conninfo of a role without privileges, in a database with all tables, including the tutorial's."""
    administrator.execute(LAB_TABLE)
    PostgresPredictions.open(postgres).close()
    administrator.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    administrator.execute("CREATE ROLE housepredict LOGIN PASSWORD 'clerk'")
    yield make_conninfo(postgres, user="housepredict", password="clerk")
    administrator.execute("DROP OWNED BY housepredict; DROP ROLE housepredict")


def test_documented_privileges_are_sufficient(administrator: psycopg.Connection, role: str, tmp_path: Path) -> None:
    administrator.execute(TO_SERVE)
    database = {"HOUSEPREDICT_DATABASE_URL": url(role)}
    with running(tmp_path, "--demo", **database) as service, httpx2.Client(base_url=service.url) as client:
        keyed = {"Idempotency-Key": "a-key"}
        estimates = [client.post("/predict", json=LAB_HOUSE, headers=keyed) for _ in range(2)]
        assert [each.status_code for each in estimates] == [200, 200], estimates[0].text
        identifier = estimates[0].json()["id"]
        sale = {"price": 250_000, "date": "2025-06-02"}
        sold = client.post(f"/predictions/{identifier}/sale", json=sale, headers=keyed)
        assert sold.status_code == 201, sold.text
        for path in ("/predictions", f"/predictions/{identifier}", "/accuracy", "/models", "/trainings"):
            assert client.get(path).status_code == 200, path
        assert client.delete(f"/predictions/{identifier}").status_code == 503

        administrator.execute(TO_ERASE)
        for each in (identifier, "2"):
            assert client.delete(f"/predictions/{each}").status_code == 204

    with (
        PostgresPredictions.open(role) as predictions,
        closing(PostgresSales.at(role)) as sales,
        closing(PostgresKeys.at(role)) as keys,
    ):
        Records(predictions, sales, SystemClock(), keys).prune(timedelta(0))
    for table in ("predictions", "prediction_keys", "sales", "predictions_lab"):
        assert administrator.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)], table

    training = ("-m", "housepredict", "train", "--synthetic", "--data-dir", str(tmp_path / "data"))
    assert finished(*training, **database).returncode != 0
    administrator.execute(TO_TRAIN)
    trained = finished(*training, **database)
    assert trained.returncode == 0, trained.stderr
