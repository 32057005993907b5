from __future__ import annotations

import logging
import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import LiteralString

import psycopg
import pytest

from housepredict.adapters.memory import InMemoryKeys, InMemorySales
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.system import SystemClock
from housepredict.domain.errors import UnknownPrediction
from housepredict.domain.estimates import Estimate
from housepredict.domain.features import House
from housepredict.domain.usecases.manage_records import Records
from tests.doubles import a_batch

LAB_TABLE = """
CREATE TABLE IF NOT EXISTS predictions (
    id SERIAL PRIMARY KEY,
    size REAL NOT NULL,
    bedrooms INTEGER NOT NULL,
    age INTEGER NOT NULL,
    predicted_price REAL NOT NULL,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO predictions (size, bedrooms, age, predicted_price) VALUES
(2000, 3, 5, 245000.50),
(1500, 2, 10, 185000.75),
(2800, 4, 2, 320000.25);
"""

OPEN = "import sys; from housepredict.adapters.postgres.predictions import PostgresPredictions as P; "
OPEN += "P.open(sys.argv[1]).close()"


@pytest.fixture
def lab(administrator: psycopg.Connection) -> psycopg.Connection:
    """Return a connection to a database that was set up with the tutorial's SQL."""
    administrator.execute(LAB_TABLE)
    return administrator


def start(conninfo: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, conninfo], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_tutorial_rows_are_migrated_exactly(postgres: str, lab: psycopg.Connection) -> None:
    before = lab.execute("SELECT *, ctid FROM predictions").fetchall()
    created_at = before[0][5].replace(tzinfo=UTC)
    with PostgresPredictions.open(postgres) as predictions:
        recorded = predictions.recent(10)
    assert [each.estimate for each in recorded] == [
        Estimate(House({"size": 2800, "bedrooms": 4, "age": 2}), 320000.25, "lab"),
        Estimate(House({"size": 1500, "bedrooms": 2, "age": 10}), 185000.75, "lab"),
        Estimate(House({"size": 2000, "bedrooms": 3, "age": 5}), 245000.50, "lab"),
    ]
    assert {each.created_at for each in recorded} == {created_at}
    assert {each.id.version for each in recorded} == {7}
    assert {each.id.int >> 80 for each in recorded} == {int(created_at.timestamp() * 1000)}
    assert lab.execute("SELECT lab_id FROM predictions ORDER BY id").fetchall() == [(1,), (2,), (3,)]
    assert lab.execute("SELECT *, ctid FROM predictions_lab").fetchall() == before
    with PostgresPredictions.open(postgres) as predictions:
        records = Records(predictions, InMemorySales(), SystemClock(), InMemoryKeys())
        predictions.append(batch := a_batch(2))
        assert [*predictions.recent(10)] == [*batch[::-1], *recorded]
        assert [records.one(number) for number in ("3", 2, "1")] == recorded
        with pytest.raises(UnknownPrediction):
            records.one("4")
        records.erase(["2"])
        with pytest.raises(UnknownPrediction):
            records.one("2")
        assert lab.execute("SELECT id FROM predictions_lab ORDER BY id").fetchall() == [(1,), (3,)]
        records.prune(timedelta(0))
        assert list(predictions.recent(10)) == []
    assert lab.execute("SELECT count(*) FROM predictions_lab").fetchall() == [(0,)]


def test_real_values_keep_cents_and_shortest_form(postgres: str, lab: psycopg.Connection) -> None:
    prices = [0.0, 0.01, 0.1, 99.99, 1234.56, 16777.21, 65536.33, 131071.99, 185000.75, 999999.99, 1e6, 12345678.0, 3e9]
    sizes = [0.1, 33.3, 850.5, 1234.56, 2500.0, 99999.9, 16777216.0, 1e-5]
    lab.execute("TRUNCATE predictions")
    with lab.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO predictions (size, bedrooms, age, predicted_price) VALUES (%s, 3, 10, %s)",
            [(sizes[each % len(sizes)], price) for each, price in enumerate(prices)],
        )
    with PostgresPredictions.open(postgres) as predictions:
        recorded = predictions.recent(100)[::-1]
    reals = [struct.unpack("f", struct.pack("f", price))[0] for price in prices]
    assert [each.estimate.price for each in recorded] == [
        float(Decimal(real).quantize(Decimal("0.01"), ROUND_HALF_EVEN)) for real in reals
    ]
    assert [each.estimate.house.values["size"] for each in recorded] == [
        sizes[each % len(sizes)] for each in range(len(prices))
    ]


