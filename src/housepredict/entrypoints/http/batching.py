"""Request batching: each request is validated separately, but waiting requests are estimated and stored together."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from queue import SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

from attrs import define, field

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import House
from housepredict.domain.ports import InService, PredictorSource
from housepredict.domain.usecases.predict import Explain, Predict
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.request_metrics import BatchMeter

Batchable = TypeVar("Batchable")
Result = TypeVar("Result")
Result_contra = TypeVar("Result_contra", contravariant=True)


Begin = Callable[[Sequence[Batchable], Callable[[Sequence[Result | Exception]], None]], bool]
"""A function that starts a batch in the event loop. Its arguments are the jobs and a callback.

When the batch ends, the function passes the outcomes to the callback. It returns whether it started the batch. If not,
the batch must run in the worker thread.
"""


class Overloaded(Exception):
    """Too many jobs are waiting."""


class PendingResult(Protocol[Result_contra]):
    """Receives the outcome of a job. Its methods are called in the event loop. asyncio.Future is an implementation."""

    def done(self) -> bool:
        """Return whether the outcome is no longer needed."""

    def set_result(self, result: Result_contra, /) -> None:
        """Receive the result."""

    def set_exception(self, error: Exception, /) -> None:
        """Receive the error."""


@define(eq=False)
class _PendingJob(Generic[Batchable, Result]):
    job: Batchable
    weight: int
    result: PendingResult[Result]


@define(eq=False)
class Coalescer(Generic[Batchable, Result]):
    """Runs jobs in batches, one batch at a time, in order of arrival.

    A batch runs in the event loop if `begin` starts it there. Otherwise, `work` runs it in a worker thread. The weight
    of a job is a measure of its size, such as the number of houses. Create and use a coalescer in the same event loop.

    Args:
        work: runs a batch, and returns a result or an exception for each job.
        batch_weight: the maximum total weight of a batch. A heavier job forms a batch on its own.
        waiting_weight: the maximum total weight of all waiting jobs. If no job is waiting,
            a job of any weight is accepted.
        begin: starts a batch in the event loop (see Begin).
    """

    _work: Callable[[Sequence[Batchable]], Sequence[Result | Exception]]
    _batch_weight: int
    _waiting_weight: int
    _begin: Begin[Batchable, Result] | None = None
    _is_begun: bool = field(default=False, init=False)  # whether a batch is in flight in the event loop
    _ended: asyncio.Event = field(factory=asyncio.Event, init=False)  # set at the end of such a batch
    # How often the thread received jobs, and how often it finished them. Each counter has one writing thread.
    _handed_over: int = field(default=0, init=False)
    _finished: int = field(default=0, init=False)
    # Jobs that arrived in this turn of the event loop. Waking the thread for each job would take longer than the job.
    _arrived: list[_PendingJob[Batchable, Result]] = field(factory=list, init=False)
    # The thread gets its next batch here, without waiting for a busy event loop.
    _queue: SimpleQueue[Sequence[_PendingJob[Batchable, Result]]] = field(factory=SimpleQueue, init=False)
    # The weights of submitted jobs and of started jobs. Their difference is the weight of the waiting jobs.
    _submitted: int = field(default=0, init=False)  # excluding batches that ran in the event loop
    _taken: int = field(default=0, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = Thread(target=self._run, name="housepredict-batch", daemon=True)
        self._thread.start()

    def submit(self, job: Batchable, weight: int, result: PendingResult[Result]) -> None:
        """Queue a job, whose outcome is passed to `result`. Skip the job if `result` is done before its batch starts.

        Raises:
            Overloaded: if the total weight of the waiting jobs would exceed `waiting_weight`.
        """
        waiting = self.waiting()
        if waiting and waiting + weight > self._waiting_weight:
            raise Overloaded
        self._submitted += weight
        self._arrived.append(_PendingJob(job, weight, result))
        if self._is_begun:
            return  # the end of that batch starts the next
        if self._handed_over != self._finished:
            self._hand_over()
        elif len(self._arrived) == 1:
            self._loop.call_soon(self._start)

    def waiting(self) -> int:
        """Return the total weight of the waiting jobs."""
        return self._submitted - self._taken

    def close(self) -> None:
        """Finish all submitted jobs, and end the worker thread.

        If `begin` is set, don't call this in the event loop, because it waits for the event loop.
        """
        while self._is_begun:
            asyncio.run_coroutine_threadsafe(self._ended.wait(), self._loop).result()
        self._hand_over()
        self._queue.put(())
        self._thread.join()

    def _start(self) -> None:
        if self._handed_over != self._finished or not self._begin or not self._begin_in_loop(self._begin):
            self._hand_over()

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._handed_over += 1
            self._queue.put(arrived)

    def _begin_in_loop(self, begin: Begin[Batchable, Result]) -> bool:
        weight = sum([entry.weight for entry in self._arrived])
        batch = [entry for entry in self._arrived if not entry.result.done()]
        if not batch or weight > self._batch_weight:
            return False
        if not begin([entry.job for entry in batch], partial(self._end, batch)):
            return False
        self._arrived = []
        self._submitted -= weight
        self._is_begun = True
        self._ended.clear()
        return True

    def _end(self, batch: Sequence[_PendingJob[Batchable, Result]], outcomes: Sequence[Result | Exception]) -> None:
        self._is_begun = False
        self._ended.set()
        self._start()  # the next batch runs while these results are delivered
        _deliver(batch, outcomes)

    def _run(self) -> None:
        batch: list[_PendingJob[Batchable, Result]] = []
        room, turns = self._batch_weight, 0
        while arrived := self._queue.get():
            turns += 1
            for entry in arrived:
                if batch and entry.weight > room:
                    self._finish(batch)
                    batch, room = [], self._batch_weight
                self._taken += entry.weight
                if not entry.result.done():
                    batch.append(entry)
                    room -= entry.weight
            if self._queue.empty():
                self._finish(batch, turns)
                batch, room = [], self._batch_weight
        self._finish(batch)

    def _finish(self, batch: Sequence[_PendingJob[Batchable, Result]], turns: int | None = None) -> None:
        """Run a batch in the worker thread.

        `turns` is how many times jobs were handed over to the thread so far, if this batch contains the last of those
        jobs. It is None if some of those jobs are left for later batches.
        """
        outcomes: Sequence[Result | Exception] = []
        try:
            if batch:
                outcomes = self._work([entry.job for entry in batch])
        except Exception as error:  # noqa: BLE001  # every job of the batch needs an outcome
            outcomes = [error] * len(batch)
        if turns:
            self._finished = turns  # before the delivery, so that new jobs can start without waiting for it
        if batch:
            self._loop.call_soon_threadsafe(_deliver, batch, outcomes)


def _deliver(batch: Sequence[_PendingJob[Batchable, Result]], outcomes: Sequence[Result | Exception]) -> None:
    for entry, outcome in zip(batch, outcomes, strict=True):
        if entry.result.done():
            continue
        if isinstance(outcome, Exception):
            entry.result.set_exception(outcome)
        else:
            entry.result.set_result(outcome)


JOB = "housepredict.job"
"""The ASGI scope key for a request's EstimateJob."""

