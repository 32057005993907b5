"""A log of trainings that lives as long as the process: for tests, and for whoever keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Lock
from uuid import UUID

from attrs import define, field

from housepredict.domain.errors import UnknownTraining
from housepredict.domain.trainings import Outcome, TrainingRecord


@define
class InMemoryTrainings:
    """A TrainingLog in memory, for any number of threads."""

    _records: dict[UUID, TrainingRecord] = field(init=False, factory=dict, repr=False)
    _lock: Lock = field(init=False, factory=Lock, repr=False)

    def begin(self, record: TrainingRecord) -> None:
        """Tell of a training that begins."""
        with self._lock:
            self._records[record.id] = record

    def note(self, training: UUID, done: int, total: int) -> TrainingRecord:
        """Note its progress. Raises UnknownTraining."""
        return self._changed(training, lambda record: record.at(done, total))

    def keep(self, training: UUID) -> TrainingRecord:
        """Note that its version is about to be kept. Raises UnknownTraining."""
        return self._changed(training, TrainingRecord.to_be_kept)

    def cancel(self, training: UUID) -> TrainingRecord:
        """Ask it to end. Raises UnknownTraining."""
        return self._changed(training, TrainingRecord.to_be_cancelled)

    def end(self, training: UUID, at: datetime, outcome: Outcome) -> TrainingRecord:
        """Note its end. Raises UnknownTraining."""
        return self._changed(training, lambda record: record.ended(at, outcome))

    def get(self, training: UUID) -> TrainingRecord:
        """What is known of it. Raises UnknownTraining."""
        return self._changed(training, lambda record: record)

    def recent(self, limit: int) -> Sequence[TrainingRecord]:
        """The newest, newest first, at most `limit`."""
        with self._lock:
            return sorted(self._records.values(), key=lambda record: record.id, reverse=True)[:limit]

    def _changed(self, id_: UUID, change: Callable[[TrainingRecord], TrainingRecord]) -> TrainingRecord:
        with self._lock:
            if id_ not in self._records:
                raise UnknownTraining(f"There is no training {id_}")
            self._records[id_] = change(self._records[id_])
            return self._records[id_]
