"""A log of trainings that lives as long as the process: for tests, and for whoever keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from uuid import UUID

from attrs import define, field

from housepredict.domain.errors import UnknownTraining
from housepredict.domain.trainings import TrainingRecord


@define
class InMemoryTrainings:
    """A TrainingLog in memory, for any number of threads."""

    _records: dict[UUID, TrainingRecord] = field(init=False, factory=dict, repr=False)
    _lock: Lock = field(init=False, factory=Lock, repr=False)

    def begin(self, record: TrainingRecord) -> None:
        """Tell of a training that begins."""
        with self._lock:
            self._records[record.id] = record

    def change(self, training: UUID, how: Callable[[TrainingRecord], TrainingRecord]) -> TrainingRecord:
        """Replace it by what `how` makes of it. Raises UnknownTraining."""
        with self._lock:
            self._records[training] = how(self._known(training))
            return self._records[training]

    def get(self, training: UUID) -> TrainingRecord:
        """What is known of it. Raises UnknownTraining."""
        with self._lock:
            return self._known(training)

    def recent(self, limit: int) -> Sequence[TrainingRecord]:
        """The newest, newest first, at most `limit`."""
        with self._lock:
            return sorted(self._records.values(), key=lambda record: record.id, reverse=True)[:limit]

    def _known(self, training: UUID) -> TrainingRecord:
        if training not in self._records:
            raise UnknownTraining(f"There is no training {training}")
        return self._records[training]
