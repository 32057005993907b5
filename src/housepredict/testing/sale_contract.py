"""The contract suite for SaleRepository. To test your adapter, subclass the suite:

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
    current_sales,
    new_delivery,
    new_ids,
    sale_batches,
    sample_sales,
    shared,
    sorted_by_id,
)

Another = Callable[[], AbstractContextManager[SaleRepository]]


class SaleRepositoryMachine(RuleBasedStateMachine):
    """A state machine that calls a repository at random, and compares it with a list.

    Some calls use a second repository on the same data. All runs share the data, but each run uses its own
    predictions and idempotency keys.
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
            assert list(other.append(batch)) == sorted_by_id(batch)
        self.recorded += batch

    @rule(data=st.data(), digest=st.sampled_from(DIGESTS))
    def deliver(self, data: st.DataObject, digest: str) -> None:
        batch, key = data.draw(sale_batches(self.predictions)), data.draw(st.sampled_from(self.deliveries))
        first, known = self.delivered.setdefault(key, (digest, sorted_by_id(batch)))
        if first != digest:
            with pytest.raises(RepeatedKey):
                self.repository.append(batch, Delivery(key, digest))
            return
        assert list(self.repository.append(batch, Delivery(key, digest))) == known
        if known == sorted_by_id(batch):
            self.recorded += batch

    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        erased = data.draw(st.lists(st.sampled_from(self.predictions), max_size=2, unique=True))
        remaining = [sale for sale in self.recorded if sale.prediction not in erased]
        with self.open() as other:
            assert other.erase(erased) == len(self.recorded) - len(remaining)
        self.recorded = remaining
        for key, (digest, known) in self.delivered.items():
            self.delivered[key] = digest, [sale for sale in known if sale.prediction not in erased]

    @rule(since=st.none() | st.dates(), until=st.none() | st.dates())
    def read_current(self, since: date | None, until: date | None) -> None:
        with self.open() as other:
            read = other.current(since, until)
        expected = [
            sale for sale in current_sales(self.recorded) if (since or date.min) <= sale.sold_on <= (until or date.max)
        ]
        assert [sale for sale in read if sale.prediction in self.predictions] == expected

    @rule(data=st.data())
    def read_history(self, data: st.DataObject) -> None:
        prediction = data.draw(st.sampled_from(self.predictions))
        expected = [sale for sale in sorted_by_id(self.recorded) if sale.prediction == prediction]
        assert list(self.repository.history(prediction)) == expected


