"""Sales kept in this process: for tests, and where predictions are kept there too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from threading import Lock
from uuid import UUID

from attrs import define, field

from housepredict.domain.deliveries import Delivery
from housepredict.domain.errors import RepeatedKey
from housepredict.domain.recorded_sales import RecordedSale


@define
class InMemorySales:
    """A SaleRepository that forgets everything when the process ends. Threads may share it."""

    _of_prediction: dict[UUID, list[RecordedSale]] = field(factory=dict, init=False, repr=False)
    _deliveries: dict[str, tuple[Delivery, Sequence[RecordedSale]]] = field(factory=dict, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        """Record a batch, all or nothing; see SaleRepository."""
        recorded = sorted(sales, key=lambda each: each.id)
        with self._lock:
            if delivery and delivery.key in self._deliveries:
                first, known = self._deliveries[delivery.key]
                if first != delivery:
                    raise RepeatedKey
                return known
            if delivery:
                self._deliveries[delivery.key] = delivery, recorded
            for each in recorded:
                of_prediction = self._of_prediction.setdefault(each.prediction, [])
                of_prediction.append(each)
                of_prediction.sort(key=lambda each: each.id)
        return recorded

    def largest_id(self) -> UUID | None:
        """The largest of all sales' ids; None if there is none."""
        with self._lock:
            return max((each[-1].id for each in self._of_prediction.values()), default=None)

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        """The sale of each prediction that counts, latest first; see SaleRepository."""
        first, last = since or date.min, until or date.max
        with self._lock:
            counting = [each[-1] for each in self._of_prediction.values() if first <= each[-1].sold_on <= last]
        return sorted(counting, key=lambda each: (each.sold_on, each.id), reverse=True)[:limit]

    def erase(self, predictions: Sequence[UUID]) -> int:
        """Forget everything that was recorded for these predictions; how many sales it was."""
        with self._lock:
            forgotten = [each for of in set(predictions) for each in self._of_prediction.pop(of, ())]
            self._forget(forgotten)
            return len(forgotten)

    def prune(self, before: UUID, limit: int) -> int:
        """As above, of predictions with an id below `before`, at most `limit` sales."""
        with self._lock:
            old = [each for of in sorted(self._of_prediction) if of < before for each in self._of_prediction[of]]
            self._forget(old[:limit])
            return len(old[:limit])

    def _forget(self, sales: Sequence[RecordedSale]) -> None:
        ids = {each.id for each in sales}
        for of, recorded in list(self._of_prediction.items()):
            self._of_prediction[of] = [each for each in recorded if each.id not in ids]
            if not self._of_prediction[of]:
                del self._of_prediction[of]
        for key, (delivery, delivered) in self._deliveries.items():
            self._deliveries[key] = delivery, [each for each in delivered if each.id not in ids]

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        """Everything that was recorded for a prediction, oldest first."""
        with self._lock:
            return list(self._of_prediction.get(prediction, ()))
