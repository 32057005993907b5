"""Contract suites for PredictionRepository and PredictionKeys. To test your adapter, subclass a suite:

class TestMyPredictions(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self):
        with MyPredictions(...) as repository:
            yield repository
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from threading import Barrier
from typing import ClassVar, cast
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from housepredict.domain.errors import RepeatedKey, RepositoryUnavailable
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.idempotency import Delivery
from housepredict.domain.ports import PredictionKeys, PredictionRepository
from housepredict.testing.drawing import (
    AFTER_ALL,
    batches,
    erasing,
    estimates,
    exactly,
    new_delivery,
    new_ids,
    newest_first,
    pages,
    prune_all,
    sample_predictions,
    shared,
)

Another = Callable[[], AbstractContextManager[PredictionRepository]]
AnotherKeys = Callable[[], AbstractContextManager[PredictionKeys]]


class PredictionRepositoryMachine(RuleBasedStateMachine):
    """A state machine that calls a repository at random, and compares it with a dictionary.

    Some calls use a second repository on the same data. All runs share the data, but each run uses ids that are larger
    than those of earlier runs.
    """

    def __init__(self, repository: PredictionRepository, another: Another, complete: bool = True) -> None:
        super().__init__()
        self.complete = complete
        self.open = another
        self.repository = repository
        self.first = new_ids(1)[0]
        self.stored: dict[UUID, Prediction] = {}
        self.erased: dict[UUID, Prediction] = {}
        self.pruned: dict[UUID, Prediction] = {}
        self.cleared = False

    @rule(batch=batches())
    def append(self, batch: list[Prediction]) -> None:
        self.repository.append(batch)
        self.stored |= {prediction.id: prediction for prediction in batch}

    @rule(new=batches(), data=st.data())
    def append_again(self, new: list[Prediction], data: st.DataObject) -> None:
        before = [*self.stored.values(), *self.erased.values(), *self.pruned.values()]
        known = data.draw(st.lists(st.sampled_from(before), max_size=4)) if before else []
        with self.open() as other:
            other.append([*known, *new])
        self.stored |= {prediction.id: prediction for prediction in new}

    @rule(limit=st.integers(0, 10))
    def read_recent(self, limit: int) -> None:
        expected = newest_first(list(self.stored.values()))[:limit]
        assert list(self.repository.recent(limit))[: len(expected)] == expected

    @rule(data=st.data())
    def find(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(list(self.stored)), max_size=4)) if self.stored else []
        assert list(self.repository.find(ids)) == [self.stored[id_] for id_ in sorted(set(ids))]

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), unknown=batches())
    def erase(self, data: st.DataObject, unknown: list[Prediction]) -> None:
        known = data.draw(st.lists(st.sampled_from(list(self.stored)), max_size=2)) if self.stored else []
        with self.open() as other:
            assert other.erase([*known, *(prediction.id for prediction in unknown)]) == len(set(known))
        self.erased |= {id_: self.stored.pop(id_) for id_ in set(known)}
        self.erased |= {prediction.id: prediction for prediction in unknown}

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), limit=st.integers(1, 5))
    def prune(self, data: st.DataObject, limit: int) -> None:
        if not self.cleared:
            prune_all(self.repository, self.first)
            self.cleared = True
        ids = sorted(self.stored | self.erased)
        before = data.draw(st.sampled_from([*ids, AFTER_ALL]))
        pruned = [id_ for id_ in ids if id_ < before][:limit]
        assert self.repository.prune(before, limit) == len(pruned)
        for id_ in pruned:
            self.pruned[id_] = (self.stored if id_ in self.stored else self.erased).pop(id_)

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), limit=st.integers(0, 10))
    def read_between(self, data: st.DataObject, limit: int) -> None:
        ids = sorted([self.first, *self.stored, *self.erased, AFTER_ALL])
        first, end = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from(ids))
        expected = [self.stored[id_] for id_ in sorted(self.stored) if first <= id_ < end]
        assert list(self.repository.between(first, end, limit)) == expected[:limit]

    @rule(size=st.integers(1, 5))
    def read_everything(self, size: int) -> None:
        with self.open() as other:
            assert list(pages(other, size, self.first)) == newest_first(list(self.stored.values()))


class PredictionRepositoryContract:
    """Contract tests for a PredictionRepository.

    Define the fixture `repository`, which returns an empty repository. If several processes can open its data at the
    same time, also define the fixture `another`. If the repository must be closed before its data can be opened again,
    define the fixture `reopened` instead of `another`.
    """

    complete: ClassVar[bool] = True
    """Whether the repository can read and erase all predictions.

    If False, as for a spool during a database outage, calls that need all predictions (such as `erase`) must raise
    RepositoryUnavailable.
    """

    @pytest.fixture
    def repository(self) -> PredictionRepository:
        """Return the empty repository to test."""
        raise NotImplementedError("define the fixture `repository`")

    @pytest.fixture
    def another(self, repository: PredictionRepository) -> Another:
        """Return a function that opens another repository on the same data. The function returns a context manager."""
        return lambda: nullcontext(repository)

    @pytest.fixture
    def reopened(self, another: Another) -> Another:
        """Return a function that opens another repository on the same data, like the one that `another` returns.

        Tests don't use `repository` after they have called the returned function, so it may close `repository`.
        """
        return another

    def test_empty_repository_is_ready(self, repository: PredictionRepository) -> None:
        repository.check()
        assert list(repository.recent(10)) == []

    @shared
    @given(batch=batches(estimates))
    def test_recent_returns_stored_predictions_newest_first(
        self, repository: PredictionRepository, batch: list[Prediction]
    ) -> None:
        repository.append(batch)
        read = repository.recent(len(batch))
        assert exactly(read) == exactly(newest_first(batch))
        assert {prediction.created_at.utcoffset() for prediction in read} <= {timedelta()}

    @shared
    @given(first=batches(), second=batches(min_size=1), limit=st.integers(0, 8))
    def test_recent_respects_limit(
        self, repository: PredictionRepository, first: list[Prediction], second: list[Prediction], limit: int
    ) -> None:
        repository.append(first)
        repository.append(second)
        expected = newest_first([*first, *second])
        assert list(repository.recent(limit))[: len(expected)] == expected[:limit]
        assert len(repository.recent(limit)) <= limit

    @shared
    @given(batch=batches(min_size=1), size=st.integers(1, 4))
    def test_pages_are_complete_while_predictions_are_appended(
        self, repository: PredictionRepository, batch: list[Prediction], size: int
    ) -> None:
        repository.append(batch)
        newest = newest_first(batch)
        read = pages(repository, size, newest[-1].id)
        first = next(read)
        repository.append([evolve(first, id=new_ids(1)[0])])
        assert [first, *read] == newest

    @shared
    @given(batch=batches(min_size=1), more=batches(), other=estimates)
    def test_append_ignores_known_ids(
        self, repository: PredictionRepository, batch: list[Prediction], more: list[Prediction], other: Estimate
    ) -> None:
        repository.append(batch)
        repository.append([*more, *(evolve(prediction, estimate=other) for prediction in batch)])
        assert list(repository.recent(len(batch) + len(more))) == newest_first([*batch, *more])

    @shared
    @given(batch=batches(estimates, min_size=1), data=st.data())
    def test_find_returns_each_prediction_once_in_order(
        self, repository: PredictionRepository, batch: list[Prediction], data: st.DataObject
    ) -> None:
        repository.append(batch)
        wanted = data.draw(st.lists(st.sampled_from(batch)))
        found = repository.find([prediction.id for prediction in wanted])
        assert exactly(found) == exactly([p for p in newest_first(batch)[::-1] if p in wanted])

    @shared
    @given(batch=batches(min_size=1))
    def test_find_omits_unknown_ids(self, repository: PredictionRepository, batch: list[Prediction]) -> None:
        first, *others = newest_first(batch)[::-1]
        repository.append(others)
        assert list(repository.find([first.id, *(prediction.id for prediction in others)])) == others

    def test_find_accepts_many_ids(self, repository: PredictionRepository) -> None:
        written = sample_predictions(40_000)
        repository.append(written[::400])
        found = repository.find([prediction.id for prediction in written[::400]] * 400)
        assert list(found) == written[::400]

    @erasing
    @given(batch=batches(estimates, min_size=3), data=st.data())
    def test_between_returns_predictions_oldest_first(
        self, repository: PredictionRepository, batch: list[Prediction], data: st.DataObject
    ) -> None:
        repository.append(batch)
        oldest_first = newest_first(batch)[::-1]
        ends = st.sampled_from([*(prediction.id for prediction in batch), AFTER_ALL])
        first, end, limit = data.draw(ends), data.draw(ends | st.just(AFTER_ALL)), data.draw(st.integers(0, 6))
        expected = [prediction for prediction in oldest_first if first <= prediction.id < end]
        with self._raises_if_incomplete():
            found = repository.between(first, end, limit)
            assert exactly(found) == exactly(expected[:limit])

    @erasing
    @given(batch=batches(estimates, min_size=1), late=batches(min_size=1), data=st.data())
    def test_erased_ids_are_never_stored_again(
        self, repository: PredictionRepository, batch: list[Prediction], late: list[Prediction], data: st.DataObject
    ) -> None:
        repository.append(batch)
        erased = data.draw(st.lists(st.sampled_from(batch), unique_by=lambda prediction: prediction.id))
        ids = [prediction.id for prediction in (*erased, *late)]
        with self._raises_if_incomplete():
            assert repository.erase([*ids, *ids]) == len(erased)
            remaining = [prediction for prediction in newest_first(batch) if prediction not in erased]
            for _ in range(2):
                assert list(repository.find([prediction.id for prediction in (*batch, *late)])) == remaining[::-1]
                assert list(repository.between(min(ids), AFTER_ALL, 100)) == [
                    prediction for prediction in remaining[::-1] if prediction.id >= min(ids)
                ]
                assert not {prediction.id for prediction in repository.recent(100)}.intersection(ids)
                repository.append([*batch, *late])
            assert repository.erase(ids) == 0
            assert repository.erase([]) == 0

    def test_erased_ids_stay_erased_after_reopening(self, repository: PredictionRepository, reopened: Another) -> None:
        remaining, *erased, late = batch = sample_predictions(5)
        ids = [prediction.id for prediction in batch]
        repository.append([remaining, *erased])
        with self._raises_if_incomplete():
            repository.erase([prediction.id for prediction in (*erased, late)])
            repository.append(batch)
            with reopened() as later:
                assert list(later.find(ids)) == [remaining]
                later.append(batch)
                assert list(later.find(ids)) == [remaining]

    @erasing
    @given(batch=batches(min_size=1), data=st.data(), limit=st.integers(1, 4))
    def test_prune_deletes_oldest_up_to_limit(
        self, repository: PredictionRepository, batch: list[Prediction], data: st.DataObject, limit: int
    ) -> None:
        first, *_ = oldest_first = newest_first(batch)[::-1]
        with self._raises_if_incomplete():
            prune_all(repository, first.id)
            repository.append(batch)
            repository.erase([first.id])
            before = data.draw(st.sampled_from([*(prediction.id for prediction in batch), AFTER_ALL]))
            pruned = [prediction for prediction in oldest_first if prediction.id < before][:limit]
            assert repository.prune(before, limit) == len(pruned)
            remaining = [p for p in oldest_first if p not in pruned and p is not first]
            assert list(repository.between(first.id, AFTER_ALL, 100)) == remaining

    def test_find_erased_returns_erased_and_pruned_ids(self, repository: PredictionRepository) -> None:
        batch = sample_predictions(4)
        pruned, erased, stored, unknown = ids = [prediction.id for prediction in batch]
        with self._raises_if_incomplete():
            assert list(repository.find_erased([])) == []
            prune_all(repository, pruned)
            repository.append(batch[:3])
            repository.erase([erased])
            assert list(repository.find_erased(ids)) == [erased]
            repository.erase([unknown])
            assert set(repository.find_erased(ids)) == {erased, unknown}
            assert repository.prune(stored, 10) == 2
            assert set(repository.find_erased(ids)) == {pruned, erased, unknown}

    def test_pruned_ids_are_never_stored_again(self, repository: PredictionRepository, reopened: Another) -> None:
        batch = sample_predictions(6)
        old, erased, older, end, *_ = ids = [prediction.id for prediction in batch]
        repository.append(batch)
        with self._raises_if_incomplete():
            repository.erase([erased])
            assert repository.prune(end, 1) == 1
            assert repository.prune(end, 10) == 2
            repository.append(batch)
            assert list(repository.find([old, erased, older])) == []
            with reopened() as later:
                later.append(batch)
                assert list(later.find(ids)) == batch[3:]
                assert list(later.between(old, AFTER_ALL, 10)) == batch[3:]
                assert list(later.recent(10))[:4] == batch[:2:-1]
                assert later.erase([old, erased, older]) == 0

    def test_new_ids_are_stored_after_prune_with_future_end(self, repository: PredictionRepository) -> None:
        """Test that predictions can be stored even if the clock of the process that prunes is years ahead."""
        repository.append(sample_predictions(2))
        with self._raises_if_incomplete():
            prune_all(repository, AFTER_ALL)
            new = sample_predictions(2)
            repository.append(new)
            assert list(repository.find([prediction.id for prediction in new])) == new

    def test_erase_accepts_many_ids(self, repository: PredictionRepository) -> None:
        written = sample_predictions(40_000)
        repository.append(written[::400])
        with self._raises_if_incomplete():
            assert repository.erase([prediction.id for prediction in written[:39_000]]) == 98
            assert list(repository.find([prediction.id for prediction in written])) == written[39_200::400]

    def test_concurrent_append_and_erase_leave_nothing(
        self, repository: PredictionRepository, another: Another
    ) -> None:
        with self._raises_if_incomplete(), another() as other:
            for _ in range(30):
                batch = sample_predictions(3)
                ids = [prediction.id for prediction in batch]
                with ThreadPoolExecutor(5) as threads:
                    work: list[Future[object]] = [threads.submit(repository.append, batch)]
                    work.append(threads.submit(other.erase, ids))
                    work += [threads.submit(repository.append, batch) for _ in range(3)]
                for future in work:
                    future.result()
                for reader in (repository, other):
                    assert list(reader.find(ids)) == []
                    assert list(reader.between(ids[0], AFTER_ALL, 10)) == []
                    assert not {prediction.id for prediction in reader.recent(10)}.intersection(ids)

    def _raises_if_incomplete(self) -> AbstractContextManager[object]:
        return nullcontext() if self.complete else pytest.raises(RepositoryUnavailable)

    @shared
    @given(batch=batches(min_size=1))
    def test_repeated_id_in_batch_is_stored_once(
        self, repository: PredictionRepository, batch: list[Prediction]
    ) -> None:
        repository.append([*batch, *batch])
        assert list(pages(repository, 2, min(prediction.id for prediction in batch))) == newest_first(batch)

    @shared
    @given(remaining=batches(min_size=1), failing=batches(min_size=1))
    def test_failed_batch_stores_nothing(
        self, repository: PredictionRepository, remaining: list[Prediction], failing: list[Prediction]
    ) -> None:
        repository.append(remaining)
        with pytest.raises((AttributeError, TypeError)):
            repository.append([*failing, cast("Prediction", None)])
        assert list(repository.recent(len(remaining))) == newest_first(remaining)

    def test_concurrent_appends_are_atomic_and_complete(self, repository: PredictionRepository) -> None:
        written = [sample_predictions(5) for _ in range(40)]
        # Each batch is sent twice, as in a retry after a lost response.
        with ThreadPoolExecutor(8) as threads:
            appended = [threads.submit(repository.append, batch) for batch in [*written, *written]]
            seen = [threads.submit(repository.recent, 1000) for _ in range(20)]
        for future in appended:
            future.result()
        for read in seen:
            ids = {prediction.id for prediction in read.result()}
            assert all(len(ids & {prediction.id for prediction in batch}) in {0, 5} for batch in written)
        assert list(repository.recent(1000)) == newest_first([prediction for batch in written for prediction in batch])

    def test_random_calls_match_a_sorted_list(self, repository: PredictionRepository, another: Another) -> None:
        run_state_machine_as_test(
            lambda: PredictionRepositoryMachine(repository, another, self.complete),  # type: ignore[arg-type]  # any factory will do
            settings=settings(max_examples=25, stateful_step_count=20),
        )


_THREADS = 8


class PredictionKeysContract:
    """Contract tests for PredictionKeys.

    Define the fixture `keys`, which returns an adapter that stores no keys yet. If several processes can open the
    adapter's data, also define the fixture `another`.
    """

    @pytest.fixture
    def keys(self) -> PredictionKeys:
        """Return the adapter to test. It must not store any keys yet."""
        raise NotImplementedError("define the fixture `keys`")

    @pytest.fixture
    def another(self, keys: PredictionKeys) -> AnotherKeys:
        """Return a function that opens another adapter on the same data. The function returns a context manager."""
        return lambda: nullcontext(keys)

    def test_unknown_key_is_not_found(self, keys: PredictionKeys) -> None:
        keys.reserve(new_delivery(), new_ids(1))
        assert keys.find(new_delivery()) is None

    @pytest.mark.parametrize("count", [1, 1000])
    def test_first_ids_are_reserved_in_order(self, keys: PredictionKeys, another: AnotherKeys, count: int) -> None:
        delivery, ids = new_delivery(), list(reversed(new_ids(count)))
        assert _are_equal(keys.reserve(delivery, ids), ids)
        with another() as other:
            assert _are_equal(other.find(delivery), ids)
            assert _are_equal(other.reserve(delivery, new_ids(count)), ids)
        assert _are_equal(keys.find(delivery), ids)

    def test_key_with_another_request_is_rejected(self, keys: PredictionKeys) -> None:
        delivery, ids = new_delivery(), new_ids(2)
        other = Delivery(delivery.key, "f" * 64)
        keys.reserve(delivery, ids)
        with pytest.raises(RepeatedKey):
            keys.find(other)
        with pytest.raises(RepeatedKey):
            keys.reserve(other, new_ids(2))
        assert list(keys.find(delivery) or []) == ids

    def test_keys_are_compared_exactly(self, keys: PredictionKeys) -> None:
        ids_by_key = {key: new_ids(1) for key in ("deed-1", "Deed-1", "deed-1%", "'deed-1'")}
        for key, ids in ids_by_key.items():
            assert list(keys.reserve(Delivery(key, "0" * 64), ids)) == list(ids)
        assert {key: list(keys.find(Delivery(key, "0" * 64)) or []) for key in ids_by_key} == {
            key: list(ids) for key, ids in ids_by_key.items()
        }

    def test_prune_deletes_oldest_keys_up_to_limit(self, keys: PredictionKeys) -> None:
        deliveries = [new_delivery() for _ in range(4)]
        ids = [new_ids(2) for _ in deliveries]
        for delivery, reserved in reversed(list(zip(deliveries, ids, strict=True))):
            keys.reserve(delivery, reserved)

        def known() -> list[bool]:
            return [keys.find(delivery) is not None for delivery in deliveries]

        assert keys.prune(ids[0][0], 10) == 0
        assert keys.prune(ids[3][0], 2) == 2
        assert known() == [False, False, True, True]
        assert keys.prune(ids[3][0], 2) == 1
        assert known() == [False, False, False, True]
        reused = new_ids(1)
        assert list(keys.reserve(deliveries[0], reused)) == list(reused)

    def test_pruned_keys_can_be_reused(self, keys: PredictionKeys, another: AnotherKeys) -> None:
        delivery, other, ids = new_delivery(), new_delivery(), new_ids(3)
        keys.reserve(delivery, ids[:1])
        keys.reserve(other, ids[1:2])
        assert keys.prune(ids[1], 10) == 1
        with another() as later:
            assert later.find(delivery) is None
            changed = Delivery(delivery.key, "f" * 64)
            assert later.find(changed) is None
            assert _are_equal(later.reserve(changed, ids[2:]), ids[2:])
            assert _are_equal(later.find(other), ids[1:2])

    def test_concurrent_requests_with_one_key_get_the_same_ids(
        self, keys: PredictionKeys, another: AnotherKeys
    ) -> None:
        with another() as other, ThreadPoolExecutor(_THREADS) as threads:
            for _ in range(5):
                delivery, start = new_delivery(), Barrier(_THREADS)

                def reserve(number: int, delivery: Delivery = delivery, start: Barrier = start) -> tuple[UUID, ...]:
                    start.wait(10)
                    return tuple((keys, other)[number % 2].reserve(delivery, new_ids(2)))

                assert len(set(threads.map(reserve, range(_THREADS)))) == 1


def _are_equal(found: Sequence[UUID] | None, ids: Sequence[UUID]) -> bool:
    """Compare ids outside of an assertion, because pytest would take minutes to show how a thousand ids differ."""
    return list(found or []) == list(ids)
