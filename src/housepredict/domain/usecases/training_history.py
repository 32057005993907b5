"""The history of training jobs.

A job holds the training lock while it runs. If the lock is free, any job without an outcome in the log must have died.
TrainingHistory then logs the outcome for the dead job.
"""

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
"""Minimum time between progress updates in the log, in seconds."""
NOT_PROMOTED = "The version is stored, but the training process ended before it was promoted."
_MAX_TRAININGS = 1000
_LOCK_ATTEMPTS = 50
_LOG_LOST = (ModelStoreUnavailable, UnknownTraining)

StartListener = Callable[[UUID], None]
"""A callback that receives the id of a training job after the job has started."""


def ignore_start(_id: UUID) -> None:
    """Ignore the start of a training job."""


@define
class TrainingRun:
    """A running training job. It logs its own progress and outcome."""

    id: UUID
    _log: TrainingLog
    _clock: Clock
    _progress: Progress
    _looked_at: datetime | None = None
    _steps: tuple[int, int] = (0, 0)
    _outcome: TrainingOutcome | None = None

    def progress(self, done: int, total: int) -> None:
        """Log the progress, at most once a second.

        Args:
            done: the number of completed steps.
            total: the number of all steps.

        Raises:
            TrainingCancelled: if cancellation was requested.
        """
        self._progress(done, total)
        self._steps = (done, total)
        now = self._clock.now()
        since = math.inf if self._looked_at is None else abs((now - self._looked_at).total_seconds())
        if since >= LOG_INTERVAL_S:
            self._looked_at = now
            with suppress(*_LOG_LOST):  # The job continues even if the log is unavailable.
                _unless_cancelled(self._log.change(self.id, lambda status: status.at(done, total)))

    def start_storing(self) -> None:
        """Log that the version is now being stored. From here on, the job can't be cancelled.

        Raises:
            TrainingCancelled: if cancellation was requested earlier.
        """
        _unless_cancelled(self._log.change(self.id, lambda status: status.at(*self._steps).start_storing()))

    def succeeded(self, version: str, verdict: Verdict) -> None:
        """Log that the job succeeded and stored `version`. Later errors don't change this outcome."""
        self.end(TrainingOutcome.success(version, verdict))

    def end(self, outcome: TrainingOutcome | None) -> None:
        """Log the outcome of the job, unless one was already logged.

        Args:
            outcome: the outcome. It may be None only if an outcome was already logged.

        Raises:
            ValueError: if `outcome` is None and no outcome was logged.
        """
        if self._outcome:
            return
        if outcome is None:
            raise ValueError("a training without an error needs an outcome")
        self._outcome = outcome
        with suppress(*_LOG_LOST):  # If this fails, the next reader of the log closes the entry.
            now = self._clock.now()
            self._log.change(self.id, lambda status: status.ended(now, outcome))


@define
class TrainingHistory:
    """The running and past training jobs of all processes."""

    _models: ModelStore
    _log: TrainingLog
    _clock: Clock
    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @contextmanager
    def record_training(self, source: SalesSource, progress: Progress, begun: StartListener) -> Iterator[TrainingRun]:
        """Run a `with` block as a training job: acquire the training lock, and log the start and the outcome.

        Args:
            source: the source of the sales.
            progress: a function that is called each time the job reports progress.
            begun: a function that is called with the id of the job after the job has started.

        Raises:
            TrainingInProgress: if another job is running. The error includes the job's id if it is in the log.
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
        """Return the status of a training job.

        Raises:
            UnknownTraining: if no training job has this id.
            ModelStoreUnavailable: if the log can't be used.
        """
        return self._settled(self._log.get(training))

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """Return the status of the `limit` newest training jobs, newest first.

        Raises:
            ModelStoreUnavailable: if the log can't be used.
        """
        return [self._settled(status) for status in self._log.recent(limit)]

    def cancel(self, training: UUID) -> TrainingStatus:
        """Request the cancellation of a training job. The job stops at its next step.

        Raises:
            UnknownTraining: if no training job has this id.
            TrainingEnded: if the job has ended, or its version is already being stored.
            ModelStoreUnavailable: if the log can't be used.
        """
        if self.get(training).outcome:
            raise TrainingEnded
        status = self._log.change(training, TrainingStatus.request_cancellation)
        if not status.cancelling:  # The job has just ended, or its version is being stored.
            raise TrainingEnded
        return status

    def is_cancelling(self, training: UUID) -> bool:
        """Return whether cancellation was requested for a job that is still running.

        Returns False if the log can't be read or has no such job.
        """
        with suppress(*_LOG_LOST):
            status = self._log.get(training)
            return status.cancelling and status.outcome is None
        return False

    def over(self, training: UUID, error: str = PROCESS_ENDED) -> TrainingStatus:
        """Log the outcome of a training job whose process has ended, unless its outcome is already logged.

        If cancellation was requested, the job counts as cancelled. Otherwise, it counts as successful if its version is
        stored, and as failed with the message `error` if not.

        Raises:
            UnknownTraining: if no training job has this id.
            ModelStoreUnavailable: if the log can't be used.
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
        """Return a successful outcome if the job's version is stored, otherwise None.

        Only one job runs at a time. The job's version is therefore the first one that was created after the job
        started, and that has the same sales location as the job.
        """
        for version in self._models.versions():
            verdict = version.verdict
            if version.created_at >= status.started_at and version.source.location == status.location and verdict:
                if verdict.promoted and version.name not in self._models.history():
                    verdict = evolve(verdict, promoted=False, reasons=(*verdict.reasons, NOT_PROMOTED))
                return TrainingOutcome.success(version.name, verdict)
        return None

    def require_no_training(self) -> None:
        """Raise TrainingInProgress, with the id of the job, if a training job is running."""
        for status in self.recent(1):
            if status.outcome is None:
                raise TrainingInProgress(training=status.id)

    def _lock(self, stack: ExitStack) -> None:
        """Acquire the training lock, or raise TrainingInProgress.

        If the lock is taken, it may be held by a call that reads the log and soon releases the lock, or by a job that
        isn't in the log yet. This method therefore retries up to `_LOCK_ATTEMPTS` times, or until the log contains a
        running job.
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
        """Return the current status of a job.

        If the job has no outcome but no process holds the training lock, the job has died, and its outcome is logged
        first.
        """
        if status.outcome is None:
            with suppress(TrainingInProgress), self._models.training():
                return self.over(status.id)  # `over` reads the status again, in case the job has ended meanwhile.
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
