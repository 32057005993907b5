"""Batches that are estimated in the event loop, and whose commit is waited for there.

A thread would have to be woken twice for each, and to wait for the interpreter behind a busy loop: with PostgreSQL on
the same machine that takes about as long as the commit.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Sequence

from attrs import define, field

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import Appending, BeginsAppends
from housepredict.domain.usecases import Predict
from housepredict.entrypoints.http.estimator import Job, shared_out
from housepredict.entrypoints.http.meter import Lane

HOLD = 0.005
"""Seconds for which a batch may hold the event loop, until it is sent."""

TRIALS, FEW = 8, 16
"""So many batches of so few houses are done here whatever they take: the first of a model are slower than others."""

LOOK_EVERY = 1.0
"""Seconds after which a commit is looked after of which nothing is heard."""

Tell = Callable[[Sequence[Sequence[Prediction] | Exception]], None]


@define(eq=False)
class _Batch:
    jobs: Sequence[Job]
    predictions: Sequence[Prediction]
    tell: Tell
    began: float  # by time.perf_counter, as the next
    estimated: float
    appending: Appending | None = None


@define(eq=False)
class Unthreaded:
    """Does batches in one event loop, one at a time.

    It leaves to a thread those that would take long, by the least time that a house has taken this model so far, those
    for several models, and those in which an estimate fails.
    """

    _predict: Predict
    _repository: BeginsAppends
    _append: Callable[[Sequence[Prediction]], None]  # what cannot be begun, in a thread
    _lane: Lane
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _watch: _Watch = field(init=False)
    _timed: str | None = field(default=None, init=False)  # the version that has this pace
    _pace: float = field(default=math.inf, init=False)  # seconds a house
    _trials: int = field(default=TRIALS, init=False)  # that are left
    _batch: _Batch | None = field(default=None, init=False)

    @_watch.default
    def _watch_of_the_loop(self) -> _Watch:
        return _Watch(self._loop, self._look, self._is_sent)

    def begin(self, jobs: Sequence[Job], tell: Tell) -> bool:
        """Begin a batch, whose outcomes are told after this has returned; False if it is not for here."""
        serving = jobs[0].serving
        if serving.version.name != self._timed:
            self._timed, self._pace, self._trials = serving.version.name, math.inf, TRIALS
        houses = [house for job in jobs for house in job.houses]
        is_short = len(houses) <= FEW if self._trials else len(houses) * self._pace <= HOLD
        if not is_short or not all(job.serving is serving for job in jobs):
            return False
        began = time.perf_counter()
        try:
            predictions = self._predict.unrecorded(serving, houses)
        except Exception:  # noqa: BLE001  # the thread tells whoever asked for it, and them alone
            return False
        self._lane.batch(len(houses))
        self._batch = batch = _Batch(jobs, predictions, tell, began, time.perf_counter())
        try:
            batch.appending = self._repository.begin(predictions)
        except Exception:  # noqa: BLE001  # if it fails once more in the thread, that is told
            batch.appending = None
        if batch.appending:
            self._watch.follow(batch.appending)
        else:
            self._append_in_a_thread(batch)
        self._pace = min(self._pace, (time.perf_counter() - began) / len(houses))
        self._trials = max(self._trials - 1, 0)
        return True

    def close(self) -> None:
        """Watch no longer."""
        self._watch.end()

    def _look(self) -> bool:
        """See how far the append is. Whether there is one."""
        batch = self._batch
        if batch is None or batch.appending is None:
            return False
        try:
            done = batch.appending.is_done()
        except Exception:  # noqa: BLE001  # as above
            self._append_in_a_thread(batch)
        else:
            if done:
                self._lane.commit(batch.estimated)
                self._end(batch, None)
        return True

    def _is_sent(self) -> bool:
        return self._batch is None or self._batch.appending is None or self._batch.appending.is_sent()

    def _append_in_a_thread(self, batch: _Batch) -> None:
        batch.appending = None
        future = self._loop.run_in_executor(None, self._append, batch.predictions)
        future.add_done_callback(lambda appended: self._end(batch, _fault(appended)))

    def _end(self, batch: _Batch, fault: Exception | None) -> None:
        self._batch = None
        steps = batch.began, *self._lane.last_commit
        batch.tell([fault] * len(batch.jobs) if fault else shared_out(batch.predictions, batch.jobs, steps))


def _fault(future: asyncio.Future[None]) -> Exception | None:
    fault = RepositoryUnavailable("the service has stopped") if future.cancelled() else future.exception()
    return fault if fault is None or isinstance(fault, Exception) else RepositoryUnavailable(str(fault))


@define(eq=False)
class _Watch:
    """Watches one connection in the event loop, as long as it is the same: to begin and to end that takes system calls.

    A descriptor of its own stands for the connection, so that nobody closes it while it is watched.
    """

    _loop: asyncio.AbstractEventLoop
    _look: Callable[[], bool]
    _is_sent: Callable[[], bool]
    _connection: object = field(default=None, init=False)
    _descriptor: int | None = field(default=None, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def follow(self, appending: Appending) -> None:
        """Look whenever something can be read, and every second."""
        if appending.connection is not self._connection:
            self.end()
            self._timer = self._loop.call_later(LOOK_EVERY, self._look_again)
            try:
                self._descriptor = os.dup(appending.fileno())
            except OSError:  # as many files are open as may be: every second is better than never
                return
            self._connection = appending.connection
            self._loop.add_reader(self._descriptor, self._read)
        if self._descriptor is not None and not appending.is_sent():
            self._loop.add_writer(self._descriptor, self._write)

    def end(self) -> None:
        """Watch nothing."""
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
        self._connection = self._descriptor = self._timer = None

    def _read(self) -> None:
        if not self._look():
            self.end()  # the server has hung up, or somebody else uses the connection

    def _write(self) -> None:
        if self._descriptor is not None and self._is_sent():
            self._loop.remove_writer(self._descriptor)

    def _look_again(self) -> None:
        self._timer = self._loop.call_later(LOOK_EVERY, self._look_again)
        self._look()
