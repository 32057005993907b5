"""Databases with an encoding other than UTF-8 are rejected with instructions to convert them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.domain.errors import UnusableDatabase
from housepredict.entrypoints.cli.main import main
from tests.integration.load import eventually, url
from tests.integration.services import LAB_HOUSE, failing, running
from tests.postgres_servers import unreachable

HOW = "`createdb -E UTF8 -T template0"


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def other_encoding(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the conninfo of a database with another encoding."""
    name = f"in_{request.param.lower()}"
    with psycopg.connect(postgres_server, autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name} ENCODING '{request.param}' LOCALE 'C' TEMPLATE template0")
        yield make_conninfo(postgres_server, dbname=name)
        administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_non_utf8_database_is_rejected_unchanged(other_encoding: str) -> None:
    with pytest.raises(UnusableDatabase, match=r"has the encoding (SQL_ASCII|LATIN1), .*`pg_restore"):
        PostgresPredictions.open(other_encoding)
    with psycopg.connect(other_encoding) as connection:
        assert connection.execute("SELECT to_regclass('_yoyo_migration')").fetchone() == (None,)


def test_commands_explain_how_to_convert_encoding(
    other_encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = {"HOUSEPREDICT_DATABASE_URL": url(other_encoding), "HOUSEPREDICT_DATA_DIR": str(tmp_path)}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    for command in (
        ["migrate"],
        ["predictions"],
        ["models"],
        ["trainings"],
        ["accuracy"],
        ["train", "--synthetic"],
        ["erase", "00000000-0000-7000-8000-000000000001"],
    ):
        assert main(command) == 2, command
        assert HOW in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_service_does_not_start_on_non_utf8_database(other_encoding: str, tmp_path: Path, workers: str) -> None:
    options = ["--demo", "--port", "0", "--data-dir", str(tmp_path), "--workers", workers]
    code, line = failing(*options, HOUSEPREDICT_DATABASE_URL=url(other_encoding))
    assert (code, HOW in line) == (2, True)


def test_non_utf8_database_after_outage_is_not_ready(other_encoding: str, tmp_path: Path) -> None:
    variables = {"HOUSEPREDICT_DATABASE_URL": url(other_encoding), "HOUSEPREDICT_MODELS": "folder"}
    with ExitStack() as outage, ExitStack() as services:
        outage.enter_context(unreachable(other_encoding))
        service = services.enter_context(running(tmp_path, "--demo", **variables))
        ready = f"{service.url}/health/ready"
        assert httpx2.get(ready).status_code == 200
        outage.close()
        response = eventually(lambda: answer if (answer := httpx2.get(ready)).status_code == 503 else None)
        assert response
        assert HOW in response.json()["checks"]["predictions"]["reason"]
        assert httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).status_code == 200
        assert httpx2.get(f"{service.url}/predictions").json()["spool"]["pending"] == 1
