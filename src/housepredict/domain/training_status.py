"""The status of a training job, and its outcome."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from attrs import evolve, field, frozen

from housepredict.domain.models import Verdict

PROCESS_ENDED = "The process that trained has ended: it was killed, or its machine was."


class TrainingState(StrEnum):
    """The state of a training."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _storable(text: str | None) -> str | None:
    """A text that every store can hold: paths and messages may have NUL characters and lone surrogates."""
    return None if text is None else text.replace("\0", "?").encode("utf-8", "replace").decode()


def _all_storable(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_storable(text) or "" for text in texts)


@frozen
class TrainingOutcome:
    """The outcome of a training: a `version` that was `promoted` or not for `reasons`, or an `error`, as a sentence."""

    state: TrainingState
    version: str | None = None
    promoted: bool = False
    reasons: tuple[str, ...] = field(default=(), converter=_all_storable)
    error: str | None = field(default=None, converter=_storable)

    @classmethod
    def success(cls, version: str, verdict: Verdict) -> TrainingOutcome:
        """The outcome of a training that made a version."""
        return cls(TrainingState.SUCCEEDED, version, verdict.promoted, tuple(verdict.reasons))

    @classmethod
    def failure(cls, error: str) -> TrainingOutcome:
        """The outcome of a training that failed."""
        return cls(TrainingState.FAILED, error=error)

    @classmethod
    def cancellation(cls, error: str) -> TrainingOutcome:
        """The outcome of a training that was cancelled."""
        return cls(TrainingState.CANCELLED, error=error)


@frozen
class TrainingStatus:
    """The status of a training.

    `id` is a UUIDv7; times are in UTC. `location` is that of the file of sales, None without one; `with_recorded` is
    whether recorded sales are among them. `done` of `total` steps are complete, both 0 before the first progress.
    `cancelling` is whether it was asked to end, and `keeping` whether it is too late: its version is being stored.
    """

    id: UUID
    started_at: datetime
    location: str | None = field(converter=_storable)
    with_recorded: bool = False
    done: int = 0
    total: int = 0
    cancelling: bool = False
    keeping: bool = False
    ended_at: datetime | None = None
    outcome: TrainingOutcome | None = None

    @property
    def state(self) -> TrainingState:
        """The state of the training."""
        return self.outcome.state if self.outcome else TrainingState.RUNNING

    @property
    def synthetic(self) -> bool:
        """Whether the sales are synthetic."""
        return self.location is None and not self.with_recorded

    def at(self, done: int, total: int) -> TrainingStatus:
        """The status with this progress, unless it has ended."""
        return self if self.outcome else evolve(self, done=done, total=total)

    def to_be_cancelled(self) -> TrainingStatus:
        """The status with a request to end, unless it is too late."""
        return self if self.outcome or self.keeping else evolve(self, cancelling=True)

    def to_be_kept(self) -> TrainingStatus:
        """The status before its version is stored, unless it was asked to end before."""
        return self if self.outcome or self.cancelling else evolve(self, keeping=True)

    def ended(self, at: datetime, outcome: TrainingOutcome) -> TrainingStatus:
        """The status with an outcome, unless it has one."""
        return self if self.outcome else evolve(self, ended_at=at, outcome=outcome)
