"""Databases of earlier and later releases: which migrations a start applies, and the privileges it needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import httpx2
import psycopg
import pytest
from attrs import evolve
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

import housepredict
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.domain.errors import MisconfiguredRepository, RepositoryUnavailable
from housepredict.domain.estimates import Interval, Prediction
from tests.doubles import a_batch
from tests.integration.load import eventually, url
from tests.integration.services import finished, running
from tests.integration.test_postgres_migrations import LAB_TABLE
from tests.postgres_servers import database
from tests.releases import MIGRATIONS, yoyo_database

PACKAGE = Path(housepredict.__file__).parent
SCHEMA = (PACKAGE / "adapters/postgres/schema.sql").read_bytes()
LEDGER = "SELECT * FROM _yoyo_migration ORDER BY migration_id"
_CATALOG = """
WITH relations AS (SELECT * FROM pg_class WHERE relnamespace = 'public'::regnamespace)
SELECT concat_ws(' ', relname, relkind, relpersistence, reloptions, relacl) FROM relations
UNION ALL
SELECT concat_ws(
    ' ', relname, row_number() OVER (PARTITION BY attrelid ORDER BY attnum), attname,
    format_type(atttypid, atttypmod), attcollation, attnotnull, pg_get_expr(adbin, adrelid),
    attidentity, attgenerated, attstorage, attacl
)
FROM relations JOIN pg_attribute ON attrelid = relations.oid AND attnum > 0 AND NOT attisdropped
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL
SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN relations ON oid = indexrelid
UNION ALL SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN relations ON relations.oid = tgrelid
WHERE NOT tgisinternal
UNION ALL SELECT concat_ws(' ', pg_get_functiondef(oid), proacl) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace
ORDER BY 1
"""


@pytest.fixture
def schema(postgres_server: str) -> Iterator[list[str]]:
    """Yield the catalog of a database created by `schema.sql`."""
    with database(postgres_server) as conninfo, psycopg.connect(conninfo) as connection:
        connection.execute(SCHEMA)
        yield catalog(connection)


@pytest.fixture
def clerk(postgres: str, administrator: psycopg.Connection) -> Iterator[str]:
    """Yield the conninfo of a role that can only read and write rows, also in later tables."""
    administrator.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    administrator.execute("CREATE ROLE clerk LOGIN PASSWORD 'clerk'")
    administrator.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO clerk")
    yield make_conninfo(postgres, user="clerk", password="clerk")
    administrator.execute("DROP OWNED BY clerk; DROP ROLE clerk")


def catalog(connection: psycopg.Connection) -> list[str]:
    """Return a description of everything in the schema `public` except comments."""
    return [line for (line,) in connection.execute(_CATALOG)]


def run_release(
    folder: Path, conninfo: str, command: str, added: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, str]:
    """Run a command of a release with more migrations. Return its exit code and errors."""
    shutil.copytree(PACKAGE, folder / "housepredict", dirs_exist_ok=True)
    for name, script in added.items():
        (folder / f"housepredict/adapters/postgres/sql/{name}.sql").write_text(script)
    variables = {"HOUSEPREDICT_DATABASE_URL": url(conninfo), "PYTHONPATH": str(folder)}
    ended = finished("-m", "housepredict", *command.split(), "--data-dir", str(folder), **variables)
    return ended.returncode, ended.stderr


def insert_with_old_columns(connection: psycopg.Connection, prediction: Prediction) -> None:
    connection.execute(
        "INSERT INTO predictions (id, created_at, model_version, features, price, valued_on, caveats)"
        " VALUES (%s, %s, 'a version', %s, 254206.02, NULL, '[]')",
        (prediction.id, prediction.created_at, Jsonb(dict(prediction.estimate.house.values))),
    )


def test_migrations_match_schema_file_and_yoyo(
    postgres: str, postgres_server: str, administrator: psycopg.Connection, schema: list[str]
) -> None:
    PostgresPredictions.open(postgres).close()
    ledger = "SELECT migration_hash, migration_id, version FROM _yoyo_migration, _yoyo_version ORDER BY migration_id"
    with database(postgres_server) as conninfo, psycopg.connect(conninfo) as yoyo:
        yoyo.execute(yoyo_database(len(MIGRATIONS)).encode())
        yoyo.execute("DROP TABLE _yoyo_log")
        assert catalog(administrator) == schema == catalog(yoyo)
        assert administrator.execute(ledger).fetchall() == yoyo.execute(ledger).fetchall()


def test_catalog_comparison_detects_each_difference(administrator: psycopg.Connection, schema: list[str]) -> None:
    administrator.execute(SCHEMA)
    assert catalog(administrator) == schema
    for difference in (
        "CREATE TABLE another (id int)",
        "ALTER TABLE live_processes SET LOGGED",
        "ALTER TABLE predictions ADD another text",
        "ALTER TABLE sales ALTER price TYPE numeric(16, 2)",
        "ALTER TABLE model_pointer ALTER generation SET DEFAULT 1",
        "ALTER TABLE model_files ALTER content SET STORAGE EXTENDED",
        "ALTER TABLE trainings DROP CONSTRAINT trainings_state_check",
        "DROP INDEX sales_by_date",
        "DROP TRIGGER tell_of_promotions ON model_pointer",
        "ALTER FUNCTION tell_of_promotions() SECURITY DEFINER",
        "REVOKE SELECT ON prune_watermark FROM PUBLIC",
    ):
        with administrator.transaction(force_rollback=True):
            administrator.execute(difference)
            assert catalog(administrator) != schema, difference


@pytest.mark.parametrize("applied", [1, 6, 9, 10])
def test_yoyo_database_is_upgraded(
    postgres: str, administrator: psycopg.Connection, schema: list[str], applied: int
) -> None:
    earlier, meanwhile, now = a_batch(3)
    now = evolve(now, estimate=evolve(now.estimate, intervals=(Interval(80, 231000.5, 279000.0),), fsd=12.5))
    administrator.execute(yoyo_database(applied).encode())
    insert_with_old_columns(administrator, earlier)
    before = administrator.execute(LEDGER).fetchall()
    with PostgresPredictions.open(postgres) as predictions:
        insert_with_old_columns(administrator, meanwhile)
        predictions.append([now])
        assert predictions.recent(10) == [now, meanwhile, earlier]
    after = administrator.execute(LEDGER).fetchall()
    assert (len(before), after[:applied]) == (applied, before)
    administrator.execute("DROP TABLE _yoyo_log")
    assert catalog(administrator) == schema


def test_post_migration_runs_only_by_command(
    postgres: str, administrator: psycopg.Connection, clerk: str, tmp_path: Path
) -> None:
    tables = "SELECT to_regclass('added') IS NOT NULL, to_regclass('live_processes') IS NOT NULL"
    PostgresPredictions.open(postgres).close()
    added = {
        "housepredict-0011-remove-post": "DROP TABLE live_processes",
        "housepredict-0012-add": "CREATE TABLE added (id int)",
    }
    assert run_release(tmp_path, postgres, "migrate", added) == (0, "")
    assert administrator.execute(tables).fetchone() == (True, True)
    assert run_release(tmp_path, clerk, "predictions") == (0, "")
    code, error = run_release(tmp_path, clerk, "migrate --post")
    assert (code, f"with the user {administrator.info.user} in the database URL" in error) == (5, True)
    for _ in range(2):
        assert run_release(tmp_path, postgres, "migrate --post") == (0, "")
        assert administrator.execute(tables).fetchone() == (True, False)
    PostgresPredictions.open(clerk).close()
    assert len(administrator.execute(LEDGER).fetchall()) == len(MIGRATIONS) + 2


def test_failed_migration_is_rolled_back_alone(
    postgres: str, administrator: psycopg.Connection, schema: list[str], tmp_path: Path
) -> None:
    broken = {"housepredict-0005z-broken": "CREATE TABLE half (id int); SELECT 1 / 0;"}
    code, error = run_release(tmp_path, postgres, "migrate", broken)
    assert (code, "migration housepredict-0005z-broken" in error, "division by zero" in error) == (5, True, True)
    assert len(administrator.execute(LEDGER).fetchall()) == 5
    PostgresPredictions.open(postgres).close()
    assert catalog(administrator) == schema


@pytest.mark.parametrize(
    ("existing", "reason"),
    [
        ("", "permission denied for schema public.* a user who can create tables there"),
        (LAB_TABLE, "only the owner of the tables .* Nothing was changed.* the user {owner}"),
        (yoyo_database(9), "only the owner of the tables .* Nothing was changed.* the user {owner}"),
    ],
    ids=["nothing", "lab", "earlier release"],
)
def test_role_without_ddl_rights_gets_advice(
    postgres: str, administrator: psycopg.Connection, clerk: str, existing: str, reason: str
) -> None:
    administrator.execute(existing.encode())
    if existing:  # the default before PostgreSQL 15
        administrator.execute("GRANT CREATE ON SCHEMA public TO clerk")
    before = catalog(administrator)
    with pytest.raises(MisconfiguredRepository, match=reason.format(owner=administrator.info.user)) as caught:
        PostgresPredictions.open(clerk)
    assert "Run `housepredict migrate` once with" in str(caught.value)
    with pytest.raises(MisconfiguredRepository, match="permission denied for database"):
        PostgresPredictions.open(clerk, schema="ml")
    assert catalog(administrator) == before
    PostgresPredictions.open(postgres).close()
    with PostgresPredictions.open(clerk) as predictions:
        predictions.append(batch := a_batch(2))
        assert list(predictions.recent(2)) == batch[::-1]
        administrator.execute("REVOKE INSERT ON predictions FROM clerk")
        with pytest.raises(RepositoryUnavailable, match="read-only"):
            predictions.check()


def test_service_without_ddl_rights_waits_for_migration(
    postgres: str, administrator: psycopg.Connection, clerk: str, tmp_path: Path
) -> None:
    administrator.execute(yoyo_database(9).encode())
    variables = {"HOUSEPREDICT_DATABASE_URL": url(clerk), "HOUSEPREDICT_MODELS": "folder"}
    with running(tmp_path, "--demo", **variables) as service:
        ready = f"{service.url}/health/ready"
        refused = eventually(lambda: answer if (answer := httpx2.get(ready)).status_code == 503 else None)
        assert refused
        assert "Run `housepredict migrate` once with the user" in refused.json()["checks"]["predictions"]["reason"]
        PostgresPredictions.open(postgres).close()
        eventually(lambda: httpx2.get(ready).status_code == 200)
