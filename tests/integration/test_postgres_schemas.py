"""In which schema the tables are, and what happens where somebody else has a name that they need."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from housepredict.adapters.postgres import migrations
from housepredict.adapters.postgres.connections import Database
from housepredict.adapters.postgres.keys import PostgresKeys
from housepredict.adapters.postgres.model_database import ModelDatabase
from housepredict.adapters.postgres.models import PostgresModels
from housepredict.adapters.postgres.repository import PostgresPredictions
from housepredict.adapters.postgres.sales import PostgresSales
from housepredict.adapters.postgres.trainings import PostgresTrainings
from housepredict.domain.errors import MisconfiguredRepository
from housepredict.testing.drawn_sales import new_delivery, new_ids, some_sales
from housepredict.testing.trainings import a_training
from tests.doubles import a_batch
from tests.integration.test_postgres_migrations import LAB_TABLE

ODD = 'it\'s 100% "odd" ü'
"""A name that is quoted wrongly in whichever way is forgotten."""
_RELATIONS = """
SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'v', 'S') AND nspname NOT LIKE 'pg_%' AND nspname <> 'information_schema' ORDER BY 1
"""


@pytest.fixture
def administrator(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


def with_path(conninfo: str, path: str) -> str:
    return make_conninfo(conninfo, options=f"-c search_path={path}")


def relations(connection: psycopg.Connection) -> list[str]:
    return [name for (name,) in connection.execute(_RELATIONS).fetchall()]


def uses(conninfo: str, schema: str | None = None) -> None:
    """Use every table."""
    with PostgresPredictions.open(conninfo, schema=schema) as predictions:
        batch = a_batch(2)
        predictions.append(batch)
        predictions.check()
        assert list(predictions.find([each.id for each in batch])) == batch
        assert predictions.erase([batch[0].id]) == 1
        assert predictions.prune(batch[1].id, 10) >= 1
        assert predictions.of_lab(10**6) is None
    with closing(PostgresSales.at(conninfo, schema=schema)) as sales:
        recorded, delivery = some_sales(2), new_delivery()
        for _ in range(2):
            assert list(sales.append(recorded, delivery)) == recorded
        assert sales.history(recorded[0].prediction)
        assert sales.largest_id()
        assert sales.erase([each.prediction for each in recorded]) == 2
    with closing(PostgresKeys.at(conninfo, schema=schema)) as keys:
        ids = new_ids(1)
        assert list(keys.reserve(delivery, ids)) == ids
        assert keys.prune(ids[0], 10) >= 0
    with closing(ModelDatabase.at(conninfo, schema=schema)) as database:
        assert PostgresModels(database).pointer().name is None
        PostgresTrainings(database).begin(training := a_training())
        assert PostgresTrainings(database).get(training.id) == training


@pytest.mark.parametrize("schema", ["ml", ODD])
def test_named_schema_is_made_and_has_all_tables(postgres: str, administrator: psycopg.Connection, schema: str) -> None:
    uses(postgres, schema)
    assert {name.partition(".")[0] for name in relations(administrator)} == {schema}
    uses(postgres, schema)


def test_tables_in_search_path_are_found_behind_a_foreign_table(
    postgres: str, administrator: psycopg.Connection
) -> None:
    administrator.execute("CREATE TABLE public.predictions (name text)")
    administrator.execute("CREATE SCHEMA ml; CREATE SCHEMA empty")
    uses(with_path(postgres, "ml,public"))
    before = relations(administrator)
    for path in ("ml,public", "public,ml", "empty,public,ml"):
        uses(with_path(postgres, path))
    assert relations(administrator) == before


def test_tables_of_before_are_used_when_a_schema_comes_in_front(
    postgres: str, administrator: psycopg.Connection
) -> None:
    PostgresPredictions.open(postgres).close()
    before = relations(administrator)
    administrator.execute("CREATE SCHEMA ml")
    uses(with_path(postgres, "ml,public"))
    assert relations(administrator) == before


def test_tutorials_table_is_taken_over_where_it_is(postgres: str, administrator: psycopg.Connection) -> None:
    administrator.execute(LAB_TABLE)
    administrator.execute("CREATE SCHEMA mine")
    with PostgresPredictions.open(with_path(postgres, "mine,public")) as predictions:
        assert [each.estimate.model_version for each in predictions.recent(10)] == ["lab"] * 3
        assert predictions.of_lab(2)
    assert "public.predictions_lab" in relations(administrator)


@pytest.mark.parametrize(
    ("foreign", "named"),
    [
        ("CREATE TABLE sales (id int)", 'a table "sales"'),
        ("CREATE VIEW trainings AS SELECT 1", 'a view "trainings"'),
        ("CREATE TYPE sales AS ENUM ('spring')", 'a type "sales"'),
        ("CREATE SEQUENCE model_files", 'a sequence "model_files"'),
        ("CREATE TABLE t (i int); CREATE INDEX sales_by_date ON t (i)", 'an index "sales_by_date"'),
        ("CREATE FUNCTION tell_of_promotions() RETURNS int LANGUAGE sql AS 'SELECT 1'", 'a function "tell_of'),
        ("CREATE TABLE sales (id int); CREATE TABLE predictions (t text)", 'a table "predictions" and a table "sales"'),
        (f"{LAB_TABLE}; CREATE TABLE predictions_lab (t text)", 'a table "predictions_lab"'),
    ],
)
def test_what_is_in_the_way_is_named_and_nothing_is_made(
    postgres: str, administrator: psycopg.Connection, foreign: str, named: str
) -> None:
    administrator.execute(foreign)
    before = relations(administrator)
    for _ in range(2):
        with pytest.raises(MisconfiguredRepository) as caught:
            PostgresPredictions.open(postgres)
        assert named in str(caught.value)
        assert "HOUSEPREDICT_DATABASE_SCHEMA" in str(caught.value)
    assert relations(administrator) == before
    uses(postgres, "ml")


def test_role_that_may_create_nothing_hears_what_to_do_and_makes_nothing(
    postgres: str, administrator: psycopg.Connection
) -> None:
    administrator.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    administrator.execute("CREATE ROLE creator LOGIN PASSWORD 'clerk'")
    role = make_conninfo(postgres, user="creator", password="clerk")
    try:
        for schema in (None, "ml"):
            with pytest.raises(MisconfiguredRepository, match=r"permission denied .* Run `housepredict migrate` once"):
                PostgresPredictions.open(role, schema=schema)
        assert relations(administrator) == []
        # may create, but not take over what is another's
        administrator.execute("GRANT CREATE ON SCHEMA public TO creator")
        administrator.execute(LAB_TABLE)
        before = relations(administrator)
        with pytest.raises(MisconfiguredRepository, match=r"must be owner of table predictions.* Run `housepredict"):
            PostgresPredictions.open(role)
        assert relations(administrator) == before
    finally:
        administrator.execute("DROP OWNED BY creator")
        administrator.execute("DROP ROLE creator")


@pytest.mark.parametrize("path", ["other", "nowhere"])
def test_tables_outside_the_search_path_are_found_and_reported(
    postgres: str, administrator: psycopg.Connection, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    PostgresPredictions.open(postgres, schema="app").close()
    administrator.execute("CREATE SCHEMA other")
    before = relations(administrator)
    with caplog.at_level(logging.WARNING):
        uses(with_path(postgres, path))
    assert relations(administrator) == before
    assert "does not lead to the schema app, which has the tables of housepredict and is used" in caplog.text
    assert "set HOUSEPREDICT_DATABASE_SCHEMA" in caplog.text


@pytest.mark.parametrize("path", ["other", "nowhere"])
def test_tables_in_several_schemas_outside_the_search_path_are_refused_with_their_names(
    postgres: str, administrator: psycopg.Connection, path: str
) -> None:
    for schema in ("ml", "another"):
        PostgresPredictions.open(postgres, schema=schema).close()
    administrator.execute("CREATE SCHEMA other")
    before = relations(administrator)
    with pytest.raises(MisconfiguredRepository, match=r"another and ml have tables .* HOUSEPREDICT_DATABASE_SCHEMA"):
        PostgresPredictions.open(with_path(postgres, path))
    assert relations(administrator) == before


def test_tutorials_table_in_the_search_path_is_preferred_to_tables_outside_of_it(
    postgres: str, administrator: psycopg.Connection
) -> None:
    PostgresPredictions.open(postgres, schema="app").close()
    administrator.execute(LAB_TABLE)
    PostgresPredictions.open(postgres).close()
    assert "public.predictions_lab" in relations(administrator)


def test_path_that_leads_nowhere_in_an_empty_database_means_public(
    postgres: str, administrator: psycopg.Connection
) -> None:
    uses(with_path(postgres, "nowhere"))
    assert "public.predictions" in relations(administrator)


def test_ledger_of_another_program_is_left_alone(postgres: str, administrator: psycopg.Connection) -> None:
    administrator.execute(
        "CREATE TABLE _yoyo_migration (migration_hash varchar(64), migration_id varchar(255), applied_at_utc timestamp,"
        " PRIMARY KEY (migration_hash))"
    )
    administrator.execute("CREATE TABLE _yoyo_version (version int PRIMARY KEY, installed_at_utc timestamp)")
    administrator.execute("CREATE TABLE _yoyo_log (id varchar(36) PRIMARY KEY)")
    administrator.execute("INSERT INTO _yoyo_version VALUES (2, now())")
    administrator.execute("INSERT INTO _yoyo_migration VALUES ('theirs', 'theirs', now())")
    administrator.execute("CREATE SCHEMA ml")
    uses(with_path(postgres, "ml,public"))
    assert administrator.execute("SELECT migration_id FROM public._yoyo_migration").fetchall() == [("theirs",)]
    assert "ml.predictions" in relations(administrator)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ("schema=ml", ["'schema': set HOUSEPREDICT_DATABASE_SCHEMA instead"]),
        ("currentSchema=ml", ["'currentSchema': set HOUSEPREDICT_DATABASE_SCHEMA instead"]),
        (
            "pgbouncer=true&connection_limit=1",
            ["'pgbouncer': name the server itself in HOUSEPREDICT_DATABASE_DIRECT_URL", "'connection_limit': leave"],
        ),
        ("sslmod=require", ["'sslmod': did you mean 'sslmode'?"]),
        ("qqq=1", ["'qqq': leave it out"]),
        ("ssl=True", ["'ssl': set sslmode=require instead"]),
        ("application_name=a=b", ["its parameter 'application_name' must be NAME=VALUE", "%3D for ="]),
        ("options=-c%20search_path=ml", ["its parameter 'options' must be NAME=VALUE", "%3D for ="]),
        ("options=-c search_path%3Dml", ["its parameter 'options' must be NAME=VALUE"]),
        ("application_name=100%&x", ["its parameter 'application_name' must", "unknown parameter 'x'"]),
        ("connect_timeout", ["its parameter 'connect_timeout' must be NAME=VALUE"]),
        ("&sslmode=require", ["a parameter without a name: remove it, or the extra '&'"]),
        ("=require", ["a parameter without a name"]),
    ],
)
def test_unknown_parameters_of_a_url_are_named_with_what_to_use(parameters: str, named: list[str]) -> None:
    with pytest.raises(MisconfiguredRepository) as caught:
        PostgresPredictions.open(f"postgresql://me:hush@there/db?{parameters}")
    assert all(each in str(caught.value) for each in named)
    assert "user or password" not in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:hush@there:port/db", "its port must be a whole number"),
        ("postgresql://me:hush@there:70000/db", "its port must be a whole number"),
        ("postgresql://me:hush@::1:5432/db", "an IPv6 address stands in brackets"),
        ("postgresql://me:hush@[::1/db", "an IPv6 address stands in brackets"),
        ("postgresql://me:hu?sh=hush@there/db", "must be percent-encoded"),
        ("postgresql://me:hu/sh?hush=1@there/db", "must be percent-encoded"),
        ("postgresql://me:hush?hush@there/db", "must be percent-encoded"),
        ("postgresql://me:hush?application_name=hush=1@there/db", "must be percent-encoded"),
    ],
)
def test_url_that_cannot_be_read_is_refused_with_the_cause(url: str, said: str) -> None:
    with pytest.raises(MisconfiguredRepository) as caught:
        PostgresPredictions.open(url)
    assert str(caught.value).count(said) == 1
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "query", ["", "sslmode=require&", "ssl=true", "ssl=true&", "connect_timeout=", "application_name=a%3Db"]
)
def test_url_parameters_that_libpq_accepts_are_accepted(query: str) -> None:
    assert Database.at(f"postgresql://me:hush@there/db?{query}").place == "there:5432/db"


@pytest.mark.parametrize(("host", "place"), [("[::1]:1", "[::1]:1/db"), ("[::1]:1,there:2", "::1,there:1,2/db")])
def test_ipv6_address_in_brackets_is_taken(host: str, place: str) -> None:
    database = Database.at(f"postgresql://me@{host}/db")
    assert database.place == place
    writes_only = conninfo_to_dict(database.conninfo).get("target_session_attrs")
    assert writes_only == ("read-write" if "," in host else None)


def test_every_statement_names_tables_with_their_schema() -> None:
    # a pool's sessions have whatever search path the role has, and no other test sees each statement through one
    folder = Path(migrations.__file__).parent
    made = re.findall(
        r"CREATE (?:UNLOGGED )?TABLE (\w+)", "".join(each.read_text() for each in folder.glob("sql/*.sql"))
    )
    unqualified = re.compile(rf"\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+(?:{'|'.join([*made, 'predictions_lab'])})\b(?!\))")
    found = {file.name: unqualified.findall(file.read_text()) for file in folder.glob("*.py")}
    assert {"predictions", "sales", "trainings"} < set(made)
    assert not {name: each for name, each in found.items() if each}
