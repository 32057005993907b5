"""The contract of SaleRepository, as tests for adapters.

class TestMySales(SaleRepositoryContract):
    @pytest.fixture
    def repository(self):
        with MySales(...) as repository:
            yield repository
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import UTC, date, datetime
from typing import cast

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from housepredict.domain.errors import RepeatedKey
from housepredict.domain.idempotency import Delivery
from housepredict.domain.ports import SaleRepository
from housepredict.domain.sales import RecordedSale
from housepredict.testing.drawing import (
    DIGESTS,
    by_id,
    counting,
    new_delivery,
    new_ids,
    sale_batches,
    shared,
    some_sales,
)

Another = Callable[[], AbstractContextManager[SaleRepository]]


class SaleRepositoryMachine(RuleBasedStateMachine):
    """Calls a repository at random, partly through another one over the same data, and compares it with a list.

    One repository serves all runs: each has predictions and keys of its own.
    """

    def __init__(self, repository: SaleRepository, another: Another) -> None:
        super().__init__()
        self.open = another
        self.repository = repository
        self.predictions = new_ids(4)
        self.deliveries = [new_delivery(digest).key for digest in DIGESTS]
        self.recorded: list[RecordedSale] = []
        self.delivered: dict[str, tuple[str, list[RecordedSale]]] = {}

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        batch = data.draw(sale_batches(self.predictions))
        with self.open() as other:
            assert list(other.append(batch)) == by_id(batch)
        self.recorded += batch

    @rule(data=st.data(), digest=st.sampled_from(DIGESTS))
    def deliver(self, data: st.DataObject, digest: str) -> None:
        batch, key = data.draw(sale_batches(self.predictions)), data.draw(st.sampled_from(self.deliveries))
        first, known = self.delivered.setdefault(key, (digest, by_id(batch)))
        if first != digest:
            with pytest.raises(RepeatedKey):
                self.repository.append(batch, Delivery(key, digest))
            return
        assert list(self.repository.append(batch, Delivery(key, digest))) == known
        if known == by_id(batch):
            self.recorded += batch

    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        erased = data.draw(st.lists(st.sampled_from(self.predictions), max_size=2, unique=True))
        kept = [each for each in self.recorded if each.prediction not in erased]
        with self.open() as other:
            assert other.erase(erased) == len(self.recorded) - len(kept)
        self.recorded = kept
        for key, (digest, known) in self.delivered.items():
            self.delivered[key] = digest, [each for each in known if each.prediction not in erased]

    @rule(since=st.none() | st.dates(), until=st.none() | st.dates())
    def read_what_counts(self, since: date | None, until: date | None) -> None:
        with self.open() as other:
            read = other.current(since, until)
        expected = [
            each for each in counting(self.recorded) if (since or date.min) <= each.sold_on <= (until or date.max)
        ]
        assert [each for each in read if each.prediction in self.predictions] == expected

    @rule(data=st.data())
    def read_a_history(self, data: st.DataObject) -> None:
        prediction = data.draw(st.sampled_from(self.predictions))
        expected = [each for each in by_id(self.recorded) if each.prediction == prediction]
        assert list(self.repository.history(prediction)) == expected


class SaleRepositoryContract:
    """Subclass it, and define the fixture `repository`, an empty one; if others can open the same data, in this process
    or after it, define `another`, too.
    """

    @pytest.fixture
    def repository(self) -> SaleRepository:
        """The repository to test, empty."""
        raise NotImplementedError("a subclass of SaleRepositoryContract needs the fixture `repository`")

    @pytest.fixture
    def another(self, repository: SaleRepository) -> Another:
        """A function that opens the data of `repository` once more, as a context manager."""
        return lambda: nullcontext(repository)

    def test_an_empty_repository_has_nothing_to_tell(self, repository: SaleRepository) -> None:
        assert list(repository.current()) == []
        assert list(repository.history(new_ids(1)[0])) == []

    @shared
    @given(batch=sale_batches())
    def test_what_is_recorded_is_given_back_and_read_as_it_was(
        self, repository: SaleRepository, batch: list[RecordedSale]
    ) -> None:
        assert list(repository.append(batch)) == by_id(batch)
        for prediction in {each.prediction for each in batch}:
            read = repository.history(prediction)
            assert list(read) == [each for each in by_id(batch) if each.prediction == prediction]
            for each in read:
                assert type(each.price) is float
                assert each.recorded_at.utcoffset() == datetime.now(UTC).utcoffset()
        read = repository.current()
        assert [each for each in read if each in batch] == counting(batch)

    def test_a_correction_counts_and_what_it_corrects_is_kept(self, repository: SaleRepository) -> None:
        (first,) = some_sales(1)
        # the correction says that it was sold earlier, and for less
        (second,) = some_sales(1, prediction=first.prediction, price=1.5, sold_on=date(2024, 1, 1))
        repository.append([first])
        repository.append([second])
        assert list(repository.current()) == [second]
        assert list(repository.history(first.prediction)) == [first, second]
        assert list(repository.current(since=first.sold_on)) == [], "what was corrected counts no more"

    def test_the_largest_id_counts_whatever_was_recorded_first(self, repository: SaleRepository) -> None:
        older, newer = some_sales(2, prediction=new_ids(1)[0])
        repository.append([newer])
        repository.append([older])
        assert list(repository.current()) == [newer]
        assert list(repository.history(older.prediction)) == [older, newer]

    def test_the_largest_id_is_that_of_all_sales(self, repository: SaleRepository) -> None:
        assert repository.largest_id() is None
        batch = some_sales(3)
        repository.append(batch[::-1])
        repository.append(some_sales(0))
        assert repository.largest_id() == batch[2].id

    @shared
    @given(batch=sale_batches(min_size=1), data=st.data())
    def test_what_was_sold_in_a_span_of_days_is_found_latest_first(
        self, repository: SaleRepository, batch: list[RecordedSale], data: st.DataObject
    ) -> None:
        repository.append(batch)
        days = st.sampled_from([each.sold_on for each in batch]) | st.dates()
        since, until = data.draw(st.none() | days), data.draw(st.none() | days)
        limit = data.draw(st.none() | st.integers(0, 4))
        every = repository.current()
        inside = [each for each in every if (since or date.min) <= each.sold_on <= (until or date.max)]
        assert list(repository.current(since, until, limit)) == inside[:limit]
        assert [each for each in every if each in batch] == counting(batch)

    def test_a_delivery_that_comes_again_is_recorded_once(self, repository: SaleRepository) -> None:
        first, again, delivery = some_sales(3), some_sales(3), new_delivery()
        assert list(repository.append(first, delivery)) == first
        assert list(repository.append(again, delivery)) == first
        assert list(repository.current()) == counting(first)
        assert list(repository.history(again[0].prediction)) == []

    def test_a_key_that_comes_with_something_else_is_refused(self, repository: SaleRepository) -> None:
        first, other, delivery = some_sales(2), some_sales(2), new_delivery()
        repository.append(first, delivery)
        with pytest.raises(RepeatedKey):
            repository.append(other, evolve(delivery, digest=DIGESTS[1]))
        assert list(repository.current()) == counting(first)
        assert list(repository.append(other, delivery)) == first, "the key stands for what it came with first"

    def test_a_delivery_of_nothing_is_remembered_too(self, repository: SaleRepository) -> None:
        delivery = new_delivery()
        assert list(repository.append([], delivery)) == []
        assert list(repository.append(some_sales(1), delivery)) == []

    def test_of_a_batch_that_fails_nothing_is_recorded_and_its_key_is_free(self, repository: SaleRepository) -> None:
        kept, lost, delivery = some_sales(1), some_sales(2), new_delivery()
        repository.append(kept)
        with pytest.raises((AttributeError, TypeError)):
            repository.append([*lost, cast("RecordedSale", None)], delivery)
        assert list(repository.current()) == kept
        assert list(repository.append(lost, delivery)) == lost

    def test_deliveries_with_one_key_that_come_at_once_are_recorded_once(
        self, repository: SaleRepository, another: Another
    ) -> None:
        with ExitStack() as resources:
            repositories = [repository, *(resources.enter_context(another()) for _ in range(3))]
            for _ in range(10):
                delivery, sale_batches = new_delivery(), [some_sales(3) for _ in repositories]
                with ThreadPoolExecutor(len(repositories)) as threads:
                    recorded = [
                        threads.submit(each.append, batch, delivery)
                        for each, batch in zip(repositories, sale_batches, strict=True)
                    ]
                answers = [list(each.result()) for each in recorded]
                assert answers[0] in sale_batches
                assert answers == [answers[0]] * len(repositories)
                kept = {each.prediction for each in repository.current()}
                assert [batch for batch in sale_batches if batch[0].prediction in kept] == [answers[0]]

    @shared
    @given(batch=sale_batches(min_size=1), data=st.data())
    def test_the_sales_of_predictions_that_are_erased_are_gone_and_no_others(
        self, repository: SaleRepository, batch: list[RecordedSale], data: st.DataObject
    ) -> None:
        delivery = new_delivery()
        repository.append(batch, delivery)
        predictions = sorted({each.prediction for each in batch})
        erased = set(data.draw(st.lists(st.sampled_from(predictions))))
        kept = [each for each in batch if each.prediction not in erased]
        assert repository.erase([*erased, *erased, *new_ids(1)]) == len(batch) - len(kept)
        for prediction in predictions:
            assert list(repository.history(prediction)) == [
                each for each in by_id(kept) if each.prediction == prediction
            ]
        assert [each for each in repository.current() if each.prediction in predictions] == counting(kept)
        assert list(repository.append(batch, delivery)) == by_id(kept), "a repeated delivery brings nothing back"
        assert repository.erase([]) == repository.erase(list(erased)) == 0

    def test_the_sales_of_old_predictions_are_pruned_and_no_more_than_asked(self, repository: SaleRepository) -> None:
        # sales that were recorded after the predictions that they are of were pruned
        predictions = new_ids(4)
        batch = [sale for each in predictions for sale in some_sales(2, prediction=each)]
        repository.append(batch)
        assert [repository.prune(predictions[3], 4), repository.prune(predictions[3], 4)] == [4, 2]
        assert list(repository.current()) == counting(batch[6:])
        assert repository.prune(predictions[3], 4) == 0

    def test_threads_that_append_at_once_lose_nothing(self, repository: SaleRepository) -> None:
        written = [some_sales(3) for _ in range(30)]
        with ThreadPoolExecutor(8) as threads:
            appended = [threads.submit(repository.append, batch) for batch in written]
            seen = [threads.submit(repository.current) for _ in range(10)]
        for batch, each in zip(written, appended, strict=True):
            assert list(each.result()) == batch
        for read in seen:
            ids = {sale.id for sale in read.result()}
            assert all(len(ids & {each.id for each in batch}) in {0, 3} for batch in written)
        assert list(repository.current()) == counting([each for batch in written for each in batch])

    def test_whatever_is_done_it_behaves_as_a_list_of_sales(self, repository: SaleRepository, another: Another) -> None:
        run_state_machine_as_test(
            lambda: SaleRepositoryMachine(repository, another),  # type: ignore[arg-type]  # any factory will do
            settings=settings(max_examples=25, stateful_step_count=20),
        )
