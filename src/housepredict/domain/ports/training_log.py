"""Where trainings are told of, under way and over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

from housepredict.domain.trainings import TrainingRecord


class TrainingLog(Protocol):
    """Tells of trainings, those of other processes too: the newest hundred at least. It is where model versions are.

    Each change is made at once and wholly, whoever else makes one: none is lost, and of two that contradict each other
    the first counts. Raises ModelStoreUnavailable when it cannot, and UnknownTraining for an id that it does not know.
    """

    def begin(self, record: TrainingRecord) -> None:
        """Tell of a training that begins."""

    def change(self, training: UUID, how: Callable[[TrainingRecord], TrainingRecord]) -> TrainingRecord:
        """Replace a record by what `how`, such as TrainingRecord.to_be_cancelled, makes of it. Returns the new one."""

    def get(self, training: UUID) -> TrainingRecord:
        """What is known of it."""

    def recent(self, limit: int) -> Sequence[TrainingRecord]:
        """The newest, newest first, at most `limit`."""
