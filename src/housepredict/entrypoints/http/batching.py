"""Batches of requests: each request is checked by itself, and estimated and stored together with those that wait."""

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
"""Begins a batch in the event loop, and later calls the function with its outcomes. Returns whether it has begun."""


class Overloaded(Exception):
    """The queue is full."""


class PendingResult(Protocol[Result_contra]):
    """Receives the outcome of a job in the event loop. An asyncio.Future is one."""

    def done(self) -> bool:
        """Whether the outcome isn't needed anymore."""

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
    """Runs one batch at a time, in order of arrival: in the event loop if `begin` can, else by `work` in a thread.

    `work` takes the jobs of a batch and returns for each a result or the exception to raise. A batch weighs at most
    `batch_weight`, or is a single job; waiting jobs weigh at most `waiting_weight`. Made and used in one event loop.
    """

    _work: Callable[[Sequence[Batchable]], Sequence[Result | Exception]]
    _batch_weight: int
    _waiting_weight: int
    _begin: Begin[Batchable, Result] | None = None
    _is_begun: bool = field(default=False, init=False)  # whether a batch is in flight in the event loop
    _ended: asyncio.Event = field(factory=asyncio.Event, init=False)  # set at the end of such a batch
    # How often the thread received jobs, and how often it finished them: each is written by one thread alone.
    _handed_over: int = field(default=0, init=False)
    _finished: int = field(default=0, init=False)
    # Jobs of this turn of the event loop, for an idle thread: to wake it for each job takes longer than the job.
    _arrived: list[_PendingJob[Batchable, Result]] = field(factory=list, init=False)
    # The thread takes the next batch from here by itself: a busy event loop would be late to hand it over.
    _queue: SimpleQueue[Sequence[_PendingJob[Batchable, Result]]] = field(factory=SimpleQueue, init=False)
    # Each is written by one thread alone; the difference is the weight of waiting jobs.
    _submitted: int = field(default=0, init=False)  # without batches of the event loop
    _taken: int = field(default=0, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = Thread(target=self._run, name="housepredict-batch", daemon=True)
        self._thread.start()

    def submit(self, job: Batchable, weight: int, result: PendingResult[Result]) -> None:
        """Queue a job; it is skipped if its result is done before its batch. Raises Overloaded."""
        waiting = self.waiting()
        if waiting and waiting + weight > self._waiting_weight:
            raise Overloaded
        self._submitted += weight
        self._arrived.append(_PendingJob(job, weight, result))
        if self._is_begun:
            return  # the end of that batch begins the next
        if self._handed_over != self._finished:
            self._hand_over()
        elif len(self._arrived) == 1:
            self._loop.call_soon(self._start)

    def waiting(self) -> int:
        """The weight of the waiting jobs."""
        return self._submitted - self._taken

    def close(self) -> None:
        """Finish all submitted jobs, and end the thread. With `begin`, call it outside the event loop."""
        while self._is_begun:
            asyncio.run_coroutine_threadsafe(self._ended.wait(), self._loop).result()
        self._hand_over()
        self._queue.put(())
        self._thread.join()

    def _start(self) -> None:
        if self._handed_over != self._finished or not self._begin or not self._begins(self._begin):
            self._hand_over()

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._handed_over += 1
            self._queue.put(arrived)

    def _begins(self, begin: Begin[Batchable, Result]) -> bool:
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
        self._start()  # the next batch is on its way while these results are delivered
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
        """Run a batch; it is the last of the jobs that were handed over in `turns` turns."""
        outcomes: Sequence[Result | Exception] = []
        try:
            if batch:
                outcomes = self._work([entry.job for entry in batch])
        except Exception as error:  # noqa: BLE001  # each job of the batch waits for an outcome
            outcomes = [error] * len(batch)
        if turns:
            self._finished = turns  # before the delivery, so that jobs submitted by then need not wait for this thread
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
"""The key of a request's job in its ASGI scope."""

HOLD_S = 0.005
"""Seconds for which a batch may hold the event loop, until it is sent."""

TRIALS, FEW = 8, 16
"""The first batches of a version, which are slower than later ones, may hold it longer if they have few houses."""


@define(eq=False)
class EstimateJob:
    """Checked houses of a request, and the model version that they were checked for."""

    serving: InService
    houses: Sequence[House]
    steps: tuple[float, float, float] | None = None
    """The time.perf_counter of the begin of its batch, and of the begin and the end of the commit, for traces."""


Outcomes = Sequence[Sequence[Prediction] | Exception]
"""For each job of a batch, its predictions or its error."""


@define(eq=False)
class Pace:
    """Predicts how long a batch holds the event loop, by the least time per house of its version so far."""

    _version: str | None = field(default=None, init=False)
    _seconds_per_house: float = field(default=math.inf, init=False)
    _trials_left: int = field(default=TRIALS, init=False)

    def is_short(self, version: str, houses: int) -> bool:
        """Whether a batch may be estimated in the event loop."""
        if version != self._version:
            self._version, self._seconds_per_house, self._trials_left = version, math.inf, TRIALS
        return houses <= FEW if self._trials_left else houses * self._seconds_per_house <= HOLD_S

    def took(self, seconds: float, houses: int) -> None:
        """Note how long a batch took, until it was sent."""
        self._seconds_per_house = min(self._seconds_per_house, seconds / houses)
        self._trials_left = max(self._trials_left - 1, 0)


@define(eq=False)
class Estimator:
    """Estimates the houses of requests in batches, with or without explanations."""

    _models: PredictorSource
    _predict: Predict
    max_body: int
    max_batch: int
    max_waiting: int
    body_timeout: float | None = None
    _lane: BatchMeter | None = None
    _may_use_loop: bool = False
    """Whether small batches may be estimated in the event loop. Those with explanations never are."""
    _explain: Explain | None = None
    _pace: Pace = field(factory=Pace, init=False)
    _coalescer: Coalescer[EstimateJob, Sequence[Prediction]] = field(init=False)

    @_coalescer.default
    def _in_front(self) -> Coalescer[EstimateJob, Sequence[Prediction]]:
        uses_loop = self._may_use_loop and self._predict.can_begin and not self._explain
        return Coalescer(self._estimate, self.max_batch, self.max_waiting, self._begin if uses_loop else None)

    def in_service(self) -> InService:
        """What is in service. Raises NoModel, or why the version was refused."""
        return self._models.in_service()

    def check(self, houses: Sequence[object], serving: InService | None = None) -> EstimateJob:
        """Validate the houses of a request, by default for what is in service. Raises InvalidHouses or NoModel."""
        return EstimateJob(*self._predict.check(houses, serving or self._models.in_service()))

    async def estimate(self, job: EstimateJob) -> Sequence[Prediction]:
        """Estimate and store houses; see Predict. Raises a Problem if the queue is full."""
        result: asyncio.Future[Sequence[Prediction]] = asyncio.get_running_loop().create_future()
        self.submit(job, result)
        return await result

    def submit(self, job: EstimateJob, result: PendingResult[Sequence[Prediction]]) -> None:
        """Estimate and store houses later, and deliver the outcome. Raises a Problem if the queue is full."""
        try:
            self._coalescer.submit(job, len(job.houses), result)
        except Overloaded:
            detail = "More requests wait than the service lets wait. Try again in a moment."
            raise Problem("overloaded", 503, "Too many requests", detail, headers={"Retry-After": "1"}) from None

    def waiting(self) -> int:
        """The number of waiting houses."""
        return self._coalescer.waiting()

    def close(self) -> None:
        """Finish all submitted jobs."""
        self._coalescer.close()

    def _begin(self, jobs: Sequence[EstimateJob], deliver: Callable[[Outcomes], None]) -> bool:
        """Begin a batch in the event loop. Returns False, and stores nothing, if it is one for the thread."""
        serving = jobs[0].serving
        houses = [house for job in jobs for house in job.houses]
        is_mixed = any(job.serving is not serving for job in jobs)
        if is_mixed or not self._pace.is_short(serving.version.name, len(houses)):
            return False
        began = time.perf_counter()

        def done(outcome: Sequence[Prediction] | Exception) -> None:
            if isinstance(outcome, Exception):
                deliver([outcome] * len(jobs))
            else:
                deliver(self._split(outcome, jobs, began))

        try:
            if not self._predict.begin(serving, houses, done):
                return False
        except Exception:  # noqa: BLE001  # the thread finds the request that fails, and delivers the error to it alone
            return False
        if self._lane:
            self._lane.batch(len(houses))
        self._pace.took(time.perf_counter() - began, len(houses))
        return True

    def _estimate(self, jobs: Sequence[EstimateJob]) -> Outcomes:
        if self._lane:
            self._lane.batch(sum([len(job.houses) for job in jobs]))
        outcomes: list[Sequence[Prediction] | Exception] = []
        # two models, if another version is promoted while these requests come in
        for _, same_model in groupby(jobs, lambda job: id(job.serving)):
            outcomes += self._estimate_with_one_model(list(same_model))
        return outcomes

    def _estimate_with_one_model(self, jobs: Sequence[EstimateJob]) -> Outcomes:
        began = time.perf_counter()
        store = self._explain.store if self._explain else self._predict.store
        try:
            predictions = store(jobs[0].serving, [house for job in jobs for house in job.houses])
        except RepositoryUnavailable as error:
            return [error] * len(jobs)
        except Exception as error:  # noqa: BLE001  # of one job or another: each receives its own
            if len(jobs) == 1:
                return [error]
            return [outcome for job in jobs for outcome in self._estimate_with_one_model([job])]
        return self._split(predictions, jobs, began)

    def _split(
        self, predictions: Sequence[Prediction], jobs: Sequence[EstimateJob], began: float
    ) -> Sequence[Sequence[Prediction]]:
        """Split the predictions of a batch by job, and note in each job when its batch was made."""
        steps = (began, *self._lane.last_commit) if self._lane else None
        remaining = iter(predictions)
        for job in jobs:
            job.steps = steps
        return [[next(remaining) for _ in job.houses] for job in jobs]
