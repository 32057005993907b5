"""The history of trainings. A training holds a lock while it runs, so that stale entries of the log can be closed."""

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

LOG_INTERVAL_S = 1.0
"""The time between updates of the log during a training, in seconds."""
NOT_PROMOTED = "The version is stored, but the training process ended before it was promoted."
_MAX_TRAININGS = 1000
_LOCK_ATTEMPTS = 50
_LOG_LOST = (ModelStoreUnavailable, UnknownTraining)

StartListener = Callable[[UUID], None]
"""A callback that receives the id of a training when it has started."""


def ignore_start(_id: UUID) -> None:
    """Ignore the start of a training."""


@define
class TrainingRun:
    """A running training, which logs its progress and its outcome."""

    id: UUID
    _log: TrainingLog
    _clock: Clock
    _progress: Progress
    _looked_at: datetime | None = None
    _steps: tuple[int, int] = (0, 0)
    _outcome: TrainingOutcome | None = None

    def progress(self, done: int, total: int) -> None:
        """Log the progress, at most once a second. Raises TrainingCancelled if cancellation was requested."""
        self._progress(done, total)
        self._steps = (done, total)
        now = self._clock.now()
        since = math.inf if self._looked_at is None else abs((now - self._looked_at).total_seconds())
        if since >= LOG_INTERVAL_S:
            self._looked_at = now
            with suppress(*_LOG_LOST):  # A training continues without its log.
                _unless_cancelled(self._log.change(self.id, lambda status: status.at(done, total)))

    def start_storing(self) -> None:
        """Log that the version is being stored, which can't be cancelled. Raises TrainingCancelled one last time."""
        _unless_cancelled(self._log.change(self.id, lambda status: status.at(*self._steps).start_storing()))

    def succeeded(self, version: str, verdict: Verdict) -> None:
        """Log that the version is stored. Later errors don't change this outcome."""
        self.end(TrainingOutcome.success(version, verdict))

    def end(self, outcome: TrainingOutcome | None) -> None:
        """Log an outcome, unless one was logged. Raises ValueError if there is none at all."""
        if self._outcome:
            return
        if outcome is None:
            raise ValueError("a training without an error needs an outcome")
        self._outcome = outcome
        with suppress(*_LOG_LOST):  # The next reader of the log closes it.
            now = self._clock.now()
            self._log.change(self.id, lambda status: status.ended(now, outcome))


@define
class TrainingHistory:
    """The running and past trainings of all processes."""

    _models: ModelStore
    _log: TrainingLog
    _clock: Clock
    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @contextmanager
    def record_training(self, source: SalesSource, progress: Progress, begun: StartListener) -> Iterator[TrainingRun]:
        """Hold the training lock in a `with` block, and log the training from its start to its outcome.

        Args:
            source: the sales.
            progress: called with the progress, too.
            begun: called with the id of the training when it has started.

        Raises:
            TrainingInProgress: if another training is running; with its id if it is in the log.
            ModelStoreUnavailable: if the lock or the log can't be used.
        """
        with ExitStack() as stack:
            self._lock(stack)
            for status in self._log.recent(_MAX_TRAININGS):
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
        """Return the status of a training. Raises UnknownTraining or ModelStoreUnavailable."""
        return self._settled(self._log.get(training))

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """Return the status of the newest trainings, newest first. Raises ModelStoreUnavailable."""
        return [self._settled(status) for status in self._log.recent(limit)]

    def cancel(self, training: UUID) -> TrainingStatus:
        """Request the cancellation of a training, which takes effect at its next step.

        Raises:
            UnknownTraining: if no training has this id.
            TrainingEnded: if it has ended, or its version is being stored.
            ModelStoreUnavailable: if the log can't be used.
        """
        if self.get(training).outcome:
            raise TrainingEnded
        status = self._log.change(training, TrainingStatus.request_cancellation)
        if not status.cancelling:  # It has just ended, or its version is being stored.
            raise TrainingEnded
        return status

    def is_cancelling(self, training: UUID) -> bool:
        """Whether the cancellation of a running training was requested; False while the log can't be read."""
        with suppress(*_LOG_LOST):
            status = self._log.get(training)
            return status.cancelling and status.outcome is None
        return False

    def over(self, training: UUID, error: str = PROCESS_ENDED) -> TrainingStatus:
        """Close a training whose process has ended: log its outcome, unless it has one.

        If cancellation was requested, it was cancelled. Otherwise it succeeded if its version is stored, or else it
        failed with `error`. Raises UnknownTraining or ModelStoreUnavailable.
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
        """Return the success of a training if its version is stored, or None.

        Trainings run one at a time, so the first version of the same sales since its start is the version.
        """
        for version in self._models.versions():
            verdict = version.verdict
            if version.created_at >= status.started_at and version.source.location == status.location and verdict:
                if verdict.promoted and version.name not in self._models.history():
                    verdict = evolve(verdict, promoted=False, reasons=(*verdict.reasons, NOT_PROMOTED))
                return TrainingOutcome.success(version.name, verdict)
        return None

    def require_no_training(self) -> None:
        """Raise TrainingInProgress, with its id, if a training is running."""
        for status in self.recent(1):
            if status.outcome is None:
                raise TrainingInProgress(training=status.id)

    def _lock(self, stack: ExitStack) -> None:
        """Acquire the lock, or raise TrainingInProgress.

        A reader of the log may hold the lock for a moment, and a training holds it before it is in the log. So this
        tries again until the log has a running training.
        """
        for _ in range(_LOCK_ATTEMPTS):
            try:
                stack.enter_context(self._models.training())
            except TrainingInProgress:
                with suppress(ModelStoreUnavailable):
                    if running := [status.id for status in self._log.recent(_MAX_TRAININGS) if status.outcome is None]:
                        raise TrainingInProgress(training=running[0]) from None
            else:
                return
        raise TrainingInProgress

    def _settled(self, status: TrainingStatus) -> TrainingStatus:
        """Return the status. If no process holds the lock, no training is running, and the status gets an outcome."""
        if status.outcome is None:
            with suppress(TrainingInProgress), self._models.training():
                return self.over(status.id)  # It may have ended meanwhile, so `over` reads it again under the lock.
        return status


def _unless_cancelled(status: TrainingStatus) -> None:
    if status.cancelling:
        raise TrainingCancelled


def _outcome_of(error: BaseException) -> TrainingOutcome:
    if isinstance(error, TrainingCancelled) or interrupt_in(error):
        return TrainingOutcome.cancellation(str(TrainingCancelled()))
    if isinstance(error, HousepredictError):
        return TrainingOutcome.failure(str(error))
    return TrainingOutcome.failure(f"Unexpected error: {type(error).__name__}.")