LOOP_BUDGET_S = 0.005
"""The maximum time in seconds that a batch may block the event loop."""

TRIALS, MAX_TRIAL_HOUSES = 8, 16
"""The number of trial batches in the event loop for each model version, and the maximum number of houses in each.

Trial batches are slower than later batches, so LOOP_BUDGET_S doesn't apply to them.
"""


@define(eq=False)
class EstimateJob:
    """The valid houses in a request, and the model version that they were validated for."""

    serving: InService
    houses: Sequence[House]
    steps: tuple[float, float, float] | None = None
    """The times when the batch started, its commit started, and its commit ended (time.perf_counter). For traces."""


Outcomes = Sequence[Sequence[Prediction] | Exception]
"""For each job in a batch, its predictions or its error."""


@define(eq=False)
class Pace:
    """Decides which batches are small enough to run in the event loop.

    A batch is expected to take the shortest time per house that was recorded for the model version so far, multiplied
    by the number of houses.
    """

    _version: str | None = field(default=None, init=False)
    _seconds_per_house: float = field(default=math.inf, init=False)
    _trials_left: int = field(default=TRIALS, init=False)

    def is_short(self, version: str, houses: int) -> bool:
        """Return whether a batch of `houses` houses is small enough for `version` to estimate it in the event loop."""
        if version != self._version:
            self._version, self._seconds_per_house, self._trials_left = version, math.inf, TRIALS
        return houses <= MAX_TRIAL_HOUSES if self._trials_left else houses * self._seconds_per_house <= LOOP_BUDGET_S

    def record(self, seconds: float, houses: int) -> None:
        """Record that a batch of `houses` houses blocked the event loop for `seconds`."""
        self._seconds_per_house = min(self._seconds_per_house, seconds / houses)
        self._trials_left = max(self._trials_left - 1, 0)


