"""The history of trainings: each is logged while it holds the lock, so that a stale log can be corrected."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from uuid import UUID

from attrs import define, evolve, field

from housepredict.domain.errors import (
    HousepredictError,
    ModelStoreUnavailable,
    TrainingCancelled,
    TrainingEnded,
    TrainingInProgress,
    UnknownTraining,
    interrupt_in,
)
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import Verdict
from housepredict.domain.ports import Clock, ModelStore, Progress, SalesSource, TrainingLog
from housepredict.domain.training_status import PROCESS_ENDED, TrainingOutcome, TrainingStatus

LOOK_EVERY = 1.0
"""Seconds between updates of the log during a training."""
NOT_PROMOTED = "It was stored, and its process ended before it was promoted."
_ALL = 1000
_TRIES = 50
_LOG_LOST = (ModelStoreUnavailable, UnknownTraining)

StartListener = Callable[[UUID], None]
"""Receives the id of a training as soon as it has begun."""


def ignore_start(_id: UUID) -> None:
    """Ignore the start of a training."""


@define
class TrainingRun:
    """A training under way, which logs its progress and its outcome."""

    id: UUID
    _log: TrainingLog
    _clock: Clock
    _progress: Progress
    _looked_at: datetime | None = None
    _steps: tuple[int, int] = (0, 0)
    _outcome: TrainingOutcome | None = None

    def progress(self, done: int, total: int) -> None:
        """Log the progress, at most once a second. Raises TrainingCancelled."""
        self._progress(done, total)
        self._steps = (done, total)
        now = self._clock.now()
        since = math.inf if self._looked_at is None else abs((now - self._looked_at).total_seconds())
        if since >= LOOK_EVERY:
            self._looked_at = now
            with suppress(*_LOG_LOST):  # the training is worth more than its log
                _unless_cancelled(self._log.change(self.id, lambda status: status.at(done, total)))

    def about_to_keep(self) -> None:
        """Note that the version is about to be stored. Raises TrainingCancelled one last time."""
        _unless_cancelled(self._log.change(self.id, lambda status: status.at(*self._steps).to_be_kept()))

    def succeeded(self, version: str, verdict: Verdict) -> None:
        """Log the success: the version is stored, whatever follows."""
        self.end(TrainingOutcome.success(version, verdict))

    def end(self, outcome: TrainingOutcome | None) -> None:
        """Log the first outcome; without any, raise ValueError."""
        if self._outcome:
            return
        if outcome is None:
            raise ValueError("a training that ends well has made something")
        self._outcome = outcome
        with suppress(*_LOG_LOST):  # the next reader of the log finds out that it is over
            now = self._clock.now()
            self._log.change(self.id, lambda status: status.ended(now, outcome))


@define
class TrainingHistory:
    """Trainings under way and over, of all processes."""

    _models: ModelStore
    _log: TrainingLog
    _clock: Clock
    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @contextmanager
    def under_way(self, source: SalesSource, progress: Progress, begun: StartListener) -> Iterator[TrainingRun]:
        """Hold the lock for a training on the sales of a source, and log it from its start to its outcome.

        Raises TrainingInProgress, with the id of the other one if the log has it, or ModelStoreUnavailable.
        """
        with ExitStack() as stack:
            self._lock(stack)
            for status in self._log.recent(_ALL):
                if status.outcome is None:
                    self.over(status.id)
            [id_] = self._ids.take(1, self._clock.now())
            run = TrainingRun(id_, self._log, self._clock, progress)
            try:
                self._log.begin(TrainingStatus(id_, self._clock.now(), source.location, source.with_recorded))
                begun(id_)
                yield run
            except BaseException as error:
                run.end(_outcome_of(error))
                raise
            run.end(None)

    def get(self, training: UUID) -> TrainingStatus:
        """The status of a training. Raises UnknownTraining or ModelStoreUnavailable."""
        return self._settled(self._log.get(training))

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """Up to `limit` of the newest trainings, newest first. Raises ModelStoreUnavailable."""
        return [self._settled(status) for status in self._log.recent(limit)]

    def cancel(self, training: UUID) -> TrainingStatus:
        """Ask a training to end, which may take a while.

        Raises UnknownTraining, TrainingEnded if it is too late, or ModelStoreUnavailable.
        """
        if self.get(training).outcome:
            raise TrainingEnded
        status = self._log.change(training, TrainingStatus.to_be_cancelled)
        if not status.cancelling:  # it has just ended, or its version is being stored
            raise TrainingEnded
        return status

    def is_cancelling(self, training: UUID) -> bool:
        """Whether a running training is to be cancelled; False while the log can't be read."""
        with suppress(*_LOG_LOST):
            status = self._log.get(training)
            return status.cancelling and status.outcome is None
        return False

    def over(self, training: UUID, error: str = PROCESS_ENDED) -> TrainingStatus:
        """Log the outcome of a training whose process has ended, unless the process did.

        It succeeded if its version is stored. Otherwise it was cancelled, or failed with `error`. Raises
        UnknownTraining or ModelStoreUnavailable.
        """
        status = self._log.get(training)
        outcome = TrainingOutcome.failure(error)
        if status.cancelling:
            outcome = TrainingOutcome.cancellation(str(TrainingCancelled()))
        elif status.keeping and (success := self._stored_version(status)):
            outcome = success
        now = self._clock.now()
        return self._log.change(training, lambda status: status.ended(now, outcome))

    def _stored_version(self, status: TrainingStatus) -> TrainingOutcome | None:
        """The success of a training whose version is stored, or None.

        Trainings run one at a time, so the first version of the same sales since its start is its own.
        """
        for version in self._models.versions():
            verdict = version.verdict
            if version.created_at >= status.started_at and version.source.location == status.location and verdict:
                if verdict.promoted and version.name not in self._models.history():
                    verdict = evolve(verdict, promoted=False, reasons=(*verdict.reasons, NOT_PROMOTED))
                return TrainingOutcome.success(version.name, verdict)
        return None

    def require_none(self) -> None:
        """Raise TrainingInProgress, with its id, if a training is under way."""
        for status in self.recent(1):
            if status.outcome is None:
                raise TrainingInProgress(training=status.id)

    def _lock(self, stack: ExitStack) -> None:
        """Hold the lock, or raise TrainingInProgress.

        A reader of the log may hold it for a moment, and a training holds it before it is in the log: so try until the
        log has a running training.
        """
        for _ in range(_TRIES):
            try:
                stack.enter_context(self._models.training())
            except TrainingInProgress:
                with suppress(ModelStoreUnavailable):
                    if running := [status.id for status in self._log.recent(_ALL) if status.outcome is None]:
                        raise TrainingInProgress(training=running[0]) from None
            else:
                return
        raise TrainingInProgress

    def _settled(self, status: TrainingStatus) -> TrainingStatus:
        """The status, with an outcome if no process holds the lock: then no training is under way."""
        if status.outcome is None:
            with suppress(TrainingInProgress), self._models.training():
                return self.over(status.id)  # which reads it again under the lock: it may have succeeded meanwhile
        return status


def _unless_cancelled(status: TrainingStatus) -> None:
    if status.cancelling:
        raise TrainingCancelled


def _outcome_of(error: BaseException) -> TrainingOutcome:
    if isinstance(error, TrainingCancelled) or interrupt_in(error):
        return TrainingOutcome.cancellation(str(TrainingCancelled()))
    if isinstance(error, HousepredictError):
        return TrainingOutcome.failure(str(error))
    return TrainingOutcome.failure(f"It failed in a way that was not expected: {type(error).__name__}.")
