"""Where trainings are told of, under way and over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from housepredict.domain.trainings import Outcome, TrainingRecord


class TrainingLog(Protocol):
    """Tells of trainings, those of other processes too: the newest hundred at least. It is where model versions are.

    Each change is made at once and wholly, whoever else makes one: none is lost, and of two that contradict each other
    the first counts. Raises ModelStoreUnavailable when it cannot, and UnknownTraining for an id that it does not know.
    """

    def begin(self, record: TrainingRecord) -> None:
        """Tell of a training that begins."""

    def note(self, training: UUID, done: int, total: int) -> TrainingRecord:
        """Note its progress; see TrainingRecord.at. Gives what is known of it then."""

    def keep(self, training: UUID) -> TrainingRecord:
        """Note that its version is about to be kept; see TrainingRecord.to_be_kept."""

    def cancel(self, training: UUID) -> TrainingRecord:
        """Ask it to end; see TrainingRecord.to_be_cancelled."""

    def end(self, training: UUID, at: datetime, outcome: Outcome) -> TrainingRecord:
        """Note its end; see TrainingRecord.ended."""

    def get(self, training: UUID) -> TrainingRecord:
        """What is known of it."""

    def recent(self, limit: int) -> Sequence[TrainingRecord]:
        """The newest, newest first, at most `limit`."""