@define(eq=False)
class Estimator:
    """Estimates the houses of many requests in batches. With `explain`, it also explains the estimates.

    Args:
        max_body: the maximum size of a request body, in bytes.
        max_batch: the maximum number of houses in a request, and in a batch that combines several requests.
        max_waiting: the maximum number of waiting houses.
        body_timeout: the deadline in seconds for receiving a body, or None if the server enforces the deadline.
        lane: the meter that counts the batches.
        may_use_loop: whether small batches may run in the event loop. Batches with explanations never do.
    """

    _models: PredictorSource
    _predict: Predict
    max_body: int
    max_batch: int
    max_waiting: int
    body_timeout: float | None = None
    _lane: BatchMeter | None = None
    _may_use_loop: bool = False
    _explain: Explain | None = None
    _pace: Pace = field(factory=Pace, init=False)
    _coalescer: Coalescer[EstimateJob, Sequence[Prediction]] = field(init=False)

    @_coalescer.default
    def _make_coalescer(self) -> Coalescer[EstimateJob, Sequence[Prediction]]:
        uses_loop = self._may_use_loop and self._predict.can_begin_in_loop and not self._explain
        return Coalescer(self._estimate, self.max_batch, self.max_waiting, self._begin if uses_loop else None)

    def in_service(self) -> InService:
        """Return the model in service.

        Raises:
            NoModel: if there isn't one.
            RefusedModel: if the promoted version failed a check.
        """
        return self._models.in_service()

    def check(self, houses: Sequence[object], serving: InService | None = None) -> EstimateJob:
        """Validate houses for the model `serving` (default: the model in service). Raise InvalidHouses or NoModel."""
        return EstimateJob(*self._predict.check(houses, serving or self._models.in_service()))

    async def estimate(self, job: EstimateJob) -> Sequence[Prediction]:
        """Estimate and store houses. Raise a Problem if the queue is full, or the error that Predict raised."""
        result: asyncio.Future[Sequence[Prediction]] = asyncio.get_running_loop().create_future()
        self.submit(job, result)
        return await result

    def submit(self, job: EstimateJob, result: PendingResult[Sequence[Prediction]]) -> None:
        """Queue houses to estimate and store. Deliver the outcome to `result`. Raise a Problem if the queue is full."""
        try:
            self._coalescer.submit(job, len(job.houses), result)
        except Overloaded:
            raise Problem("overloaded", "Too many requests are waiting. Try again in a moment.") from None

    def waiting(self) -> int:
        """Return the number of waiting houses."""
        return self._coalescer.waiting()

    def close(self) -> None:
        """Finish all submitted jobs."""
        self._coalescer.close()

    def _begin(self, jobs: Sequence[EstimateJob], deliver: Callable[[Outcomes], None]) -> bool:
        """Start a batch in the event loop, and pass its outcomes to `deliver` when it ends.

        Return whether the batch was started. If not, the worker thread should run it.
        """
        serving = jobs[0].serving
        houses = [house for job in jobs for house in job.houses]
        is_mixed = any(job.serving is not serving for job in jobs)
        if is_mixed or not self._pace.is_short(serving.version.name, len(houses)):
            return False
        started = time.perf_counter()

        def done(outcome: Sequence[Prediction] | Exception) -> None:
            if isinstance(outcome, Exception):
                deliver([outcome] * len(jobs))
            else:
                deliver(self._split(outcome, jobs, started))

        try:
            if not self._predict.begin(serving, houses, done):
                return False
        except Exception:  # noqa: BLE001  # the thread finds the failing job, so that only that one gets the error
            return False
        if self._lane:
            self._lane.batch(len(houses))
        self._pace.record(time.perf_counter() - started, len(houses))
        return True

    def _estimate(self, jobs: Sequence[EstimateJob]) -> Outcomes:
        if self._lane:
            self._lane.batch(sum([len(job.houses) for job in jobs]))
        outcomes: list[Sequence[Prediction] | Exception] = []
        # Jobs have different models if a version was promoted between them.
        for _, same_model in groupby(jobs, lambda job: id(job.serving)):
            outcomes += self._estimate_with_one_model(list(same_model))
        return outcomes

    def _estimate_with_one_model(self, jobs: Sequence[EstimateJob]) -> Outcomes:
        started = time.perf_counter()
        store = self._explain.store if self._explain else self._predict.store
        try:
            predictions = store(jobs[0].serving, [house for job in jobs for house in job.houses])
        except RepositoryUnavailable as error:
            return [error] * len(jobs)
        except Exception as error:  # noqa: BLE001  # run again one by one, so that only the failing job gets the error
            if len(jobs) == 1:
                return [error]
            return [outcome for job in jobs for outcome in self._estimate_with_one_model([job])]
        return self._split(predictions, jobs, started)

    def _split(
        self, predictions: Sequence[Prediction], jobs: Sequence[EstimateJob], started: float
    ) -> Sequence[Sequence[Prediction]]:
        """Return the predictions of each job in a batch, and set the `steps` of the jobs.

        `started` is the time.perf_counter() at which the batch started.
        """
        steps = (started, *self._lane.last_commit) if self._lane else None
        remaining = iter(predictions)
        for job in jobs:
            job.steps = steps
        return [[next(remaining) for _ in job.houses] for job in jobs]
