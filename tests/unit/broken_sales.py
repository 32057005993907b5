"""Sale repositories that each break the contract in one way, with a contract suite that fails for each.

test_contracts.py runs them in a separate pytest process. The file name keeps pytest from collecting them otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from threading import Event
from uuid import UUID

import pytest
from attrs import evolve

from housepredict.adapters.memory import InMemorySales
from housepredict.domain.errors import RepeatedKey
from housepredict.domain.idempotency import Delivery
from housepredict.domain.sales import RecordedSale
from housepredict.testing.drawing import sample_sales
from housepredict.testing.sale_contract import SaleRepositoryContract


class InventsSales(InMemorySales):
    """Returns a sale that nobody recorded."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return super().current(since, until, limit) or sample_sales(1)


class RoundsPrices(InMemorySales):
    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        return super().append([evolve(each, price=float(round(each.price))) for each in sales], delivery)


class IntegerPrices(InMemorySales):
    """Converts prices without cents to integers, which are equal but different JSON."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        whole = [evolve(each, price=int(each.price)) if each.price.is_integer() else each for each in sales]
        return super().append(whole, delivery)


class ReturnsInput(InMemorySales):
    """Returns its input instead of the recorded sales."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        recorded = super().append(sales, delivery)
        return sales if delivery is None else recorded


class DropsHistory(InMemorySales):
    """Stores only the latest sale of each prediction."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        recorded = super().append(sales, delivery)
        self._by_prediction = {prediction: each[-1:] for prediction, each in self._by_prediction.items()}
        return recorded


class LatestDateCounts(InMemorySales):
    """Counts the sale with the latest date, not the one recorded last."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        counting = [max(each, key=lambda sale: sale.sold_on) for each in self._by_prediction.values()]
        inside = [each for each in counting if (since or date.min) <= each.sold_on <= (until or date.max)]
        return sorted(inside, key=lambda each: (each.sold_on, each.id), reverse=True)[:limit]


class LastArrivalCounts(InMemorySales):
    """Counts the sale that arrived last, regardless of its id."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        before = {prediction: list(each) for prediction, each in self._by_prediction.items()}
        recorded = super().append(sales, delivery)
        for prediction, each in self._by_prediction.items():
            known = before.get(prediction, [])
            self._by_prediction[prediction] = known + [sale for sale in each if sale not in known]
        return recorded


class ExcludesLastDay(InMemorySales):
    """Excludes the last day of a date range."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return [each for each in super().current(since, until, limit) if until is None or each.sold_on < until]


class ExceedsLimit(InMemorySales):
    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return super().current(since, until, None if limit is None else limit + 1)


class Unordered(InMemorySales):
    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return super().current(since, until, limit)[::-1]


class IgnoresKeys(InMemorySales):
    """Ignores idempotency keys."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        return super().append(sales)


class IgnoresBody(InMemorySales):
    """Ignores whether the body of a repeated request differs."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        return super().append(sales, delivery and Delivery(delivery.key, ""))


class ForgetsEmptyDeliveries(InMemorySales):
    """Stores no key for an empty delivery."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        known = delivery and delivery.key in self._deliveries
        return super().append(sales, delivery if sales or known else None)


class AppendsRowByRow(InMemorySales):
    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        if delivery is None or delivery.key in self._deliveries:
            return super().append(sales, delivery)
        for each in sales:
            super().append([each])
        self._deliveries[delivery.key] = delivery, list(sales)
        return sales


class StoresKeyFirst(InMemorySales):
    """Stores a key before the sales were checked."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        if delivery and delivery.key not in self._deliveries:
            self._deliveries[delivery.key] = delivery, []
            recorded = super().append(sales)
            self._deliveries[delivery.key] = delivery, recorded
            return recorded
        return super().append(sales, delivery)


class Unlocked(InMemorySales):
    """Waits between looking up a key and storing it, without a lock."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        if delivery and delivery.key in self._deliveries:
            first, known = self._deliveries[delivery.key]
            if first != delivery:
                raise RepeatedKey
            return known
        Event().wait(0.001)
        recorded = super().append(sales)
        if delivery:
            self._deliveries[delivery.key] = delivery, recorded
        return recorded


class LosesConcurrentSales(InMemorySales):
    """Waits between reading the sales and writing them, without a lock."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        remaining = {prediction: list(each) for prediction, each in self._by_prediction.items()}
        Event().wait(0.001)
        recorded = super().append(sales, delivery)
        added = {each.prediction: self._by_prediction[each.prediction] for each in recorded}
        self._by_prediction = remaining | added
        return recorded


class ReversesHistory(InMemorySales):
    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        return super().history(prediction)[::-1]


class DropsRecordedAt(InMemorySales):
    """Drops the time at which a sale was recorded."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        return super().append([evolve(each, recorded_at=datetime(1970, 1, 1, tzinfo=UTC)) for each in sales], delivery)


class KeepsErasedDeliveries(InMemorySales):
    """Replays deliveries of erased sales."""

    def erase(self, predictions: Sequence[UUID]) -> int:
        deliveries = dict(self._deliveries)
        known = super().erase(predictions)
        self._deliveries = deliveries
        return known


class ErasesCurrentOnly(InMemorySales):
    """Erases only the current sale, so that the corrected one counts again."""

    def erase(self, predictions: Sequence[UUID]) -> int:
        remaining = {
            each: self._by_prediction[each][:-1] for each in predictions if len(self._by_prediction.get(each, ())) > 1
        }
        known = super().erase(predictions)
        self._by_prediction |= remaining
        return known


class PrunesTooMany(InMemorySales):
    """Prunes one sale more than the limit."""

    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(before, limit + 1)


class ReturnsSmallestId(InMemorySales):
    """Returns the smallest id instead of the largest."""

    def largest_id(self) -> UUID | None:
        return min((each[0].id for each in self._by_prediction.values()), default=None)


class _Suite(SaleRepositoryContract):
    made: type[InMemorySales]

    @pytest.fixture
    def repository(self) -> InMemorySales:
        return self.made()


for name, each in list(globals().items()):
    if isinstance(each, type) and issubclass(each, InMemorySales):
        globals()[f"Test{name}"] = type(f"Test{name}", (_Suite,), {"made": each})
