"""In-memory stores for tests, notebooks, and services that don't need persistence."""

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
    """A thread-safe PredictionRepository in memory."""

    _by_id: dict[UUID, Prediction] = field(factory=dict, init=False, repr=False)
    _erased: set[UUID] = field(factory=set, init=False, repr=False)
    _watermark: UUID = field(default=UUID(int=0), init=False, repr=False)  # smaller ids were pruned
    _ids: list[UUID] = field(factory=list, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def append(self, predictions: Sequence[Prediction]) -> None:
        # Reversed, so that the first prediction with an id is stored, as in every repository.
        batch = {prediction.id: prediction for prediction in reversed(predictions)}
        with self._lock:
            # One lookup per id is faster than the difference of two key sets, which reads all stored ids.
            for id_ in sorted(id_ for id_ in batch if id_ not in self._by_id and not self._is_erased(id_)):
                self._by_id[id_] = batch[id_]
                insort(self._ids, id_)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        with self._lock:
            end = len(self._ids) if before is None else bisect_left(self._ids, before)
            return [self._by_id[id_] for id_ in reversed(self._ids[max(end - limit, 0) : end])]

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        with self._lock:
            return [self._by_id[id_] for id_ in sorted(set(ids)) if id_ in self._by_id]

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        with self._lock:
            start, stop = bisect_left(self._ids, first), bisect_left(self._ids, end)
            return [self._by_id[id_] for id_ in self._ids[start : min(start + limit, stop)]]

    def erase(self, ids: Sequence[UUID]) -> int:
        with self._lock:
            self._erased.update(ids)
            known = [self._by_id.pop(id_) for id_ in set(ids) if id_ in self._by_id]
            self._ids = sorted(self._by_id)
            return len(known)

    def prune(self, before: UUID, limit: int) -> int:
        with self._lock:
            oldest = sorted(id_ for id_ in self._by_id.keys() | self._erased if id_ < before)[:limit]
            for id_ in oldest:
                self._by_id.pop(id_, None)
            self._erased.difference_update(oldest)
            self._ids = sorted(self._by_id)
            self._watermark = max([self._watermark, *map(next_id, oldest[-1:])])
            if len(oldest) < limit:
                # Limit the watermark to the current time, because new ids below the watermark are ignored.
                now = datetime.now(UTC)
                is_past = before < first_id_at(now + timedelta(milliseconds=1))
                self._watermark = max(self._watermark, before if is_past else first_id_at(now))
            return len(oldest)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        with self._lock:
            return [id_ for id_ in ids if self._is_erased(id_)]

    def _is_erased(self, id_: UUID) -> bool:
        return id_ < self._watermark or id_ in self._erased

    def check(self) -> None:
        """Do nothing, because memory is always available."""


@define
class InMemoryKeys:
    """A thread-safe PredictionKeys adapter in memory."""

    _known: dict[str, tuple[Delivery, Sequence[UUID]]] = field(factory=dict, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        first, ids = self._known.get(delivery.key, (delivery, None))
        if first != delivery:
            raise RepeatedKey
        return ids

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        with self._lock:
            reserved = self.find(delivery)
            if reserved is None:
                reserved = list(ids)
                self._known[delivery.key] = delivery, reserved
            return reserved

    def prune(self, before: UUID, limit: int) -> int:
        with self._lock:
            old = sorted((ids[0], key) for key, (_, ids) in self._known.items() if ids[0] < before)[:limit]
            for _, key in old:
                del self._known[key]
            return len(old)


@define
class InMemorySales:
    """A thread-safe SaleRepository in memory."""

    _by_prediction: dict[UUID, list[RecordedSale]] = field(factory=dict, init=False, repr=False)
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
                sales_of_prediction = self._by_prediction.setdefault(sale.prediction, [])
                sales_of_prediction.append(sale)
                sales_of_prediction.sort(key=lambda sale: sale.id)
        return recorded

    def largest_id(self) -> UUID | None:
        with self._lock:
            return max((sales[-1].id for sales in self._by_prediction.values()), default=None)

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        first, last = since or date.min, until or date.max
        with self._lock:
            latest = [sales[-1] for sales in self._by_prediction.values() if first <= sales[-1].sold_on <= last]
        return sorted(latest, key=lambda sale: (sale.sold_on, sale.id), reverse=True)[:limit]

    def erase(self, predictions: Sequence[UUID]) -> int:
        with self._lock:
            return self._delete([sale for id_ in set(predictions) for sale in self._by_prediction.get(id_, ())])

    def prune(self, before: UUID, limit: int) -> int:
        with self._lock:
            old = [sale for id_ in sorted(self._by_prediction) if id_ < before for sale in self._by_prediction[id_]]
            return self._delete(old[:limit])

    def _delete(self, sales: Sequence[RecordedSale]) -> int:
        ids = {sale.id for sale in sales}
        for prediction in {sale.prediction for sale in sales}:
            remaining = [sale for sale in self._by_prediction.pop(prediction) if sale.id not in ids]
            if remaining:
                self._by_prediction[prediction] = remaining
        for key, (delivery, delivered) in self._deliveries.items():
            self._deliveries[key] = delivery, [sale for sale in delivered if sale.id not in ids]
        return len(ids)

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        with self._lock:
            return list(self._by_prediction.get(prediction, ()))


@define
class InMemoryModels:
    """A thread-safe ModelStore in memory."""

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
        self.get(name)  # raises if the version is unknown; versions are never removed
        with self._lock:
            if self._history[:1] != [name]:
                self._history.insert(0, name)
                self._generation += 1

    def rollback(self, name: str) -> None:
        with self._lock:
            if name not in self._history:
                raise UnknownModel(f"Model version {name!r} was never promoted")
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
    """A thread-safe TrainingLog in memory."""

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
            raise UnknownTraining(f"There is no training job {training}")
        return self._records[training]
