"""Files written before estimates had intervals."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from attrs import evolve

from housepredict.adapters.sqlite.predictions import SqlitePredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.estimates import Estimate, Interval, Prediction
from housepredict.domain.features import House
from housepredict.domain.warnings import EstimateWarning
from tests.doubles import a_batch
from tests.integration.spools import SOON, Behind, spooled

TABLE = """
CREATE TABLE predictions (
    id            TEXT PRIMARY KEY NOT NULL,
    created_at    TEXT NOT NULL,
    model_version TEXT NOT NULL,
    features      TEXT NOT NULL,
    price_cents   INTEGER NOT NULL,
    valued_on     TEXT,
    caveats       TEXT NOT NULL
) WITHOUT ROWID
"""
INSERT = """
INSERT INTO predictions (id, created_at, model_version, features, price_cents, valued_on, caveats)
VALUES (?, ?, 'a version', ?, 25420602, '2015-05-27', ?) ON CONFLICT (id) DO NOTHING
"""
SET_ASIDE = "CREATE TABLE set_aside (id TEXT PRIMARY KEY NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID"
TALLY = "CREATE TABLE tally AS SELECT 0 AS kept"

HOUSE = {"size": 2500, "age": 10.0}
CAVEAT = {"code": "demonstration", "message": "made up", "feature": None}
ESTIMATE = Estimate(
    House(HOUSE), 254206.02, "a version", date(2015, 5, 27), (EstimateWarning("demonstration", "made up"),)
)


def old_predictions(count: int, estimate: Estimate = ESTIMATE) -> list[Prediction]:
    return [evolve(each, estimate=estimate) for each in a_batch(count)]


def new_predictions(count: int) -> list[Prediction]:
    intervals = (Interval(80, 231000.5, 279000.0), Interval(90, 0.0, 1e13))
    return old_predictions(count, evolve(ESTIMATE, intervals=intervals, fsd=12.34))


def write_with_old_release(file: sqlite3.Connection, predictions: list[Prediction]) -> None:
    """Insert rows with the statement of the old release."""
    house, caveats = json.dumps(HOUSE), json.dumps([CAVEAT])
    with file:
        file.executemany(INSERT, [(str(each.id), each.created_at.isoformat(), house, caveats) for each in predictions])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "predictions.sqlite"


@pytest.fixture
def old(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield an empty file of the old release, opened as that release did."""
    file = sqlite3.connect(path)
    file.execute("PRAGMA journal_mode = WAL")
    file.execute(TABLE)
    file.execute("PRAGMA user_version = 1")
    file.commit()
    yield file
    file.close()


@pytest.fixture
def old_spool(old: sqlite3.Connection) -> sqlite3.Connection:
    old.execute(SET_ASIDE)
    old.execute(TALLY)
    old.commit()
    return old


def test_upgrade_keeps_rows_and_adds_intervals(path: Path, old: sqlite3.Connection) -> None:
    before, after = old_predictions(1000), new_predictions(2)
    write_with_old_release(old, before)
    with SqlitePredictions.open(path) as predictions:
        predictions.append([*before, *after])
    with SqlitePredictions.open(path) as predictions:
        assert predictions.recent(2000) == [*reversed(after), *reversed(before)]


def test_old_process_keeps_using_upgraded_file(path: Path, old: sqlite3.Connection) -> None:
    before, between, after = old_predictions(1), new_predictions(1), old_predictions(1)
    write_with_old_release(old, before)
    with SqlitePredictions.open(path) as predictions:
        predictions.append(between)
        write_with_old_release(old, after)
        assert predictions.recent(10) == [*after, *between, *before]


@pytest.mark.parametrize("kind", [SqlitePredictions, SqliteSpool])
def test_upgraded_file_matches_new_file(
    kind: type[SqlitePredictions], path: Path, old_spool: sqlite3.Connection
) -> None:
    new = path.with_name("new.sqlite")
    for each in (path, new):
        kind.open(each).close()
    assert columns(path) == columns(new)


def columns(path: Path) -> tuple[object, ...]:
    file = sqlite3.connect(path)
    try:
        tables = (file.execute(f"PRAGMA table_info({table})") for table in ("predictions", "pruned"))
        return (*file.execute("PRAGMA user_version"), *(column for table in tables for column in table))
    finally:
        file.close()


@pytest.mark.parametrize("kind", [SqlitePredictions, SqliteSpool])
def test_release_without_watermark_reopens_file(kind: type[SqlitePredictions], path: Path) -> None:
    old, pruned, kept, late = old_predictions(4)
    with kind.open(path) as predictions:
        predictions.append([old, pruned, kept])
        assert predictions.prune(kept.id, 10) == 2
        predictions.erase([kept.id])
    assert columns(path)[0] == (4,), "it refuses a later version"
    file = sqlite3.connect(path)
    try:
        write_with_old_release(file, [pruned, late])
    finally:
        file.close()
    with kind.open(path) as predictions:
        predictions.append([old, kept])
        assert list(predictions.recent(10)) == [late, pruned]


def test_file_without_watermark_gets_one(path: Path) -> None:
    old, kept = old_predictions(2)
    with SqlitePredictions.open(path) as predictions:
        predictions.append([old, kept])
        predictions._connection.execute("DROP TABLE pruned")
    with SqlitePredictions.open(path) as predictions:
        assert predictions.prune(kept.id, 10) == 1
        predictions.append([old])
        assert list(predictions.recent(10)) == [kept]


def test_old_spool_is_drained_and_keeps_dead_letters(path: Path, old_spool: sqlite3.Connection) -> None:
    waiting, poison, new = old_predictions(5), old_predictions(1), new_predictions(3)
    write_with_old_release(old_spool, [*waiting, *poison])
    with old_spool:
        old_spool.execute("INSERT INTO set_aside VALUES (?, 'poison')", (str(poison[0].id),))
        old_spool.execute("UPDATE tally SET kept = 6")
    with SqliteSpool.open(path) as spool:
        assert (spool.backlog().pending, spool.backlog().dead_letters) == (5, 1)
        assert spool.oldest(10) == waiting
        spool.append(new)
        assert spool.oldest(10) == [*waiting, *new]
        spool.remove(waiting[:2])
        assert (spool.backlog().pending, spool.backlog().dead_letters) == (6, 1)
    behind = Behind()
    with spooled(path, behind) as predictions:
        assert predictions.drained(SOON)
        assert predictions.backlog().dead_letters == 1
    assert list(behind.recent(20)) == [*reversed(new), *reversed(waiting[2:])]