class SaleRepositoryContract:
    """Contract tests for a SaleRepository.

    Define the fixture `repository`, which returns an empty repository. If several repositories can be open on the same
    data, also define the fixture `another`.
    """

    @pytest.fixture
    def repository(self) -> SaleRepository:
        """Return the empty repository to test."""
        raise NotImplementedError("define the fixture `repository`")

    @pytest.fixture
    def another(self, repository: SaleRepository) -> Another:
        """Return a function that opens another repository on the same data. The function returns a context manager."""
        return lambda: nullcontext(repository)

    def test_empty_repository_has_no_sales(self, repository: SaleRepository) -> None:
        assert list(repository.current()) == []
        assert list(repository.history(new_ids(1)[0])) == []

    @shared
    @given(batch=sale_batches())
    def test_append_returns_and_stores_sales(self, repository: SaleRepository, batch: list[RecordedSale]) -> None:
        assert list(repository.append(batch)) == sorted_by_id(batch)
        for prediction in {sale.prediction for sale in batch}:
            read = repository.history(prediction)
            assert list(read) == [sale for sale in sorted_by_id(batch) if sale.prediction == prediction]
            for sale in read:
                assert type(sale.price) is float
                assert sale.recorded_at.utcoffset() == datetime.now(UTC).utcoffset()
        read = repository.current()
        assert [sale for sale in read if sale in batch] == current_sales(batch)

    def test_correction_counts_and_corrected_sale_stays_in_history(self, repository: SaleRepository) -> None:
        (first,) = sample_sales(1)
        # The correction has an earlier date and a lower price.
        (second,) = sample_sales(1, prediction=first.prediction, price=1.5, sold_on=date(2024, 1, 1))
        repository.append([first])
        repository.append([second])
        assert list(repository.current()) == [second]
        assert list(repository.history(first.prediction)) == [first, second]
        assert list(repository.current(since=first.sold_on)) == [], "a corrected sale must not count"

    def test_sale_with_largest_id_counts(self, repository: SaleRepository) -> None:
        older, newer = sample_sales(2, prediction=new_ids(1)[0])
        repository.append([newer])
        repository.append([older])
        assert list(repository.current()) == [newer]
        assert list(repository.history(older.prediction)) == [older, newer]

    def test_largest_id_covers_all_sales(self, repository: SaleRepository) -> None:
        assert repository.largest_id() is None
        batch = sample_sales(3)
        repository.append(batch[::-1])
        repository.append(sample_sales(0))
        assert repository.largest_id() == batch[2].id

    @shared
    @given(batch=sale_batches(min_size=1), data=st.data())
    def test_current_filters_by_date_latest_first(
        self, repository: SaleRepository, batch: list[RecordedSale], data: st.DataObject
    ) -> None:
        repository.append(batch)
        days = st.sampled_from([sale.sold_on for sale in batch]) | st.dates()
        since, until = data.draw(st.none() | days), data.draw(st.none() | days)
        limit = data.draw(st.none() | st.integers(0, 4))
        current = repository.current()
        expected = [sale for sale in current if (since or date.min) <= sale.sold_on <= (until or date.max)]
        assert list(repository.current(since, until, limit)) == expected[:limit]
        assert [sale for sale in current if sale in batch] == current_sales(batch)

    def test_repeated_delivery_is_stored_once(self, repository: SaleRepository) -> None:
        first, repeated, delivery = sample_sales(3), sample_sales(3), new_delivery()
        assert list(repository.append(first, delivery)) == first
        assert list(repository.append(repeated, delivery)) == first
        assert list(repository.current()) == current_sales(first)
        assert list(repository.history(repeated[0].prediction)) == []

    def test_key_with_another_request_is_rejected(self, repository: SaleRepository) -> None:
        first, other, delivery = sample_sales(2), sample_sales(2), new_delivery()
        repository.append(first, delivery)
        with pytest.raises(RepeatedKey):
            repository.append(other, evolve(delivery, digest=DIGESTS[1]))
        assert list(repository.current()) == current_sales(first)
        assert list(repository.append(other, delivery)) == first, "a key belongs to its first request"

    def test_empty_delivery_reserves_its_key(self, repository: SaleRepository) -> None:
        delivery = new_delivery()
        assert list(repository.append([], delivery)) == []
        assert list(repository.append(sample_sales(1), delivery)) == []

    def test_failed_batch_stores_no_sales_and_no_key(self, repository: SaleRepository) -> None:
        remaining, failing, delivery = sample_sales(1), sample_sales(2), new_delivery()
        repository.append(remaining)
        with pytest.raises((AttributeError, TypeError)):
            repository.append([*failing, cast("RecordedSale", None)], delivery)
        assert list(repository.current()) == remaining
        assert list(repository.append(failing, delivery)) == failing

    def test_concurrent_deliveries_with_one_key_are_stored_once(
        self, repository: SaleRepository, another: Another
    ) -> None:
        with ExitStack() as resources:
            repositories = [repository, *(resources.enter_context(another()) for _ in range(3))]
            for _ in range(10):
                delivery, sale_batches = new_delivery(), [sample_sales(3) for _ in repositories]
                with ThreadPoolExecutor(len(repositories)) as threads:
                    recorded = [
                        threads.submit(other.append, batch, delivery)
                        for other, batch in zip(repositories, sale_batches, strict=True)
                    ]
                answers = [list(future.result()) for future in recorded]
                assert answers[0] in sale_batches
                assert answers == [answers[0]] * len(repositories)
                remaining = {sale.prediction for sale in repository.current()}
                assert [batch for batch in sale_batches if batch[0].prediction in remaining] == [answers[0]]

    @shared
    @given(batch=sale_batches(min_size=1), data=st.data())
    def test_erase_deletes_only_sales_of_given_predictions(
        self, repository: SaleRepository, batch: list[RecordedSale], data: st.DataObject
    ) -> None:
        delivery = new_delivery()
        repository.append(batch, delivery)
        predictions = sorted({sale.prediction for sale in batch})
        erased = set(data.draw(st.lists(st.sampled_from(predictions))))
        remaining = [sale for sale in batch if sale.prediction not in erased]
        assert repository.erase([*erased, *erased, *new_ids(1)]) == len(batch) - len(remaining)
        for prediction in predictions:
            assert list(repository.history(prediction)) == [
                sale for sale in sorted_by_id(remaining) if sale.prediction == prediction
            ]
        assert [sale for sale in repository.current() if sale.prediction in predictions] == current_sales(remaining)
        assert list(repository.append(batch, delivery)) == sorted_by_id(remaining), (
            "a repeated delivery must not restore erased sales"
        )
        assert repository.erase([]) == repository.erase(list(erased)) == 0

    def test_prune_deletes_sales_up_to_limit(self, repository: SaleRepository) -> None:
        # Sales without a stored prediction exist if they are recorded after the prediction was pruned.
        predictions = new_ids(4)
        batch = [sale for prediction in predictions for sale in sample_sales(2, prediction=prediction)]
        repository.append(batch)
        assert [repository.prune(predictions[3], 4), repository.prune(predictions[3], 4)] == [4, 2]
        assert list(repository.current()) == current_sales(batch[6:])
        assert repository.prune(predictions[3], 4) == 0

    def test_concurrent_appends_lose_no_sales(self, repository: SaleRepository) -> None:
        written = [sample_sales(3) for _ in range(30)]
        with ThreadPoolExecutor(8) as threads:
            appended = [threads.submit(repository.append, batch) for batch in written]
            seen = [threads.submit(repository.current) for _ in range(10)]
        for batch, future in zip(written, appended, strict=True):
            assert list(future.result()) == batch
        for read in seen:
            ids = {sale.id for sale in read.result()}
            assert all(len(ids & {sale.id for sale in batch}) in {0, 3} for batch in written)
        assert list(repository.current()) == current_sales([sale for batch in written for sale in batch])

    def test_random_calls_match_a_list_of_sales(self, repository: SaleRepository, another: Another) -> None:
        run_state_machine_as_test(
            lambda: SaleRepositoryMachine(repository, another),  # type: ignore[arg-type]  # any factory will do
            settings=settings(max_examples=25, stateful_step_count=20),
        )
