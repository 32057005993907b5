"""The contracts of PredictionRepository and PredictionKeys, as tests for adapters.

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
    shared,
    some_predictions,
)

Another = Callable[[], AbstractContextManager[PredictionRepository]]
AnotherKeys = Callable[[], AbstractContextManager[PredictionKeys]]


class PredictionRepositoryMachine(RuleBasedStateMachine):
    """Calls a repository at random, partly through another one over the same data, and compares it with a dictionary.

    One repository serves all runs: the ids of a run are above those of the runs before it.
    """

    def __init__(self, repository: PredictionRepository, another: Another, complete: bool = True) -> None:
        super().__init__()
        self.complete = complete
        self.open = another
        self.repository = repository
        self.first = new_ids(1)[0]
        self.recorded: dict[UUID, Prediction] = {}
        self.erased: dict[UUID, Prediction] = {}
        self.pruned: dict[UUID, Prediction] = {}
        self.cleared = False

    @rule(batch=batches())
    def append(self, batch: list[Prediction]) -> None:
        self.repository.append(batch)
        self.recorded |= {each.id: each for each in batch}

    @rule(new=batches(), data=st.data())
    def append_again(self, new: list[Prediction], data: st.DataObject) -> None:
        before = [*self.recorded.values(), *self.erased.values(), *self.pruned.values()]
        known = data.draw(st.lists(st.sampled_from(before), max_size=4)) if before else []
        with self.open() as other:
            other.append([*known, *new])
        self.recorded |= {each.id: each for each in new}

    @rule(limit=st.integers(0, 10))
    def read_the_newest(self, limit: int) -> None:
        expected = newest_first(list(self.recorded.values()))[:limit]
        assert list(self.repository.recent(limit))[: len(expected)] == expected

    @rule(data=st.data())
    def find_some(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(list(self.recorded)), max_size=4)) if self.recorded else []
        assert list(self.repository.find(ids)) == [self.recorded[each] for each in sorted(set(ids))]

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), unknown=batches())
    def erase(self, data: st.DataObject, unknown: list[Prediction]) -> None:
        known = data.draw(st.lists(st.sampled_from(list(self.recorded)), max_size=2)) if self.recorded else []
        with self.open() as other:
            assert other.erase([*known, *(each.id for each in unknown)]) == len(set(known))
        self.erased |= {each: self.recorded.pop(each) for each in set(known)}
        self.erased |= {each.id: each for each in unknown}

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), limit=st.integers(1, 5))
    def prune(self, data: st.DataObject, limit: int) -> None:
        if not self.cleared:
            prune_all(self.repository, self.first)
            self.cleared = True
        ids = sorted(self.recorded | self.erased)
        before = data.draw(st.sampled_from([*ids, AFTER_ALL]))
        pruned = [each for each in ids if each < before][:limit]
        assert self.repository.prune(before, limit) == len(pruned)
        for each in pruned:
            self.pruned[each] = (self.recorded if each in self.recorded else self.erased).pop(each)

    @precondition(lambda self: self.complete)
    @rule(data=st.data(), limit=st.integers(0, 10))
    def read_between(self, data: st.DataObject, limit: int) -> None:
        ids = sorted([self.first, *self.recorded, *self.erased, AFTER_ALL])
        first, end = data.draw(st.sampled_from(ids)), data.draw(st.sampled_from(ids))
        inside = [self.recorded[each] for each in sorted(self.recorded) if first <= each < end]
        assert list(self.repository.between(first, end, limit)) == inside[:limit]

    @rule(size=st.integers(1, 5))
    def read_everything(self, size: int) -> None:
        with self.open() as other:
            assert list(pages(other, size, self.first)) == newest_first(list(self.recorded.values()))


class PredictionRepositoryContract:
    """Subclass it, and define the fixture `repository`, an empty one.

    For a repository whose data outlives it, define the fixture `reopened`, too; if others can open the same data
    meanwhile, define `another` instead.
    """

    complete: ClassVar[bool] = True
    """Whether it can read and erase everything; False for one that is cut off from a part and refuses to."""

    @pytest.fixture
    def repository(self) -> PredictionRepository:
        """The repository to test, empty."""
        raise NotImplementedError("a subclass of PredictionRepositoryContract needs the fixture `repository`")

    @pytest.fixture
    def another(self, repository: PredictionRepository) -> Another:
        """A function that opens the data of `repository` once more, as a context manager."""
        return lambda: nullcontext(repository)

    @pytest.fixture
    def reopened(self, another: Another) -> Another:
        """As `another`, for tests that no longer use `repository`."""
        return another

    def test_an_empty_repository_has_nothing_to_tell_and_is_ready(self, repository: PredictionRepository) -> None:
        repository.check()
        assert list(repository.recent(10)) == []

    @shared
    @given(batch=batches(estimates))
    def test_what_is_read_is_what_was_recorded_newest_first(
        self, repository: PredictionRepository, batch: list[Prediction]
    ) -> None:
        repository.append(batch)
        read = repository.recent(len(batch))
        assert exactly(read) == exactly(newest_first(batch))
        assert {each.created_at.utcoffset() for each in read} <= {timedelta()}

    @shared
    @given(first=batches(), second=batches(min_size=1), limit=st.integers(0, 8))
    def test_no_more_are_read_than_the_limit(
        self, repository: PredictionRepository, first: list[Prediction], second: list[Prediction], limit: int
    ) -> None:
        repository.append(first)
        repository.append(second)
        expected = newest_first([*first, *second])
        assert list(repository.recent(limit))[: len(expected)] == expected[:limit]
        assert len(repository.recent(limit)) <= limit

    @shared
    @given(batch=batches(min_size=1), size=st.integers(1, 4))
    def test_pages_hold_everything_once_while_newer_ones_arrive(
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
    def test_a_known_id_is_ignored_and_the_rest_of_its_batch_is_recorded(
        self, repository: PredictionRepository, batch: list[Prediction], more: list[Prediction], other: Estimate
    ) -> None:
        repository.append(batch)
        repository.append([*more, *(evolve(each, estimate=other) for each in batch)])
        assert list(repository.recent(len(batch) + len(more))) == newest_first([*batch, *more])

    @shared
    @given(batch=batches(estimates, min_size=1), data=st.data())
    def test_predictions_are_found_by_their_ids_in_order_and_once(
        self, repository: PredictionRepository, batch: list[Prediction], data: st.DataObject
    ) -> None:
        repository.append(batch)
        asked = data.draw(st.lists(st.sampled_from(batch)))
        found = repository.find([each.id for each in asked])
        assert exactly(found) == exactly([each for each in newest_first(batch)[::-1] if each in asked])

    @shared
    @given(batch=batches(min_size=1))
    def test_an_id_that_is_not_known_is_left_out_of_what_is_found(
        self, repository: PredictionRepository, batch: list[Prediction]
    ) -> None:
        first, *others = newest_first(batch)[::-1]
        repository.append(others)
        assert list(repository.find([first.id, *(each.id for each in others)])) == others

    def test_many_are_found_at_once(self, repository: PredictionRepository) -> None:
        written = some_predictions(40_000)
        repository.append(written[::400])
        found = repository.find([each.id for each in written[::400]] * 400)
        assert list(found) == written[::400]

    @erasing
    @given(batch=batches(estimates, min_size=3), data=st.data())
    def test_what_lies_between_two_ids_is_read_oldest_first(
        self, repository: PredictionRepository, batch: list[Prediction], data: st.DataObject
    ) -> None:
        repository.append(batch)
        oldest_first = newest_first(batch)[::-1]
        ends = st.sampled_from([*(each.id for each in batch), AFTER_ALL])
        first, end, limit = data.draw(ends), data.draw(ends | st.just(AFTER_ALL)), data.draw(st.integers(0, 6))
        inside = [each for each in oldest_first if first <= each.id < end]
        with self._refused():
            found = repository.between(first, end, limit)
            assert exactly(found) == exactly(inside[:limit])

    @erasing
    @given(batch=batches(estimates, min_size=1), late=batches(min_size=1), data=st.data())
    def test_what_was_erased_is_gone_and_never_recorded_again(
        self, repository: PredictionRepository, batch: list[Prediction], late: list[Prediction], data: st.DataObject
    ) -> None:
        repository.append(batch)
        erased = data.draw(st.lists(st.sampled_from(batch), unique_by=lambda each: each.id))
        ids = [each.id for each in (*erased, *late)]
        with self._refused():
            assert repository.erase([*ids, *ids]) == len(erased)
            kept = [each for each in newest_first(batch) if each not in erased]
            for _ in range(2):
                assert list(repository.find([each.id for each in (*batch, *late)])) == kept[::-1]
                assert list(repository.between(min(ids), AFTER_ALL, 100)) == [
                    each for each in kept[::-1] if each.id >= min(ids)
                ]
                assert not {each.id for each in repository.recent(100)}.intersection(ids)
                repository.append([*batch, *late])
            assert repository.erase(ids) == 0
            assert repository.erase([]) == 0

    def test_what_was_erased_stays_gone_when_the_data_is_opened_anew(
        self, repository: PredictionRepository, reopened: Another
    ) -> None:
        kept, *erased, late = batch = some_predictions(5)
        ids = [each.id for each in batch]
        repository.append([kept, *erased])
        with self._refused():
            repository.erase([each.id for each in (*erased, late)])
            repository.append(batch)
            with reopened() as later:
                assert list(later.find(ids)) == [kept]
                later.append(batch)
                assert list(later.find(ids)) == [kept]

    @erasing
    @given(batch=batches(min_size=1), data=st.data(), limit=st.integers(1, 4))
    def test_the_oldest_are_pruned_and_no_more_than_asked(
        self, repository: PredictionRepository, batch: list[Prediction], data: st.DataObject, limit: int
    ) -> None:
        first, *_ = oldest_first = newest_first(batch)[::-1]
        with self._refused():
            prune_all(repository, first.id)
            repository.append(batch)
            repository.erase([first.id])
            before = data.draw(st.sampled_from([*(each.id for each in batch), AFTER_ALL]))
            pruned = [each for each in oldest_first if each.id < before][:limit]
            assert repository.prune(before, limit) == len(pruned)
            kept = [each for each in oldest_first if each not in pruned and each is not first]
            assert list(repository.between(first.id, AFTER_ALL, 100)) == kept

    def test_find_erased_returns_erased_and_pruned_ids(self, repository: PredictionRepository) -> None:
        batch = some_predictions(4)
        pruned, erased, stored, unknown = ids = [prediction.id for prediction in batch]
        with self._refused():
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
        batch = some_predictions(6)
        old, erased, older, end, *_ = ids = [each.id for each in batch]
        repository.append(batch)
        with self._refused():
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

    def test_ids_after_a_prune_are_stored_whatever_its_end(self, repository: PredictionRepository) -> None:
        """The clock of the process that prunes may be ahead by years."""
        repository.append(some_predictions(2))
        with self._refused():
            prune_all(repository, AFTER_ALL)
            new = some_predictions(2)
            repository.append(new)
            assert list(repository.find([each.id for each in new])) == new

    def test_many_are_erased_at_once(self, repository: PredictionRepository) -> None:
        written = some_predictions(40_000)
        repository.append(written[::400])
        with self._refused():
            assert repository.erase([each.id for each in written[:39_000]]) == 98
            assert list(repository.find([each.id for each in written])) == written[39_200::400]

    def test_what_is_recorded_while_it_is_erased_is_gone(
        self, repository: PredictionRepository, another: Another
    ) -> None:
        with self._refused(), another() as other:
            for _ in range(30):
                batch = some_predictions(3)
                ids = [each.id for each in batch]
                with ThreadPoolExecutor(5) as threads:
                    work: list[Future[object]] = [threads.submit(repository.append, batch)]
                    work.append(threads.submit(other.erase, ids))
                    work += [threads.submit(repository.append, batch) for _ in range(3)]
                for each in work:
                    each.result()
                for reader in (repository, other):
                    assert list(reader.find(ids)) == []
                    assert list(reader.between(ids[0], AFTER_ALL, 10)) == []
                    assert not {each.id for each in reader.recent(10)}.intersection(ids)

    def _refused(self) -> AbstractContextManager[object]:
        return nullcontext() if self.complete else pytest.raises(RepositoryUnavailable)

    @shared
    @given(batch=batches(min_size=1))
    def test_an_id_that_a_batch_repeats_is_recorded_once(
        self, repository: PredictionRepository, batch: list[Prediction]
    ) -> None:
        repository.append([*batch, *batch])
        assert list(pages(repository, 2, min(each.id for each in batch))) == newest_first(batch)

    @shared
    @given(kept=batches(min_size=1), lost=batches(min_size=1))
    def test_of_a_batch_that_fails_nothing_is_recorded(
        self, repository: PredictionRepository, kept: list[Prediction], lost: list[Prediction]
    ) -> None:
        repository.append(kept)
        with pytest.raises((AttributeError, TypeError)):
            repository.append([*lost, cast("Prediction", None)])
        assert list(repository.recent(len(kept))) == newest_first(kept)

    def test_threads_that_append_at_once_lose_nothing_and_show_whole_batches_only(
        self, repository: PredictionRepository
    ) -> None:
        written = [some_predictions(5) for _ in range(40)]
        # every batch comes twice, as it does when an answer was lost
        with ThreadPoolExecutor(8) as threads:
            appended = [threads.submit(repository.append, batch) for batch in [*written, *written]]
            seen = [threads.submit(repository.recent, 1000) for _ in range(20)]
        for each in appended:
            each.result()
        for read in seen:
            ids = {prediction.id for prediction in read.result()}
            assert all(len(ids & {each.id for each in batch}) in {0, 5} for batch in written)
        assert list(repository.recent(1000)) == newest_first([each for batch in written for each in batch])

    def test_whatever_is_done_it_behaves_as_a_sorted_list(
        self, repository: PredictionRepository, another: Another
    ) -> None:
        run_state_machine_as_test(
            lambda: PredictionRepositoryMachine(repository, another, self.complete),  # type: ignore[arg-type]  # any factory will do
            settings=settings(max_examples=25, stateful_step_count=20),
        )


_THREADS = 8


class PredictionKeysContract:
    """Subclass it, and define the fixture `keys`; if others can open the same data, define `another`, too."""

    @pytest.fixture
    def keys(self) -> PredictionKeys:
        """The adapter to test, without any key."""
        raise NotImplementedError

    @pytest.fixture
    def another(self, keys: PredictionKeys) -> AnotherKeys:
        """A function that opens the data of `keys` once more, as a context manager."""
        return lambda: nullcontext(keys)

    def test_a_key_that_never_came_is_not_known(self, keys: PredictionKeys) -> None:
        keys.reserve(new_delivery(), new_ids(1))
        assert keys.find(new_delivery()) is None

    @pytest.mark.parametrize("count", [1, 1000])
    def test_the_ids_that_came_first_are_kept_in_their_order(
        self, keys: PredictionKeys, another: AnotherKeys, count: int
    ) -> None:
        delivery, ids = new_delivery(), list(reversed(new_ids(count)))
        assert _same(keys.reserve(delivery, ids), ids)
        with another() as other:
            assert _same(other.find(delivery), ids)
            assert _same(other.reserve(delivery, new_ids(count)), ids)
        assert _same(keys.find(delivery), ids)

    def test_a_key_that_comes_with_something_else_is_refused(self, keys: PredictionKeys) -> None:
        delivery, ids = new_delivery(), new_ids(2)
        other = Delivery(delivery.key, "f" * 64)
        keys.reserve(delivery, ids)
        with pytest.raises(RepeatedKey):
            keys.find(other)
        with pytest.raises(RepeatedKey):
            keys.reserve(other, new_ids(2))
        assert list(keys.find(delivery) or []) == ids

    def test_keys_differ_in_every_character(self, keys: PredictionKeys) -> None:
        made = {key: new_ids(1) for key in ("deed-1", "Deed-1", "deed-1%", "'deed-1'")}
        for key, ids in made.items():
            assert list(keys.reserve(Delivery(key, "0" * 64), ids)) == list(ids)
        assert {key: list(keys.find(Delivery(key, "0" * 64)) or []) for key in made} == {
            key: list(ids) for key, ids in made.items()
        }

    def test_old_keys_are_pruned_the_oldest_first_and_no_more_than_asked(self, keys: PredictionKeys) -> None:
        deliveries = [new_delivery() for _ in range(4)]
        ids = [new_ids(2) for _ in deliveries]
        for delivery, each in reversed(list(zip(deliveries, ids, strict=True))):
            keys.reserve(delivery, each)

        def known() -> list[bool]:
            return [keys.find(each) is not None for each in deliveries]

        assert keys.prune(ids[0][0], 10) == 0
        assert keys.prune(ids[3][0], 2) == 2
        assert known() == [False, False, True, True]
        assert keys.prune(ids[3][0], 2) == 1
        assert known() == [False, False, False, True]
        again = new_ids(1)
        assert list(keys.reserve(deliveries[0], again)) == list(again)

    def test_pruned_keys_are_free_for_another_request(self, keys: PredictionKeys, another: AnotherKeys) -> None:
        delivery, other, ids = new_delivery(), new_delivery(), new_ids(3)
        keys.reserve(delivery, ids[:1])
        keys.reserve(other, ids[1:2])
        assert keys.prune(ids[1], 10) == 1
        with another() as later:
            assert later.find(delivery) is None
            changed = Delivery(delivery.key, "f" * 64)
            assert later.find(changed) is None
            assert _same(later.reserve(changed, ids[2:]), ids[2:])
            assert _same(later.find(other), ids[1:2])

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


def _same(found: Sequence[UUID] | None, ids: Sequence[UUID]) -> bool:
    """Compare outside an assertion: pytest takes minutes to show how a thousand ids differ from a thousand others."""
    return list(found or []) == list(ids)
