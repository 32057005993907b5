"""Which schema the tables are created in, and what happens if a name is already taken."""

from __future__ import annotations

import logging
import re
import traceback
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from housepredict.adapters.postgres import migrations
from housepredict.adapters.postgres.connections import Database
from housepredict.adapters.postgres.model_store import PostgresModels
from housepredict.adapters.postgres.persistent_connection import ModelDatabase
from housepredict.adapters.postgres.prediction_keys import PostgresKeys
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.postgres.recorded_sales import PostgresSales
from housepredict.adapters.postgres.training_log import PostgresTrainings
from housepredict.domain.errors import MisconfiguredRepository
from housepredict.testing.drawing import new_delivery, new_ids, sample_sales
from housepredict.testing.training_contract import sample_training
from tests.doubles import a_batch
from tests.integration.test_postgres_migrations import LAB_TABLE
from tests.releases import DOCUMENTS

ODD = 'it\'s 100% "odd" ü'
"""A schema name that exposes any missing quoting."""
SERVER = "postgresql://me:hush@there"
PORT, ENCODE = "its port must be a whole number", "user or password must be percent-encoded"
FOREIGN_TABLE = "CREATE TABLE public.predictions (name text)"
FOREIGN_LEDGER = (DOCUMENTS / "yoyo_ledger.sql").read_text()
_RELATIONS = """
SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'v', 'S') AND nspname NOT LIKE 'pg_%' AND nspname <> 'information_schema' ORDER BY 1
"""


def with_path(conninfo: str, path: str) -> str:
    return make_conninfo(conninfo, options=f"-c search_path={path}")


def relations(connection: psycopg.Connection) -> list[str]:
    return [name for (name,) in connection.execute(_RELATIONS).fetchall()]


def use_every_table(conninfo: str, schema: str | None = None) -> None:
    """Use every table once."""
    with PostgresPredictions.open(conninfo, schema=schema) as predictions:
        batch = a_batch(2)
        predictions.append(batch)
        predictions.check()
        assert list(predictions.find([each.id for each in batch])) == batch
        assert predictions.erase([batch[0].id]) == 1
        assert predictions.prune(batch[1].id, 10) >= 1
        assert predictions.find_by_lab_id(10**6) is None
    with closing(PostgresSales.at(conninfo, schema=schema)) as sales:
        recorded, delivery = sample_sales(2), new_delivery()
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
        PostgresTrainings(database).begin(training := sample_training())
        assert PostgresTrainings(database).get(training.id) == training


@pytest.mark.parametrize("schema", ["ml", ODD])
def test_named_schema_is_created_with_all_tables(postgres: str, administrator: psycopg.Connection, schema: str) -> None:
    use_every_table(postgres, schema)
    assert {name.partition(".")[0] for name in relations(administrator)} == {schema}
    use_every_table(postgres, schema)