def test_migrated_rows_keep_tutorial_order(postgres: str, lab: psycopg.Connection) -> None:
    times = [
        "2026-01-01 12:00:00.000900",
        "2026-01-01 12:00:00.000100",
        "1969-12-31 23:59:59",
        "1950-06-01",
        None,
        "2026-01-01 12:00:00.000100",
        "9999-01-01",
        "2025-01-01",
    ]
    with lab.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO predictions (size, bedrooms, age, predicted_price, created_at) VALUES (2000, 3, 10, 1, %s)",
            [(time,) for time in times],
        )
    expected = lab.execute("SELECT id FROM predictions ORDER BY coalesce(created_at, 'epoch') DESC, id DESC").fetchall()
    with PostgresPredictions.open(postgres) as predictions:
        recorded = predictions.recent(100)
    assert lab.execute("SELECT lab_id FROM predictions ORDER BY id DESC").fetchall() == expected
    assert [each.created_at for each in recorded] == sorted((each.created_at for each in recorded), reverse=True)
    assert datetime(1970, 1, 1, tzinfo=UTC) in {each.created_at for each in recorded}


def test_times_are_read_as_utc_in_any_server_zone(postgres: str, lab: psycopg.Connection) -> None:
    lab.execute("UPDATE predictions SET created_at = '2026-07-01 12:00'")
    lab.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$"
    )
    with PostgresPredictions.open(postgres) as predictions:
        (newest,) = predictions.recent(1)
    assert newest.created_at == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert newest.created_at.utcoffset() == timedelta(0)


def test_unmigratable_rows_stay_in_old_table(
    postgres: str, lab: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    odd = [
        ("2000", "NaN", "2026-01-01"),
        ("2000", "Infinity", "2026-01-01"),
        ("2000", "-Infinity", "2026-01-01"),
        ("2000", "1.1e13", "2026-01-01"),
        ("2000", "1e30", "2026-01-01"),
        ("NaN", "1", "2026-01-01"),
        ("Infinity", "1", "2026-01-01"),
        ("2000", "1", "infinity"),
        ("2000", "1", "-infinity"),
        ("2000", "1", "0044-03-15 BC"),
        ("2000", "1", "20000-01-01"),
    ]
    with lab.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO predictions (size, bedrooms, age, predicted_price, created_at) VALUES (%s, 3, 10, %s, %s)", odd
        )
    with caplog.at_level(logging.WARNING), PostgresPredictions.open(postgres) as predictions:
        assert len(predictions.recent(100)) == 3
    assert f"{len(odd)} rows of the tutorial's table could not be taken over" in caplog.text
    [(comment,)] = lab.execute("SELECT obj_description('predictions_lab'::regclass)").fetchall()
    query = comment.partition(": ")[2]
    assert [row[0] for row in lab.execute(query.replace("*", "id", 1)).fetchall()] == list(range(4, 4 + len(odd)))


@pytest.mark.parametrize(("table", "count"), [("", 0), (LAB_TABLE, 3)], ids=["empty", "lab"])
def test_replicas_migrate_concurrently(
    table: LiteralString, count: int, postgres: str, administrator: psycopg.Connection
) -> None:
    administrator.execute(table)
    replicas = [start(postgres) for _ in range(6)]
    outcomes = [(replica.communicate(), replica.returncode) for replica in replicas]
    assert [code for _, code in outcomes] == [0] * 6, outcomes
    counts = administrator.execute("SELECT count(*), count(DISTINCT lab_id) FROM predictions").fetchall()
    assert counts == [(count, count)]


def test_killed_migration_changes_nothing(postgres: str, lab: psycopg.Connection) -> None:
    with psycopg.connect(postgres) as holder:
        holder.execute("LOCK TABLE predictions IN ACCESS SHARE MODE")
        killed = start(postgres)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'predictions'::regclass"
        while lab.execute(waiting).fetchone() == (0,):
            assert killed.poll() is None, killed.communicate()
        killed.kill()
        killed.communicate()
    with PostgresPredictions.open(postgres) as predictions:
        assert len(predictions.recent(10)) == 3
