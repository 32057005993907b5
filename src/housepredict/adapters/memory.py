"""Every store in this process's memory: for tests, notebooks, and services that keep nothing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from types import MappingProxyType
from uuid import UUID

from attrs import define, field

from housepredict.domain.errors import RepeatedKey, TrainingInProgress, UnknownModel, UnknownTraining
from housepredict.domain.estimates import Prediction
from housepredict.domain.idempotency import Delivery
from housepredict.domain.identifiers import first_id_at, next_id
from housepredict.domain.models import Artifact, ModelVersion, Pointer, verify
from housepredict.domain.sales import RecordedSale
from housepredict.domain.training_status import TrainingStatus


@define
class InMemoryPredictions:
    """A PredictionRepository that forgets everything when the process ends. Threads may share it."""

    _by_id: dict[UUID, Prediction] = field(factory=dict, init=False, repr=False)
    _erased: set[UUID] = field(factory=set, init=False, repr=False)
    _watermark: UUID = field(default=UUID(int=0), init=False, repr=False)  # ids below it were pruned
    _ids: list[UUID] = field(factory=list, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def append(self, predictions: Sequence[Prediction]) -> None:
        # reversed: of two with the same id the first counts, as in every other repository
        given = {each.id: each for each in reversed(predictions)}
        with self._lock:
            # asked of each: the difference of two dictionaries' keys goes through all of both
            for new in sorted(each for each in given if each not in self._by_id and not self._is_erased(each)):
                self._by_id[new] = given[new]
                insort(self._ids, new)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        with self._lock:
            end = len(self._ids) if before is None else bisect_left(self._ids, before)
            return [self._by_id[each] for each in reversed(self._ids[max(end - limit, 0) : end])]

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        with self._lock:
            return [self._by_id[each] for each in sorted(set(ids)) if each in self._by_id]

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        with self._lock:
            start, stop = bisect_left(self._ids, first), bisect_left(self._ids, end)
            return [self._by_id[each] for each in self._ids[start : min(start + limit, stop)]]

    def erase(self, ids: Sequence[UUID]) -> int:
        with self._lock:
            self._erased.update(ids)
            known = [self._by_id.pop(each) for each in set(ids) if each in self._by_id]
            self._ids = sorted(self._by_id)
            return len(known)

    def prune(self, before: UUID, limit: int) -> int:
        with self._lock:
            oldest = sorted(each for each in self._by_id.keys() | self._erased if each < before)[:limit]
            for each in oldest:
                self._by_id.pop(each, None)
            self._erased.difference_update(oldest)
            self._ids = sorted(self._by_id)
            self._watermark = max([self._watermark, *map(next_id, oldest[-1:])])
            if len(oldest) < limit:
                # an id of the future counts as that of this millisecond: the ids that come next must not be refused
                now = datetime.now(UTC)
                is_past = before < first_id_at(now + timedelta(milliseconds=1))
                self._watermark = max(self._watermark, before if is_past else first_id_at(now))
            return len(oldest)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        with self._lock:
            return [each for each in ids if self._is_erased(each)]

    def _is_erased(self, identifier: UUID) -> bool:
        return identifier < self._watermark or identifier in self._erased

    def check(self) -> None:
        """Return: memory is always there."""


@define
class InMemoryKeys:
    """PredictionKeys that are forgotten when the process ends. Threads may share them."""

    _known: dict[str, tuple[Delivery, Sequence[UUID]]] = field(factory=dict, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        first, ids = self._known.get(delivery.key, (delivery, None))
        if first != delivery:
            raise RepeatedKey
        return ids

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        with self._lock:
            kept = self.find(delivery)
            if kept is None:
                kept = list(ids)
                self._known[delivery.key] = delivery, kept
            return kept

    def prune(self, before: UUID, limit: int) -> int:
        with self._lock:
            old = sorted((ids[0], key) for key, (_, ids) in self._known.items() if ids[0] < before)[:limit]
            for _, key in old:
                del self._known[key]
            return len(old)


@define
class InMemorySales:
    """A SaleRepository that forgets everything when the process ends. Threads may share it."""

    _of_prediction: dict[UUID, list[RecordedSale]] = field(factory=dict, init=False, repr=False)
    _deliveries: dict[str, tuple[Delivery, Sequence[RecordedSale]]] = field(factory=dict, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        recorded = sorted(sales, key=lambda sale: sale.id)
        with self._lock:
            if delivery:
                first, delivered = self._deliveries.setdefault(delivery.key, (delivery, recorded))
                if first != delivery:
                    raise RepeatedKey
                if delivered is not recorded:
                    return delivered
            for sale in recorded:
                of_prediction = self._of_prediction.setdefault(sale.prediction, [])
                of_prediction.append(sale)
                of_prediction.sort(key=lambda sale: sale.id)
        return recorded

    def largest_id(self) -> UUID | None:
        with self._lock:
            return max((sales[-1].id for sales in self._of_prediction.values()), default=None)

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        first, last = since or date.min, until or date.max
        with self._lock:
            latest = [sales[-1] for sales in self._of_prediction.values() if first <= sales[-1].sold_on <= last]
        return sorted(latest, key=lambda sale: (sale.sold_on, sale.id), reverse=True)[:limit]

    def erase(self, predictions: Sequence[UUID]) -> int:
        with self._lock:
            return self._delete([sale for each in set(predictions) for sale in self._of_prediction.get(each, ())])

    def prune(self, before: UUID, limit: int) -> int:
        with self._lock:
            old = [sale for each in sorted(self._of_prediction) if each < before for sale in self._of_prediction[each]]
            return self._delete(old[:limit])

    def _delete(self, sales: Sequence[RecordedSale]) -> int:
        ids = {sale.id for sale in sales}
        for prediction in {sale.prediction for sale in sales}:
            left = [sale for sale in self._of_prediction.pop(prediction) if sale.id not in ids]
            if left:
                self._of_prediction[prediction] = left
        for key, (delivery, delivered) in self._deliveries.items():
            self._deliveries[key] = delivery, [sale for sale in delivered if sale.id not in ids]
        return len(ids)

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        with self._lock:
            return list(self._of_prediction.get(prediction, ()))


@define
class InMemoryModels:
    """Keeps model versions in memory, for any number of threads."""

    _kept: dict[str, tuple[ModelVersion, Artifact]] = field(init=False, factory=dict, repr=False)
    _history: list[str] = field(init=False, factory=list)
    _generation: int = field(init=False, default=0)
    _lock: Lock = field(init=False, factory=Lock, repr=False)
    _training: Lock = field(init=False, factory=Lock, repr=False)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        verify(version, artifact)
        with self._lock:
            self._kept.setdefault(version.name, (version, MappingProxyType(dict(artifact))))

    def versions(self) -> Sequence[ModelVersion]:
        with self._lock:
            versions = [version for version, _ in self._kept.values()]
        return sorted(versions, key=lambda version: (version.created_at, version.name))

    def get(self, name: str) -> tuple[ModelVersion, Artifact]:
        try:
            return self._kept[name]
        except KeyError:
            raise UnknownModel(f"There is no model version {name!r}") from None

    def promote(self, name: str) -> None:
        self.get(name)  # no version is ever removed
        with self._lock:
            if self._history[:1] != [name]:
                self._history.insert(0, name)
                self._generation += 1

    def rollback(self, name: str) -> None:
        with self._lock:
            if name not in self._history:
                raise UnknownModel(f"Model version {name!r} was not promoted before")
            if self._history[0] != name:
                del self._history[: self._history.index(name)]
                self._generation += 1

    def history(self) -> Sequence[str]:
        with self._lock:
            return tuple(self._history)

    def pointer(self) -> Pointer:
        with self._lock:
            return Pointer(next(iter(self._history), None), self._generation)

    @contextmanager
    def training(self) -> Iterator[None]:
        if not self._training.acquire(blocking=False):
            raise TrainingInProgress
        try:
            yield
        finally:
            self._training.release()


@define
class InMemoryTrainings:
    """A TrainingLog in memory, for any number of threads."""

    _records: dict[UUID, TrainingStatus] = field(init=False, factory=dict, repr=False)
    _lock: Lock = field(init=False, factory=Lock, repr=False)

    def begin(self, record: TrainingStatus) -> None:
        with self._lock:
            self._records[record.id] = record

    def change(self, training: UUID, how: Callable[[TrainingStatus], TrainingStatus]) -> TrainingStatus:
        with self._lock:
            self._records[training] = how(self._known(training))
            return self._records[training]

    def get(self, training: UUID) -> TrainingStatus:
        with self._lock:
            return self._known(training)

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        with self._lock:
            return sorted(self._records.values(), key=lambda record: record.id, reverse=True)[:limit]

    def _known(self, training: UUID) -> TrainingStatus:
        if training not in self._records:
            raise UnknownTraining(f"There is no training {training}")
        return self._records[training]
