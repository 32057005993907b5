"""What is told of trainings: each is logged while it has the lock, so that the log can be proved wrong."""

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
"""Seconds between looks at the log, while a model is being trained."""
NOT_PROMOTED = "It was stored, and its process ended before it was promoted."
_ALL = 1000
_TRIES = 50
_LOG_LOST = (ModelStoreUnavailable, UnknownTraining)

StartListener = Callable[[UUID], None]
"""Is told the id of a training as soon as it has begun."""


def ignore_start(_id: UUID) -> None:
    """A StartListener for who need not know."""


@define
class TrainingRun:
    """A training that is under way, as whoever trains sees it."""

    id: UUID
    _log: TrainingLog
    _clock: Clock
    _progress: Progress
    _looked_at: datetime | None = None
    _steps: tuple[int, int] = (0, 0)
    _outcome: TrainingOutcome | None = None

    def progress(self, done: int, total: int) -> None:
        """A Progress that is logged, and the place to notice a wish to cancel. Raises TrainingCancelled."""
        self._progress(done, total)
        self._steps = (done, total)
        now = self._clock.now()
        since = math.inf if self._looked_at is None else abs((now - self._looked_at).total_seconds())
        if since >= LOOK_EVERY:
            self._looked_at = now
            with suppress(*_LOG_LOST):  # what was learned so far is worth more
                _unless_cancelled(self._log.change(self.id, lambda record: record.at(done, total)))

    def about_to_keep(self) -> None:
        """The last moment to cancel. Raises TrainingCancelled or ModelStoreUnavailable."""
        _unless_cancelled(self._log.change(self.id, lambda record: record.at(*self._steps).to_be_kept()))

    def succeeded(self, version: str, verdict: Verdict) -> None:
        """Log what came of it: whatever follows, the version is stored."""
        self.end(TrainingOutcome.success(version, verdict))

    def end(self, outcome: TrainingOutcome | None) -> None:
        """Log the end, once."""
        if self._outcome:
            return
        if outcome is None:
            raise ValueError("a training that ends well has made something")
        self._outcome = outcome
        with suppress(*_LOG_LOST):  # it is what it is, and whoever reads the log finds out that it is over
            now = self._clock.now()
            self._log.change(self.id, lambda record: record.ended(now, outcome))


@define
class TrainingHistory:
    """TrainingHistory under way and over, whoever started them."""

    _models: ModelStore
    _log: TrainingLog
    _clock: Clock
    _ids: IdSequence = field(factory=IdSequence, repr=False)

    @contextmanager
    def under_way(self, source: SalesSource, progress: Progress, begun: StartListener) -> Iterator[TrainingRun]:
        """A training, one at a time, on the sales of a source: logged from begin to end, whatever the end is.

        Raises TrainingInProgress, with the id of the other one where the log has it, or ModelStoreUnavailable.
        """
        with ExitStack() as stack:
            self._lock(stack)
            for each in self._log.recent(_ALL):
                if each.outcome is None:
                    self.over(each.id)
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
        """A training. Raises UnknownTraining or ModelStoreUnavailable."""
        return self._settled(self._log.get(training))

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        """The newest trainings, newest first, at most `limit`. Raises ModelStoreUnavailable."""
        return [self._settled(each) for each in self._log.recent(limit)]

    def cancel(self, training: UUID) -> TrainingStatus:
        """Ask a training to end, which may take a while. Raises UnknownTraining, TrainingEnded if it is too late for
        that, or ModelStoreUnavailable.
        """
        if self.get(training).outcome:
            raise TrainingEnded
        record = self._log.change(training, TrainingStatus.to_be_cancelled)
        if not record.cancelling:  # it ended in this very moment, or keeps its version
            raise TrainingEnded
        return record

    def is_cancelling(self, training: UUID) -> bool:
        """Whether somebody wishes that a training ends which has not ended; False while the log cannot tell."""
        with suppress(*_LOG_LOST):
            record = self._log.get(training)
            return record.cancelling and record.outcome is None
        return False

    def over(self, training: UUID, error: str = PROCESS_ENDED) -> TrainingStatus:
        """Log the end of a training whose process is gone, unless it logged that itself.

        It succeeded if its version is stored, even though its process could not log that. Otherwise it failed with
        `error`, or was cancelled. Raises UnknownTraining or ModelStoreUnavailable.
        """
        record = self._log.get(training)
        outcome = TrainingOutcome.failure(error)
        if record.cancelling:
            outcome = TrainingOutcome.cancellation(str(TrainingCancelled()))
        elif record.keeping and (version := self._made_by(record)):
            outcome = version
        now = self._clock.now()
        return self._log.change(training, lambda record: record.ended(now, outcome))

    def _made_by(self, record: TrainingStatus) -> TrainingOutcome | None:
        """The success of a training whose version is stored; None if there is none.

        One training runs at a time, so the first version of the same sales since its start is its own.
        """
        for version in self._models.versions():
            verdict = version.verdict
            if version.created_at >= record.started_at and version.source.location == record.location and verdict:
                if verdict.promoted and version.name not in self._models.history():
                    verdict = evolve(verdict, promoted=False, reasons=(*verdict.reasons, NOT_PROMOTED))
                return TrainingOutcome.success(version.name, verdict)
        return None

    def require_none(self) -> None:
        """Raise TrainingInProgress, with its id, if the log tells of one that is under way."""
        for each in self.recent(1):
            if each.outcome is None:
                raise TrainingInProgress(training=each.id)

    def _lock(self, stack: ExitStack) -> None:
        """Hold the lock, or raise TrainingInProgress.

        Whoever reads the log may hold it for a moment, and the log does not know at once who else does: so this is
        tried until the log has something to say, at most so often.
        """
        for _ in range(_TRIES):
            try:
                stack.enter_context(self._models.training())
            except TrainingInProgress:
                if running := self._running():
                    raise TrainingInProgress(training=running) from None
            else:
                return
        raise TrainingInProgress

    def _running(self) -> UUID | None:
        with suppress(ModelStoreUnavailable):
            return next((each.id for each in self._log.recent(_ALL) if each.outcome is None), None)
        return None

    def _settled(self, record: TrainingStatus) -> TrainingStatus:
        """The record as it is: where nobody holds the lock, nobody trains."""
        if record.outcome is None:
            with suppress(TrainingInProgress), self._models.training():
                # what is said of it under the lock: it may have ended well in between
                return self.over(record.id)
        return record


def _unless_cancelled(record: TrainingStatus) -> None:
    if record.cancelling:
        raise TrainingCancelled


def _outcome_of(error: BaseException) -> TrainingOutcome:
    if isinstance(error, TrainingCancelled) or interrupt_in(error):
        return TrainingOutcome.cancellation(str(TrainingCancelled()))
    if isinstance(error, HousepredictError):
        return TrainingOutcome.failure(str(error))
    return TrainingOutcome.failure(f"It failed in a way that was not expected: {type(error).__name__}.")
