"""Predictions erased or pruned in PostgreSQL stay gone when they are appended again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psycopg
import pytest

from housepredict.adapters.postgres.prediction_keys import PostgresKeys
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.spool import SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.errors import ErasedPredictions
from housepredict.domain.identifiers import first_id_at, next_id
from housepredict.testing.drawing import new_delivery
from tests.doubles import a_batch
from tests.erasure_worlds import AFTER_ALL
from tests.integration.spools import SOON
from tests.integration.test_postgres_upgrades import insert_with_old_columns
from tests.releases import yoyo_database


@pytest.fixture
def predictions(postgres: str) -> Iterator[PostgresPredictions]:
    with PostgresPredictions.open(postgres) as predictions:
        yield predictions


def test_late_append_does_not_store_pruned_ids(postgres: str, predictions: PostgresPredictions) -> None:
    old, erased, kept = batch = a_batch(3)
    predictions.append(batch)
    predictions.erase([erased.id])
    assert predictions.prune(kept.id, 10) == 2
    predictions.append(batch)
    assert list(predictions.find_erased([each.id for each in batch])) == [old.id, erased.id]
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT id FROM predictions").fetchall() == [(kept.id,)]


def test_append_in_flight_does_not_restore_pruned_ids(postgres: str, predictions: PostgresPredictions) -> None:
    """The append starts before the prune and commits after it, as in a release without a watermark."""
    old, late, kept = a_batch(3)
    predictions.append([old, kept])
    with psycopg.connect(postgres) as connection:
        insert_with_old_columns(connection, late)
        assert predictions.prune(kept.id, 10) == 1
        connection.commit()
        ids = [old.id, late.id, kept.id]
        assert list(predictions.recent(10)) == [kept]
        assert list(predictions.find(ids)) == [kept]
        assert list(predictions.between(old.id, AFTER_ALL, 10)) == [kept]
        assert predictions.erase([late.id]) == 0
        # the next run deletes the row, or the erasure marker
        assert predictions.prune(kept.id, 10) == 1
        assert connection.execute("SELECT id FROM predictions").fetchall() == [(kept.id,)]


def test_locked_pruned_ids_are_not_read(postgres: str, predictions: PostgresPredictions) -> None:
    """The lock stands for an erasure whose process lost its machine, which the server notices late."""
    old, held, kept = a_batch(3)
    predictions.append([old, held, kept])
    with psycopg.connect(postgres) as connection:
        connection.execute("SELECT FROM predictions WHERE id = %s FOR UPDATE", (held.id,))
        assert predictions.prune(kept.id, 10) == 1
        assert list(predictions.recent(10)) == [kept]
        assert list(predictions.find([old.id, held.id, kept.id])) == [kept]
        connection.rollback()
        # the next run deletes the row
        assert predictions.prune(kept.id, 10) == 1
        assert connection.execute("SELECT id FROM predictions").fetchall() == [(kept.id,)]


def test_prune_respects_limit_in_small_table(postgres: str, predictions: PostgresPredictions) -> None:
    """The table's statistics say one row, so the planner may repeat a subquery for each row."""
    batch = a_batch(5)
    predictions.append(batch[:1])
    with psycopg.connect(postgres) as connection:
        connection.execute("ANALYZE predictions")
    predictions.append(batch[1:])
    assert predictions.prune(batch[4].id, 1) == 1
    assert list(predictions.recent(10)) == batch[:0:-1]


def test_watermark_stays_below_next_ids(predictions: PostgresPredictions) -> None:
    predictions.prune(AFTER_ALL, 10)
    predictions.prune(first_id_at(datetime(2100, 1, 1, tzinfo=UTC)), 10)
    batch = a_batch(2)
    predictions.append(batch)
    assert list(predictions.recent(10)) == batch[::-1]
    predictions.prune(batch[0].id, 10)
    assert list(predictions.recent(10)) == batch[::-1]


def test_watermark_does_not_decrease(predictions: PostgresPredictions) -> None:
    old, kept = a_batch(2)
    predictions.append([old, kept])
    assert predictions.prune(kept.id, 10) == 1
    assert predictions.prune(old.id, 10) == 0
    predictions.append([old])
    assert list(predictions.recent(10)) == [kept]


def test_role_with_prune_rights_keeps_them_after_upgrade(postgres: str, administrator: psycopg.Connection) -> None:
    administrator.execute(yoyo_database(9).encode())
    administrator.execute('CREATE ROLE "Old Pruner"; CREATE ROLE reader')
    try:
        administrator.execute('GRANT DELETE ON predictions TO "Old Pruner"; GRANT INSERT ON predictions TO reader')
        PostgresPredictions.open(postgres).close()
        rights = administrator.execute(
            "SELECT role, has_table_privilege(role, 'prune_watermark', 'SELECT'),"
            " has_table_privilege(role, 'prune_watermark', 'UPDATE')"
            " FROM unnest(ARRAY['Old Pruner', 'reader']) AS role"
        ).fetchall()
        assert rights == [("Old Pruner", True, True), ("reader", True, False)]
    finally:
        administrator.execute('DROP OWNED BY "Old Pruner", reader; DROP ROLE "Old Pruner", reader')


def test_disconnected_process_does_not_restore_removed_predictions(
    postgres: str, tmp_path: Path, predictions: PostgresPredictions
) -> None:
    old, erased, kept = batch = a_batch(3)
    with SqliteSpool.open(tmp_path / "spool.sqlite") as spool:
        spool.append(batch)
    predictions.append([old])
    assert predictions.prune(next_id(old.id), 10) == 1
    predictions.erase([erased.id])
    spool = SqliteSpool.open(tmp_path / "spool.sqlite")
    with SpooledPredictions.open(spool, partial(PostgresPredictions.open, postgres), patience=SOON) as cut_off:
        assert list(cut_off.recent(10)) == [kept]
        assert cut_off.drained(SOON)
        assert list(cut_off.recent(10)) == list(predictions.recent(10)) == [kept]
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT id FROM predictions WHERE erased_at IS NULL").fetchall() == [(kept.id,)]


def test_key_reports_erasure_without_predictions(postgres: str, predictions: PostgresPredictions) -> None:
    erased, kept = batch = a_batch(2)
    predictions.append(batch)
    with closing(PostgresKeys.at(postgres)) as keys:
        both, one = new_delivery(), new_delivery()
        keys.reserve(both, [erased.id, kept.id])
        keys.reserve(one, [kept.id])
        predictions.erase([erased.id])
        with pytest.raises(ErasedPredictions):
            keys.find(both)
        with pytest.raises(ErasedPredictions):
            keys.reserve(both, [each.id for each in a_batch(2)])
        assert keys.find(one) == [kept.id]
