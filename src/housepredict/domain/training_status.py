"""The status and the outcome of a training job."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from attrs import evolve, field, frozen

from housepredict.domain.models import Verdict

PROCESS_ENDED = "The training process ended unexpectedly: it was killed, or its machine stopped."


class TrainingState(StrEnum):
    """The state of a training job."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _storable(text: str | None) -> str | None:
    """Replace NUL characters and lone surrogates in a text, because some stores reject them.

    Paths and error messages may contain such characters.
    """
    return None if text is None else text.replace("\0", "?").encode("utf-8", "replace").decode()


def _all_storable(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_storable(text) or "" for text in texts)


@frozen
class TrainingOutcome:
    """The outcome of a training job.

    Attributes:
        version: the name of the stored version, or None if the job did not succeed.
        promoted: whether the version was promoted.
        reasons: the reasons why the version was or was not promoted.
        error: what went wrong, or None if the job succeeded.
    """

    state: TrainingState
    version: str | None = None
    promoted: bool = False
    reasons: tuple[str, ...] = field(default=(), converter=_all_storable)
    error: str | None = field(default=None, converter=_storable)

    @classmethod
    def success(cls, version: str, verdict: Verdict) -> TrainingOutcome:
        """Create the outcome of a training job whose version was stored.

        Args:
            version: the name of the stored version.
            verdict: the decision whether to promote the version.
        """
        return cls(TrainingState.SUCCEEDED, version, verdict.promoted, tuple(verdict.reasons))

    @classmethod
    def failure(cls, error: str) -> TrainingOutcome:
        """Create the outcome of a training job that failed."""
        return cls(TrainingState.FAILED, error=error)

    @classmethod
    def cancellation(cls, error: str) -> TrainingOutcome:
        """Create the outcome of a training job that was cancelled."""
        return cls(TrainingState.CANCELLED, error=error)


@frozen
class TrainingStatus:
    """The status of a training job. Times are in UTC.

    Attributes:
        location: the location of the sales file, or None if the job uses no file.
        with_recorded: whether the job uses recorded sales.
        done: the number of completed steps.
        total: the total number of steps, or 0 if no progress was reported yet.
        cancelling: whether cancellation was requested.
        keeping: whether the job has started to store the version. After that, the job can't be cancelled.
        ended_at: when the job ended, or None if it is running.
        outcome: the outcome, or None if the job is running.
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
        """The state of the training job."""
        return self.outcome.state if self.outcome else TrainingState.RUNNING

    @property
    def synthetic(self) -> bool:
        """Whether the job uses synthetic sales."""
        return self.location is None and not self.with_recorded

    def at(self, done: int, total: int) -> TrainingStatus:
        """Return the status with `done` and `total` replaced. If the job has ended, the status is unchanged."""
        return self if self.outcome else evolve(self, done=done, total=total)

    def request_cancellation(self) -> TrainingStatus:
        """Return the status with `cancelling` set. If the job can't be cancelled anymore, the status is unchanged."""
        return self if self.outcome or self.keeping else evolve(self, cancelling=True)

    def start_storing(self) -> TrainingStatus:
        """Return the status with `keeping` set.

        If the job has ended, or cancellation was requested, the status is unchanged.
        """
        return self if self.outcome or self.cancelling else evolve(self, keeping=True)

    def ended(self, at: datetime, outcome: TrainingOutcome) -> TrainingStatus:
        """Return the status with `ended_at` and `outcome` set. If the job ended before, the status is unchanged."""
        return self if self.outcome else evolve(self, ended_at=at, outcome=outcome)
