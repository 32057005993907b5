"""Acknowledged predictions are stored exactly once, whatever happens to the repository behind the spool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from attrs import define

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.spool import SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.errors import MisconfiguredRepository, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import PredictionRepository
from housepredict.testing.prediction_contract import PredictionRepositoryContract
from tests.doubles import a_batch
from tests.integration.spools import QUICK, SOON, Behind, Bottomless, Hasty, spooled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


class TestSpooledInMemory(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, path: Path) -> Iterator[SpooledPredictions]:
        with spooled(path, Behind()) as repository:
            yield repository


class TestSpooledDuringAnOutage(PredictionRepositoryContract):
    complete = False

    @pytest.fixture
    def repository(self, path: Path) -> Iterator[SpooledPredictions]:
        with spooled(path, Behind(down=True)) as repository:
            yield repository

    def test_find_omits_unknown_ids(self, repository: PredictionRepository) -> None:
        """The repository behind the spool may have it."""
        kept, elsewhere = a_batch(2)
        repository.append([kept])
        with pytest.raises(RepositoryUnavailable, match="down"):
            repository.find([kept.id, elsewhere.id])
        assert list(repository.find([kept.id])) == [kept]


class TestSpooledBeforePostgres(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self, path: Path, postgres: str) -> Iterator[SpooledPredictions]:
        with SpooledPredictions.open(SqliteSpool.open(path), partial(PostgresPredictions.open, postgres)) as repository:
            assert repository.drained(SOON)
            yield repository


def test_find_reads_both_and_reports_outage(path: Path) -> None:
    behind, (first, second) = Behind(), a_batch(2)
    with spooled(path, behind) as predictions:
        assert predictions.drained(SOON)
        predictions.append([first])
        behind.down = True
        predictions.append([second])
        assert list(predictions.find([second.id])) == [second]
        with pytest.raises(RepositoryUnavailable, match="down"):
            predictions.find([second.id, first.id])
        behind.down = False
        assert predictions.drained(SOON)
        assert list(predictions.find([second.id, first.id])) == [first, second]


def test_find_reports_outage_it_detects(path: Path) -> None:
    behind, (sent,) = Behind(), a_batch(1)
    with spooled(path, behind) as predictions:
        assert predictions.drained(SOON)
        predictions.append([sent])
        behind.down = True
        with pytest.raises(RepositoryUnavailable, match="down"):
            predictions.find([sent.id])


def test_drain_does_not_restore_erased_predictions(path: Path, tmp_path: Path) -> None:
    behind, batch = Behind(down=True, refused=set()), a_batch(4)
    here, elsewhere, dead_letter, kept = batch
    behind.refused.add(dead_letter.id)
    with spooled(path, behind) as predictions, spooled(tmp_path / "another.sqlite", behind) as another:
        predictions.append([here, dead_letter, kept])
        another.append([elsewhere])
        with pytest.raises(RepositoryUnavailable, match="down"):
            predictions.erase([here.id])
        assert list(predictions.find([here.id])) == [here]
        # erased while pending in the spool of another service
        InMemoryPredictions.erase(behind, [elsewhere.id])
        behind.down = False
        assert predictions.drained(SOON)
        assert another.drained(SOON)
        assert predictions.erase([here.id, dead_letter.id, elsewhere.id]) == 2
        assert predictions.backlog().dead_letters == 0
        predictions.append(batch[:2])
        assert list(predictions.recent(10)) == list(another.recent(10)) == [kept]


def test_prune_deletes_old_dead_letters(path: Path) -> None:
    (dead_letter, kept), behind = a_batch(2), Behind()
    behind.refused.add(dead_letter.id)
    with spooled(path, behind) as predictions:
        predictions.append([dead_letter])
        assert predictions.drained(SOON)
        predictions.append([kept])
        assert predictions.prune(kept.id, 10) == 1
        assert not predictions.backlog()
        assert list(predictions.recent(10)) == [kept]


def check_full_spool_rejects_batches(path: Path, kind: type[SqliteSpool]) -> None:
    behind, acknowledged = Behind(down=True), []
    with spooled(path, behind, kind, max_rows=10) as predictions:
        for batch in (a_batch(4), a_batch(4), a_batch(4), a_batch(2)):
            with suppress(RepositoryUnavailable):
                predictions.append(batch)
                acknowledged += [each.id for each in batch]
        with pytest.raises(RepositoryUnavailable, match="full"):
            predictions.check()
        behind.down = False
        assert predictions.drained(SOON)
        assert behind.arrived == acknowledged
        assert len(acknowledged) == 10
        predictions.check()


def check_poison_row_becomes_dead_letter(path: Path, kind: type[SqliteSpool]) -> None:
    before, poison, after = a_batch(20), a_batch(1), a_batch(20)
    behind = Behind(refused={poison[0].id})
    with spooled(path, behind, kind) as predictions:
        predictions.append([*before, *poison, *after])
        assert predictions.drained(SOON)
        assert behind.arrived == [each.id for each in (*before, *after)]
        assert predictions.backlog().dead_letters == 1
        assert predictions.recent(41) == [*before, *poison, *after][::-1]


@pytest.mark.parametrize(
    ("check", "lossy"),
    [(check_full_spool_rejects_batches, Bottomless), (check_poison_row_becomes_dead_letter, Hasty)],
    ids=["full spool", "poison"],
)
def test_spool_guarantees_hold_and_violations_are_detected(
    tmp_path: Path, check: Callable[[Path, type[SqliteSpool]], None], lossy: type[SqliteSpool]
) -> None:
    check(tmp_path / "sound.sqlite", SqliteSpool)
    with pytest.raises(AssertionError):
        check(tmp_path / "lossy.sqlite", lossy)


def test_full_disk_rejects_batch(path: Path) -> None:
    spool, behind = SqliteSpool.open(path), Behind(down=True)
    with SpooledPredictions.open(spool, lambda: behind, backoff=QUICK) as predictions:
        kept = a_batch(3)
        predictions.append(kept)
        (used,) = spool._connection.execute("PRAGMA page_count").fetchone()
        spool._connection.execute(f"PRAGMA max_page_count = {used + 1}")
        with pytest.raises(RepositoryUnavailable, match="full"):
            predictions.append(a_batch(1000))
        behind.down = False
        assert predictions.drained(SOON)
        assert behind.arrived == [each.id for each in kept]


def test_backlog_reports_pending_age_and_reason(path: Path) -> None:
    behind = Behind()
    with spooled(path, behind) as predictions:
        assert predictions.drained(SOON)
        behind.down = True
        batch = a_batch(2)
        predictions.append(batch)
        backlog = predictions.backlog()
        assert (backlog.pending, backlog.oldest, backlog.reason) == (2, batch[0].created_at, "down")
        predictions.check()
        behind.down = False
        assert predictions.drained(SOON)
        assert not predictions.backlog()


def test_misconfigured_database_fails_check_and_spools(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrong = partial(PostgresPredictions.open, "postgresql://me:hu/sh@there/db")
    with SpooledPredictions.open(SqliteSpool.open(path), wrong) as predictions:
        predictions.append(a_batch(1))
        with pytest.raises(MisconfiguredRepository, match="percent-encoded"):
            predictions.check()
        assert predictions.backlog().pending == 1
    assert "percent-encoded" in caplog.text


def test_reads_skip_database_during_known_outage(path: Path) -> None:
    behind, (first, second) = Behind(), a_batch(2)
    with spooled(path, behind) as predictions:
        assert predictions.drained(SOON)
        predictions.append([first])
        behind.down = True
        assert predictions.recent(10) == []  # this read detects the outage
        predictions.append([second])
        assert predictions.recent(10) == [second]
        assert predictions.backlog().reason == "down"
        assert behind.reads == 1
        behind.down = False
        assert predictions.drained(SOON)
        assert predictions.recent(10) == [second, first]


@define
class Full(Behind):
    """A repository that passes checks but rejects appends while it is full."""

    full: bool = False
    checks: int = 0

    def check(self) -> None:
        self.checks += 1

    def append(self, predictions: Sequence[Prediction]) -> None:
        if self.full and predictions:
            raise RepositoryUnavailable("no space left on device")
        super().append(predictions)


def test_backlog_keeps_reason_while_another_process_drains(path: Path) -> None:
    behind, batch = Full(), a_batch(2)
    with spooled(path, behind) as predictions, SqliteSpool.open(path) as elsewhere:
        assert predictions.drained(SOON)
        with ExitStack() as turn:
            while not turn.enter_context(elsewhere.draining()):
                pass  # the first drain pass may not have ended
            behind.full = True
            predictions.append(batch)
            passes = behind.checks + 3
            while behind.checks < passes:
                assert not predictions.drained(0.001)
            assert predictions.backlog().reason == "no space left on device"
            behind.full = False
        assert predictions.drained(SOON)
    assert [each.id for each in behind.recent(10)] == [each.id for each in batch[::-1]]


def test_reads_include_database_while_spool_drains(path: Path, tmp_path: Path) -> None:
    behind, batch = Behind(), a_batch(2)
    with spooled(path, behind) as predictions, SqliteSpool.open(path) as elsewhere:
        assert predictions.drained(SOON)
        predictions.append(batch[:1])
        with ExitStack() as turn:
            while not turn.enter_context(elsewhere.draining()):
                pass  # the pass that drained it may not have ended
            behind.down = True
            predictions.append(batch[1:])
            behind.down = False
            while predictions.backlog().reason:
                predictions.drained(0.001)
            assert predictions.backlog().pending == 1
            assert predictions.recent(10) == batch[::-1]
