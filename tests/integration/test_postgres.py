from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.testing.prediction_contract import Another, PredictionRepositoryContract
from tests.doubles import a_batch
from tests.integration.relay import Relay


class TestPostgresPredictions(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, postgres: str) -> Iterator[PostgresPredictions]:
        with PostgresPredictions.open(postgres) as repository:
            yield repository

    @pytest.fixture
    def another(self, postgres: str, repository: PostgresPredictions) -> Iterator[Another]:
        with PostgresPredictions.open(postgres) as other:
            yield lambda: nullcontext(other)


@pytest.fixture
def predictions(postgres: str) -> Iterator[PostgresPredictions]:
    with PostgresPredictions.open(postgres, timeout=1) as predictions:
        yield predictions


@pytest.fixture
def administrator(postgres_server: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_server, autocommit=True) as administrator:
        yield administrator


def name_of(conninfo: str) -> str:
    return str(conninfo_to_dict(conninfo)["dbname"])


def terminate(administrator: psycopg.Connection, name: str) -> None:
    """End all connections to a database and wait until they are gone."""
    query = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s"
    administrator.execute(query, (name,))


def test_terminated_connections_are_replaced(
    postgres: str, predictions: PostgresPredictions, administrator: psycopg.Connection
) -> None:
    before, after = a_batch(2)
    predictions.append([before])
    terminate(administrator, name_of(postgres))
    predictions.append([after])
    assert predictions.recent(10) == [after, before]


def test_lost_database_is_unavailable_until_it_returns(
    postgres: str, predictions: PostgresPredictions, administrator: psycopg.Connection
) -> None:
    before, lost, after = a_batch(3)
    predictions.append([before])
    administrator.execute(f"ALTER DATABASE {name_of(postgres)} ALLOW_CONNECTIONS false")
    terminate(administrator, name_of(postgres))
    with pytest.raises(RepositoryUnavailable):
        predictions.append([lost])
    with pytest.raises(RepositoryUnavailable):
        predictions.check()
    with pytest.raises(RepositoryUnavailable, match="not currently accepting connections"):
        PostgresPredictions.open(postgres)
    administrator.execute(f"ALTER DATABASE {name_of(postgres)} ALLOW_CONNECTIONS true")
    for _ in range(20):  # the pool retries with growing pauses
        with suppress(RepositoryUnavailable):
            predictions.append([after])
            break
    assert predictions.recent(10) == [after, before]


def test_locked_table_is_unavailable_until_released(postgres: str, predictions: PostgresPredictions) -> None:
    with psycopg.connect(postgres) as other:
        other.execute("LOCK TABLE predictions")
        with pytest.raises(RepositoryUnavailable, match="statement timeout"):
            predictions.append(a_batch(1))
    predictions.append(a_batch(1))
    assert len(predictions.recent(10)) == 1


def test_check_detects_locked_table(postgres: str, predictions: PostgresPredictions) -> None:
    with psycopg.connect(postgres) as other:
        other.execute("LOCK TABLE predictions")
        with pytest.raises(RepositoryUnavailable, match="statement timeout"):
            predictions.check()
    predictions.check()
    assert list(predictions.recent(10)) == []


def test_unresponsive_server_times_out(postgres: str, relay: Relay) -> None:
    before, unsure, after = a_batch(3)
    behind = make_conninfo(postgres, host="127.0.0.1", port=relay.port)
    with PostgresPredictions.open(behind, timeout=0.2) as predictions:
        predictions.append([before])
        relay.freeze()
        with pytest.raises(RepositoryUnavailable):
            predictions.append([unsure])
        relay.thaw()
    with PostgresPredictions.open(behind) as predictions:
        predictions.append([unsure, after])
        assert predictions.recent(10) == [after, unsure, before]


def test_unresponsive_server_is_unavailable_at_open(postgres: str, relay: Relay) -> None:
    relay.freeze()
    with pytest.raises(RepositoryUnavailable, match=f"127.0.0.1:{relay.port}/test_.*timeout"):
        PostgresPredictions.open(make_conninfo(postgres, host="127.0.0.1", port=relay.port, connect_timeout=2))


def test_check_detects_read_only_server(postgres: str, administrator: psycopg.Connection) -> None:
    PostgresPredictions.open(postgres).close()
    administrator.execute(f"ALTER DATABASE {name_of(postgres)} SET default_transaction_read_only = on")
    with PostgresPredictions.open(postgres) as predictions:
        assert predictions.recent(10) == []
        with pytest.raises(RepositoryUnavailable, match="read-only"):
            predictions.check()
        with pytest.raises(RepositoryUnavailable, match="read-only"):
            predictions.append(a_batch(1))


def test_check_detects_missing_table(postgres: str, predictions: PostgresPredictions) -> None:
    with psycopg.connect(postgres) as other:
        other.execute("DROP TABLE predictions")
    with pytest.raises(RepositoryUnavailable, match="does not exist"):
        predictions.check()


def test_append_is_retried_once_after_serialization_failure(postgres: str, predictions: PostgresPredictions) -> None:
    first, second = a_batch(2), a_batch(2)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE attempts")  # a rollback does not reset a sequence
        connection.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('public.attempts') IN (1, 3, 4) THEN RAISE EXCEPTION USING ERRCODE = '40001'; END IF;"
            " RETURN NULL; END $$"
        )
        connection.execute("CREATE TRIGGER fail BEFORE INSERT ON predictions EXECUTE FUNCTION fail()")
        predictions.append(first)
        with pytest.raises(RepositoryUnavailable):
            predictions.append(second)
        predictions.append(second)
        assert connection.execute("SELECT last_value FROM attempts").fetchone() == (5,)
    assert {each.id for each in predictions.recent(10)} == {each.id for each in (*first, *second)}


def test_closed_repository_is_unavailable(predictions: PostgresPredictions) -> None:
    predictions.close()
    for use in (predictions.check, lambda: predictions.recent(1), lambda: predictions.append(a_batch(1))):
        with pytest.raises(RepositoryUnavailable):
            use()


def test_unreachable_server_is_named_without_password() -> None:
    conninfo = "postgresql://someone:hush%40hush@127.0.0.1:1/houses"
    with pytest.raises(RepositoryUnavailable, match=r"127\.0\.0\.1:1/houses: .*refused") as caught:
        PostgresPredictions.open(conninfo)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("form", ["url", "key=value"])
def test_password_may_contain_any_character(form: str, postgres: str, administrator: psycopg.Connection) -> None:
    user, password, name = "o'hara", "p@ss w/o:rd%25 '\\#?&=é", name_of(postgres)
    administrator.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), password))
    try:
        administrator.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(user))
        )
        parameters = conninfo_to_dict(postgres)
        host, port = str(parameters.get("host", "")), str(parameters.get("port", 5432))
        conninfo = {
            "url": f"postgresql://{quote(user, '')}:{quote(password, '')}@/{name}?host={quote(host, '')}&port={port}",
            "key=value": make_conninfo(postgres, user=user, password=password),
        }[form]
        with PostgresPredictions.open(conninfo) as predictions:
            predictions.append(a_batch(1))
            assert len(predictions.recent(10)) == 1
    finally:
        administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
        administrator.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(user)))
