from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from attrs import evolve

from housepredict.adapters.sqlite.predictions import SqlitePredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.features import House
from housepredict.testing.prediction_contract import Another, PredictionRepositoryContract
from tests.conftest import SMALL_DISK
from tests.doubles import a_batch
from tests.small_disks import small_disk

RECORDER = [sys.executable, str(Path(__file__).with_name("recorder.py"))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "data" / "predictions.sqlite"


@pytest.fixture
def predictions(path: Path) -> Iterator[SqlitePredictions]:
    with SqlitePredictions.open(path, timeout=0.01) as predictions:
        yield predictions


class TestSqlitePredictions(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, path: Path) -> Iterator[SqlitePredictions]:
        with SqlitePredictions.open(path) as repository:
            yield repository

    @pytest.fixture
    def another(self, path: Path) -> Another:
        return partial(SqlitePredictions.open, path)


def test_acknowledged_predictions_survive_kill(path: Path) -> None:
    with subprocess.Popen([*RECORDER, str(path)], stdout=subprocess.PIPE, text=True) as recorder:
        assert recorder.stdout is not None
        acknowledged = [recorder.stdout.readline() for _ in range(20)]
        recorder.kill()
        acknowledged += recorder.stdout.read().splitlines(keepends=True)
    ids = {UUID(each) for line in acknowledged if line.endswith("\n") for each in line.split()}
    with SqlitePredictions.open(path) as predictions:
        recorded = {each.id for each in predictions.recent(10**9)}
    assert ids <= recorded
    assert len(recorded) % 5 == 0, "half a batch"


def test_processes_share_a_new_file(path: Path) -> None:
    recorders = [
        subprocess.Popen([*RECORDER, str(path), "20"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    outcomes = [(recorder.communicate(), recorder.returncode) for recorder in recorders]
    assert [code for _, code in outcomes] == [0] * 6, outcomes
    with SqlitePredictions.open(path) as predictions:
        assert {str(each.id) for each in predictions.recent(10**9)} == {
            each for (out, _), _ in outcomes for each in out.split()
        }


def test_database_files_are_private_to_owner(path: Path, predictions: SqlitePredictions) -> None:
    predictions.append(a_batch(1))
    assert [f"{each.stat().st_mode & 0o777:o}" for each in (path.parent.parent, path.parent)] == ["700", "700"]
    assert {f"{each.stat().st_mode & 0o777:o}" for each in path.parent.iterdir()} == {"600"}


def test_commit_is_synchronous(predictions: SqlitePredictions) -> None:
    full = 2
    assert predictions._connection.execute("PRAGMA synchronous").fetchone() == (full,)
    assert predictions._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_full_disk_rejects_batch_and_recovers(predictions: SqlitePredictions) -> None:
    (before,) = a_batch(1)
    predictions.append([before])
    (used,) = predictions._connection.execute("PRAGMA page_count").fetchone()
    predictions._connection.execute(f"PRAGMA max_page_count = {used + 1}")
    with pytest.raises(RepositoryUnavailable, match="full"):
        predictions.append(a_batch(1000))
    assert predictions.recent(10) == [before]
    predictions._connection.execute("PRAGMA max_page_count = 1000000")
    predictions.append(a_batch(1000))
    assert len(predictions.recent(2000)) == 1001


def test_locked_file_is_unavailable_until_released(path: Path, predictions: SqlitePredictions) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RepositoryUnavailable, match="locked"):
        predictions.append(a_batch(1))
    with pytest.raises(RepositoryUnavailable, match="locked"):
        predictions.check()
    other.close()
    predictions.check()
    predictions.append(a_batch(1))
    assert len(predictions.recent(10)) == 1


def check_until_log_is_full(predictions: SqlitePredictions) -> None:
    """Check until the allocated part of the write-ahead log is full."""
    for _ in range(1000):
        predictions.check()


def test_check_detects_full_disk(pytestconfig: pytest.Config) -> None:
    with (
        small_disk(pytestconfig.stash[SMALL_DISK]) as disk,
        SqlitePredictions.open(disk.folder / "predictions.sqlite") as predictions,
    ):
        predictions.check()
        disk.resize(os.getpid(), 1)
        try:
            disk.take_the_rest(os.getpid())
            with pytest.raises(RepositoryUnavailable, match=r"full|I/O"):
                check_until_log_is_full(predictions)
        finally:
            disk.resize(os.getpid(), 2)
            disk.relieve(os.getpid())
        predictions.check()


def test_check_keeps_schema_version_of_newer_release(path: Path, predictions: SqlitePredictions) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
        predictions.check()
        assert other.execute("PRAGMA user_version").fetchone() == (99,)


def test_file_of_newer_release_is_rejected(path: Path) -> None:
    SqlitePredictions.open(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(RepositoryUnavailable, match=r"predictions\.sqlite.*newer release of housepredict.*upgrade"):
        SqlitePredictions.open(path)


def test_file_that_is_no_database_is_rejected_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk, eggs, a house" * 100)
    with pytest.raises(RepositoryUnavailable, match="not a database"):
        SqlitePredictions.open(path)
    assert path.read_text().startswith("milk")


def test_impossible_path_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RepositoryUnavailable, match=r"predictions\.sqlite"):
        SqlitePredictions.open(tmp_path / "file" / "predictions.sqlite")


def test_closed_repository_is_unavailable(predictions: SqlitePredictions) -> None:
    predictions.close()
    for use in (predictions.check, lambda: predictions.recent(1), lambda: predictions.append(a_batch(1))):
        with pytest.raises(RepositoryUnavailable):
            use()


def test_removed_predictions_leave_no_trace_in_file(tmp_path: Path) -> None:
    path = tmp_path / "erasing.sqlite"
    secrets = ["a house that was erased", "a house that was pruned", "a house that was kept"]
    batch = [
        evolve(each, estimate=evolve(each.estimate, house=House({"address": secret})))
        for each, secret in zip(a_batch(3), secrets, strict=True)
    ]
    with SqlitePredictions.open(path) as predictions:
        erased, _, kept = batch
        predictions.append(batch)
        predictions.erase([erased.id])
        predictions.prune(kept.id, 10)
        assert predictions.recent(10) == [kept]
        written = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert [secret.encode() in written for secret in secrets] == [False, False, True]
