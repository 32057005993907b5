"""Repositories of sales that break the contract, each in one way, and the suite for each: every one of these fails.

Run by test_contracts.py, in a pytest of its own; the name of this file keeps it out of the ordinary run.
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


class Haunted(InMemorySales):
    """Has a sale that nobody recorded."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return super().current(since, until, limit) or sample_sales(1)


class Rounding(InMemorySales):
    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        return super().append([evolve(each, price=float(round(each.price))) for each in sales], delivery)


class Whole(InMemorySales):
    """Makes of prices without cents whole numbers, which are equal and not the same JSON."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        whole = [evolve(each, price=int(each.price)) if each.price.is_integer() else each for each in sales]
        return super().append(whole, delivery)


class Silent(InMemorySales):
    """Gives back what it was given, in that order."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        recorded = super().append(sales, delivery)
        return sales if delivery is None else recorded


class Overwriting(InMemorySales):
    """Keeps no history."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        recorded = super().append(sales, delivery)
        self._by_prediction = {prediction: each[-1:] for prediction, each in self._by_prediction.items()}
        return recorded


class LastSold(InMemorySales):
    """Lets the latest date count, not what was recorded last."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        counting = [max(each, key=lambda sale: sale.sold_on) for each in self._by_prediction.values()]
        inside = [each for each in counting if (since or date.min) <= each.sold_on <= (until or date.max)]
        return sorted(inside, key=lambda each: (each.sold_on, each.id), reverse=True)[:limit]


class LastArrived(InMemorySales):
    """Lets count what arrived last, whatever its id."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        before = {prediction: list(each) for prediction, each in self._by_prediction.items()}
        recorded = super().append(sales, delivery)
        for prediction, each in self._by_prediction.items():
            known = before.get(prediction, [])
            self._by_prediction[prediction] = known + [sale for sale in each if sale not in known]
        return recorded


class Narrow(InMemorySales):
    """Leaves the last day out."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return [each for each in super().current(since, until, limit) if until is None or each.sold_on < until]


class Generous(InMemorySales):
    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return super().current(since, until, None if limit is None else limit + 1)


class Unordered(InMemorySales):
    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        return super().current(since, until, limit)[::-1]


class Deaf(InMemorySales):
    """Takes no notice of keys."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        return super().append(sales)


class Trusting(InMemorySales):
    """Does not look at what comes with a key."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        return super().append(sales, delivery and Delivery(delivery.key, ""))


class NeverEmpty(InMemorySales):
    """Keeps no key that came with nothing."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        known = delivery and delivery.key in self._deliveries
        return super().append(sales, delivery if sales or known else None)


class RowByRow(InMemorySales):
    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        if delivery is None or delivery.key in self._deliveries:
            return super().append(sales, delivery)
        for each in sales:
            super().append([each])
        self._deliveries[delivery.key] = delivery, list(sales)
        return sales


class KeyFirst(InMemorySales):
    """Remembers a key before it has looked at what came with it."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        if delivery and delivery.key not in self._deliveries:
            self._deliveries[delivery.key] = delivery, []
            recorded = super().append(sales)
            self._deliveries[delivery.key] = delivery, recorded
            return recorded
        return super().append(sales, delivery)


class Careless(InMemorySales):
    """Takes its time between looking for a key and keeping it, and holds no lock meanwhile."""

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


class Racing(InMemorySales):
    """As above, with the sales."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        kept = {prediction: list(each) for prediction, each in self._by_prediction.items()}
        Event().wait(0.001)
        recorded = super().append(sales, delivery)
        added = {each.prediction: self._by_prediction[each.prediction] for each in recorded}
        self._by_prediction = kept | added
        return recorded


class Misplacing(InMemorySales):
    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        return super().history(prediction)[::-1]


class Timeless(InMemorySales):
    """Forgets the time that something was recorded at."""

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        return super().append([evolve(each, recorded_at=datetime(1970, 1, 1, tzinfo=UTC)) for each in sales], delivery)


class Remembering(InMemorySales):
    """Gives what was erased to whoever delivers it again."""

    def erase(self, predictions: Sequence[UUID]) -> int:
        deliveries = dict(self._deliveries)
        known = super().erase(predictions)
        self._deliveries = deliveries
        return known


class Latest(InMemorySales):
    """Erases what counts, and lets count what it had corrected."""

    def erase(self, predictions: Sequence[UUID]) -> int:
        kept = {
            each: self._by_prediction[each][:-1] for each in predictions if len(self._by_prediction.get(each, ())) > 1
        }
        known = super().erase(predictions)
        self._by_prediction |= kept
        return known


class Thorough(InMemorySales):
    """Prunes more than it was asked to."""

    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(before, limit + 1)


class Smallest(InMemorySales):
    """Takes the id that is recorded first for the largest."""

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