@pytest.mark.parametrize(
    ("existing", "setup", "path", "used"),
    [
        ("ml", FOREIGN_TABLE, "ml,public", "ml"),
        ("ml", FOREIGN_TABLE, "public,ml", "ml"),
        ("ml", f"{FOREIGN_TABLE}; CREATE SCHEMA empty", "empty,public,ml", "ml"),
        ("public", "CREATE SCHEMA ml", "ml,public", "public"),
        ("app", "CREATE SCHEMA other", "other", "app"),
        ("app", "", "nowhere", "app"),
        ("app", LAB_TABLE, "public", "public"),
        ("", f"{LAB_TABLE}; CREATE SCHEMA mine", "mine,public", "public"),
        ("", f"{FOREIGN_LEDGER}; CREATE SCHEMA ml", "ml,public", "ml"),
        ("", "", "nowhere", "public"),
    ],
)
def test_schema_is_chosen_by_existing_tables(
    postgres: str, administrator: psycopg.Connection, caplog: pytest.LogCaptureFixture, existing: str, setup: str,
    path: str, used: str,
) -> None:  # fmt: skip
    if existing:
        PostgresPredictions.open(postgres, schema=existing).close()
    administrator.execute(setup.encode())
    with caplog.at_level(logging.WARNING):
        use_every_table(with_path(postgres, path))
    created = relations(administrator)
    assert {name.partition(".")[0] for name in created if name.endswith(".sales")} == {used, existing or used}
    assert ("public.predictions_lab" in created) is (LAB_TABLE in setup)
    warning = "using the schema app of PostgreSQL at "
    assert (warning in caplog.text) is (used == "app")


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
def test_conflicting_objects_are_named_and_nothing_is_created(
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
    use_every_table(postgres, "ml")


@pytest.mark.parametrize("path", ["other", "nowhere"])
def test_ambiguous_schemas_are_rejected_by_name(postgres: str, administrator: psycopg.Connection, path: str) -> None:
    for schema in ("ml", "another"):
        PostgresPredictions.open(postgres, schema=schema).close()
    administrator.execute("CREATE SCHEMA other")
    before = relations(administrator)
    with pytest.raises(MisconfiguredRepository, match=r"another and ml have tables .* HOUSEPREDICT_DATABASE_SCHEMA"):
        PostgresPredictions.open(with_path(postgres, path))
    assert relations(administrator) == before


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (f"{SERVER}/db?schema=ml", "'schema': set HOUSEPREDICT_DATABASE_SCHEMA instead"),
        (f"{SERVER}/db?currentSchema=ml", "'currentSchema': set HOUSEPREDICT_DATABASE_SCHEMA instead"),
        (f"{SERVER}/db?pgbouncer=true", "'pgbouncer': set HOUSEPREDICT_DATABASE_DIRECT_URL to the URL of the server"),
        (f"{SERVER}/db?pgbouncer=true&connection_limit=1", "'connection_limit': remove"),
        (f"{SERVER}/db?sslmod=require", "'sslmod': did you mean 'sslmode'?"),
        (f"{SERVER}/db?qqq=1", "'qqq': remove it"),
        (f"{SERVER}/db?ssl=True", "'ssl': set sslmode=require instead"),
        (f"{SERVER}/db?application_name=a=b", "its parameter 'application_name' must be NAME=VALUE"),
        (f"{SERVER}/db?options=-c%20search_path=ml", "must be NAME=VALUE, with special characters in the value"),
        (f"{SERVER}/db?options=-c search_path%3Dml", "its parameter 'options' must be NAME=VALUE"),
        (f"{SERVER}/db?application_name=100%&x", "its parameter 'application_name' must"),
        (f"{SERVER}/db?application_name=100%&x", "unknown parameter 'x'"),
        (f"{SERVER}/db?connect_timeout", "its parameter 'connect_timeout' must be NAME=VALUE"),
        (f"{SERVER}/db?&sslmode=require", "a parameter without a name: remove it, or the extra '&'"),
        (f"{SERVER}/db?=require", "a parameter without a name"),
        (f"{SERVER}:port/db", PORT),
        (f"{SERVER}:70000/db", PORT),
        ("postgresql://me:hush@::1:5432/db", "an IPv6 address needs brackets"),
        ("postgresql://me:hush@[::1/db", "an IPv6 address needs brackets"),
        ("postgresql://me:hu?sh=hush@there/db", ENCODE),
        ("postgresql://me:hu/sh?hush=1@there/db", ENCODE),
        ("postgresql://me:hush?hush@there/db", ENCODE),
        ("postgresql://me:hush?application_name=hush=1@there/db", ENCODE),
        ("postgresql://me:hush/hush@there/db", ENCODE),
        ("postgresql://me:hush@hush@there/db", ENCODE),
        ("postgresql://me:hush%hush@there/db", ENCODE),
        ("postgresql://me:hu:sh@hush:hush@there/db", ENCODE),
        ("host=there password='hush", ENCODE),
        ("hush", ENCODE),
    ],
)
def test_invalid_url_is_rejected_with_advice_without_secrets(url: str, named: str) -> None:
    with pytest.raises(MisconfiguredRepository) as caught:
        PostgresPredictions.open(url)
    assert str(caught.value).count(named) == 1
    assert ("user or password" in str(caught.value)) is (named in (ENCODE, PORT))
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "query", ["", "sslmode=require&", "ssl=true", "ssl=true&", "connect_timeout=", "application_name=a%3Db"]
)
def test_url_parameters_that_libpq_accepts_are_accepted(query: str) -> None:
    assert Database.at(f"postgresql://me:hush@there/db?{query}").place == "there:5432/db"


@pytest.mark.parametrize(("host", "place"), [("[::1]:1", "[::1]:1/db"), ("[::1]:1,there:2", "::1,there:1,2/db")])
def test_url_accepts_bracketed_ipv6_address(host: str, place: str) -> None:
    database = Database.at(f"postgresql://me@{host}/db")
    assert database.place == place
    writes_only = conninfo_to_dict(database.conninfo).get("target_session_attrs")
    assert writes_only == ("read-write" if "," in host else None)


def test_statements_qualify_tables_with_schema() -> None:
    # session pools have the role's search path, and no other test runs every statement through one
    folder = Path(migrations.__file__).parent
    made = re.findall(r"CREATE (?:UNLOGGED )?TABLE ([a-z]\w+)", (folder / "schema.sql").read_text())
    unqualified = re.compile(rf"\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+(?:{'|'.join([*made, 'predictions_lab'])})\b(?!\))")
    violations = {file.name: unqualified.findall(file.read_text()) for file in folder.glob("*.py")}
    assert {"predictions", "sales", "trainings"} < set(made)
    assert not {name: each for name, each in violations.items() if each}
