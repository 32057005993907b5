"""Predictions erased or pruned elsewhere are not returned from a spool."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from housepredict.adapters.memory import InMemoryKeys, InMemoryPredictions
from housepredict.adapters.spool import Backoff, SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.errors import ErasedPredictions, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.idempotency import Delivery
from tests.doubles import a_batch
from tests.erasure_worlds import AFTER_ALL
from tests.http_service import LAB_HOUSE, application, lab_version
from tests.integration.spools import SOON, Behind, LockableSpool, spooled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


def connected_with_pending(
    stack: ExitStack, path: Path, behind: Behind, batch: list[Prediction], spool: SqliteSpool | None = None
) -> SpooledPredictions:
    """Return a process that spooled a batch in an outage and reconnects while another process holds the drain lock."""
    spool = stack.enter_context(spool or SqliteSpool.open(path))
    made = SpooledPredictions(spool, lambda: behind, Backoff())  # no thread, because the test drains explicitly
    made.append(batch)
    stack.enter_context(spool.draining())
    made._drain()
    assert (made.backlog().pending, made.backlog().reason) == (len(batch), None)
    return made


def erase(behind: Behind, batch: list[Prediction]) -> None:
    behind.erase([each.id for each in batch])


def prune(behind: Behind, batch: list[Prediction]) -> None:
    behind.prune(batch[-1].id, 100)
    behind.erase([batch[-1].id])


@pytest.mark.parametrize("forget", [erase, prune])
def test_erased_predictions_are_dropped_from_spool(
    path: Path, forget: Callable[[Behind, list[Prediction]], None]
) -> None:
    behind, batch = Behind(), a_batch(3)
    ids = [each.id for each in batch]
    with ExitStack() as stack:
        predictions = connected_with_pending(stack, path, behind, batch)
        assert list(predictions.recent(10)) == batch[::-1]
        forget(behind, batch)
        assert list(predictions.recent(10)) == []
        assert list(predictions.find(ids)) == []
        assert list(predictions.between(ids[0], AFTER_ALL, 10)) == []
        assert predictions.erase(ids) == 0
        assert predictions.backlog().pending == 0
        behind.down = True
        predictions.append(batch)
        assert list(predictions.recent(10)) == []


def test_erased_predictions_leave_pages_full(path: Path) -> None:
    behind, batch = Behind(), a_batch(6)
    with ExitStack() as stack:
        predictions = connected_with_pending(stack, path, behind, batch)
        erase(behind, [batch[5], batch[3], batch[0]])
        assert list(predictions.recent(2)) == [batch[4], batch[2]]
        assert list(predictions.between(batch[0].id, AFTER_ALL, 2)) == [batch[1], batch[2]]


def test_erased_predictions_are_hidden_while_the_spool_is_locked(path: Path) -> None:
    behind, batch = Behind(), a_batch(6)
    ids = [each.id for each in batch]
    with ExitStack() as stack:
        predictions = connected_with_pending(stack, path, behind, batch, SqliteSpool.open(path, timeout=0.01))
        other = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
        other.execute("BEGIN IMMEDIATE")
        erase(behind, [batch[5], batch[3], batch[0]])
        for _ in range(2):
            assert list(predictions.recent(2)) == [batch[4], batch[2]]
            assert list(predictions.recent(10)) == [batch[4], batch[2], batch[1]]
            assert list(predictions.find(ids)) == [batch[1], batch[2], batch[4]]
            assert list(predictions.between(batch[0].id, AFTER_ALL, 2)) == [batch[1], batch[2]]
        assert predictions.backlog().reason is None, "the database is available"
        with pytest.raises(RepositoryUnavailable, match="locked"):
            predictions.erase([batch[1].id])
        assert predictions.backlog().reason is None, "the database is available"
        behind.down = True
        assert list(predictions.recent(10)) == [batch[4], batch[2]]
        other.execute("ROLLBACK")
        behind.down = False
        predictions._drain()
        assert predictions.erase([batch[2].id]) == 1
        with SqliteSpool.open(path) as restarted:
            assert list(restarted.recent(10)) == [batch[4]]


def test_prune_fails_without_outage_if_spool_is_locked(path: Path) -> None:
    behind, batch = Behind(), a_batch(3)
    with ExitStack() as stack:
        spool = LockableSpool.open(path)
        predictions = connected_with_pending(stack, path, behind, batch, spool)
        spool.locked = True
        with pytest.raises(RepositoryUnavailable, match="locked"):
            predictions.prune(batch[2].id, 10)
        assert predictions.backlog().reason is None, "the database is available"


def test_unreadable_spool_is_not_reported_as_outage(path: Path) -> None:
    behind, batch = Behind(), a_batch(1)
    with ExitStack() as stack:
        predictions = connected_with_pending(stack, path, behind, batch)
        with closing(sqlite3.connect(path)) as other:
            other.execute("ALTER TABLE predictions RENAME TO damaged")
        with pytest.raises(RepositoryUnavailable, match="no such table"):
            predictions.recent(10)
        with pytest.raises(RepositoryUnavailable, match="no such table"):
            predictions.find([batch[0].id])
        assert predictions._fault is None


def test_failed_spool_write_is_not_reported_as_outage(path: Path) -> None:
    behind, batch = Behind(down=True), a_batch(2)
    with SqliteSpool.open(path, timeout=0.01) as spool, closing(sqlite3.connect(path, isolation_level=None)) as other:
        predictions = SpooledPredictions(spool, lambda: behind, Backoff())
        predictions.append(batch)
        with pytest.raises(RepositoryUnavailable):
            predictions._drain()
        predictions._report(RepositoryUnavailable("down"))
        behind.down = False
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RepositoryUnavailable, match="locked"):
            predictions._drain()
        erase(behind, batch[:1])
        assert list(predictions.recent(10)) == batch[1:]


def test_erased_predictions_are_counted_once(path: Path) -> None:
    behind, (spooled_only, both, stored) = Behind(), a_batch(3)
    with ExitStack() as stack:
        predictions = connected_with_pending(stack, path, behind, [spooled_only, both])
        InMemoryPredictions.append(behind, [both, stored])
        ids = [spooled_only.id, both.id, stored.id]
        assert predictions.erase(ids) == 3
        assert predictions.erase(ids) == 0


def test_prune_deletes_oldest_across_spool_and_repository(path: Path) -> None:
    behind, batch = Behind(), a_batch(6)
    with ExitStack() as stack:
        predictions = connected_with_pending(stack, path, behind, batch[2:4])
        InMemoryPredictions.append(behind, [*batch[:2], *batch[4:]])
        assert predictions.prune(batch[5].id, 3) == 3
        assert list(predictions.recent(10)) == batch[:2:-1]
        assert predictions.prune(batch[5].id, 3) == 2
        assert list(predictions.recent(10)) == batch[5:]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 10])
def test_pruned_predictions_are_counted_once(path: Path, limit: int) -> None:
    behind, batch = Behind(), a_batch(8)
    ids = [prediction.id for prediction in batch]
    with ExitStack() as stack:
        predictions = connected_with_pending(stack, path, behind, [batch[1], *batch[3:6]])
        InMemoryPredictions.append(behind, [batch[0], batch[2], batch[3], batch[4], *batch[6:]])
        total = 0
        while total < 7:
            pruned = predictions.prune(ids[7], limit)
            assert pruned == min(limit, 7 - total)
            total += pruned
            assert list(predictions.between(ids[0], AFTER_ALL, 10)) == batch[total:]
            assert list(predictions.find_erased(ids)) == ids[:total]
        assert predictions.prune(ids[7], limit) == 0
        assert not predictions.backlog()


def test_late_drain_does_not_restore_pruned_predictions(path: Path) -> None:
    behind, batch = Behind(down=True), a_batch(4)
    waiting, erased, uncertain, kept = batch
    with spooled(path, behind) as predictions:
        predictions.append(batch)
        InMemoryPredictions.append(behind, [uncertain])
        InMemoryPredictions.erase(behind, [erased.id])
        # the prune also removes the erasure marker, and its watermark covers the pending row
        assert InMemoryPredictions.prune(behind, kept.id, 10) == 2
        behind.down = False
        assert predictions.drained(SOON)
        assert list(predictions.recent(10)) == list(behind.recent(10)) == [kept]
        assert waiting.id in behind.find_erased([each.id for each in batch])


def test_restored_spool_does_not_restore_erased_predictions(path: Path) -> None:
    behind, (gone, kept) = Behind(down=True), a_batch(2)
    with spooled(path, behind) as predictions:
        predictions.append([gone, kept])
    shutil.copy(path, path.with_name("backup"))
    behind.down = False
    with spooled(path, behind) as predictions:
        assert predictions.drained(SOON)
        predictions.erase([gone.id])
    path.with_name("backup").replace(path)
    with spooled(path, behind) as predictions:
        assert list(predictions.recent(10)) == [kept]
        assert predictions.drained(SOON)
        assert list(predictions.recent(10)) == list(behind.recent(10)) == [kept]


def test_remove_and_dead_letter_leave_erasure_markers(path: Path) -> None:
    handed_over, refused, waiting = batch = a_batch(3)
    with SqliteSpool.open(path) as spool:
        spool.append(batch)
        assert spool.erase([handed_over.id, refused.id]) == 2
        # these were in flight when they were erased
        spool.remove([handed_over])
        spool.add_dead_letter(refused, "poison")
        assert (spool.backlog().pending, spool.backlog().dead_letters) == (1, 0)
        assert spool.backlog().oldest == waiting.created_at
        spool.append(batch)
        assert list(spool.recent(10)) == list(spool.oldest(10)) == [waiting]


def test_erased_prediction_is_not_replayed_from_spool(path: Path) -> None:
    made, behind = application(lab_version()), Behind()
    delivery = Delivery("deed-4711", "0" * 64)
    with ExitStack() as stack:
        spool = stack.enter_context(SqliteSpool.open(path))
        stack.enter_context(spool.draining())
        made.storage.prediction_keys = InMemoryKeys()
        made.storage.predictions = predictions = SpooledPredictions(spool, lambda: behind, Backoff())
        predictions._drain()
        behind.down = True
        predictions.append(a_batch(1))  # detects the outage
        behind.down = False
        (first,) = made.predict_once.for_key(lambda: [LAB_HOUSE], delivery)
        spool.append([first])  # as an older release would have spooled it
        assert predictions.backlog().pending == 2
        predictions._drain()
        behind.erase([first.id])
        for _ in range(2):
            with pytest.raises(ErasedPredictions):
                made.predict_once.for_key(lambda: [LAB_HOUSE], delivery)
        assert list(predictions.find([first.id])) == []
