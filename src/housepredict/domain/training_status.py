"""A training as it is told of while it is under way, and remembered when it is over."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from attrs import evolve, field, frozen

from housepredict.domain.models import Verdict

PROCESS_ENDED = "The process that trained has ended: it was killed, or its machine was."


class TrainingState(StrEnum):
    """How far a training has come."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def _storable(text: str | None) -> str | None:
    """A text as every store can keep it: paths and messages may hold NUL characters and lone surrogates."""
    return None if text is None else text.replace("\0", "?").encode("utf-8", "replace").decode()


def _all_storable(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_storable(text) or "" for text in texts)


@frozen
class TrainingOutcome:
    """How a training ended.

    One that succeeded has made a `version`, which was `promoted` or not for these `reasons`; of any other there is an
    `error`, a sentence for people.
    """

    state: TrainingState
    version: str | None = None
    promoted: bool = False
    reasons: tuple[str, ...] = field(default=(), converter=_all_storable)
    error: str | None = field(default=None, converter=_storable)

    @classmethod
    def success(cls, version: str, verdict: Verdict) -> TrainingOutcome:
        """A version was made."""
        return cls(TrainingState.SUCCEEDED, version, verdict.promoted, tuple(verdict.reasons))

    @classmethod
    def failure(cls, error: str) -> TrainingOutcome:
        """None was made, for this reason."""
        return cls(TrainingState.FAILED, error=error)

    @classmethod
    def cancellation(cls, error: str) -> TrainingOutcome:
        """None was made, because somebody wished so."""
        return cls(TrainingState.CANCELLED, error=error)


@frozen
class TrainingStatus:
    """What is known of a training.

    `id` is a UUIDv7; times are in UTC. `location` is where the sales are, None if they are synthetic or
    came back alone; `with_recorded` is whether sales that came back are among them. `done` of `total`
    steps are done, as of the last look; both are 0 before the first. `cancelling` is whether it was asked to end, and
    `keeping` whether it is too late to ask: the version is made, and about to be kept.
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
        """How far it has come."""
        return self.outcome.state if self.outcome else TrainingState.RUNNING

    @property
    def synthetic(self) -> bool:
        """Whether the sales were made up rather than observed."""
        return self.location is None and not self.with_recorded

    def at(self, done: int, total: int) -> TrainingStatus:
        """The same with so many steps done, unless it has ended."""
        return self if self.outcome else evolve(self, done=done, total=total)

    def to_be_cancelled(self) -> TrainingStatus:
        """The same, asked to end, unless it is too late for that."""
        return self if self.outcome or self.keeping else evolve(self, cancelling=True)

    def to_be_kept(self) -> TrainingStatus:
        """The same, with the version about to be kept, unless it was asked to end before."""
        return self if self.outcome or self.cancelling else evolve(self, keeping=True)

    def ended(self, at: datetime, outcome: TrainingOutcome) -> TrainingStatus:
        """The same at its end. There is but one: what has ended stays as it is."""
        return self if self.outcome else evolve(self, ended_at=at, outcome=outcome)
