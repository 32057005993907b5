"""Estimates for requests: what each of them asks for is checked by itself, and estimated with what others ask for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

from attrs import define, field

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import House
from housepredict.domain.ports import InService, PredictorSource
from housepredict.domain.usecases import Predict
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.request_metrics import Lane

Batchable = TypeVar("Batchable")
Result = TypeVar("Result")
Result_contra = TypeVar("Result_contra", contravariant=True)


Begin = Callable[[Sequence[Batchable], Callable[[Sequence[Result | Exception]], None]], bool]
"""Begins a batch in the event loop, whose outcomes are told after it has returned; or does nothing, and is False."""


class Overloaded(Exception):
    """As much waits as may wait."""


class Outcome(Protocol[Result_contra]):
    """Who waits for a job, told in the event loop. An asyncio.Future is one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Result_contra, /) -> None:
        """Tell what came of the job."""

    def set_exception(self, error: Exception, /) -> None:
        """Tell why nothing came of it."""


@define(eq=False)
class _Waiting(Generic[Batchable, Result]):
    job: Batchable
    weight: int
    outcome: Outcome[Result]


@define(eq=False)
class Coalescer(Generic[Batchable, Result]):
    """Does one batch at a time, first come, first served: `begin` begins it if it can, else a thread calls `work`.

    `work` takes the jobs of a batch and returns an outcome for each: a result, or the exception to raise. A batch
    weighs at most `batch_weight`, or is a single job; what waits weighs at most `waiting_weight`. Made and used in one
    event loop.
    """

    _work: Callable[[Sequence[Batchable]], Sequence[Result | Exception]]
    _batch_weight: int
    _waiting_weight: int
    _begin: Begin[Batchable, Result] | None = None
    _begun: bool = field(default=False, init=False)  # whether a batch is under way in the event loop
    _over: asyncio.Event = field(factory=asyncio.Event, init=False)  # of such a batch
    # How often the thread was given jobs, and how many times of it are over: each is written by one thread alone.
    _given: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    # What came in this turn of the event loop, for an idle thread: to wake it for each job takes longer than the job.
    _arrived: list[_Waiting[Batchable, Result]] = field(factory=list, init=False)
    # The thread helps itself to what waits: a busy event loop would be late to hand it the next batch.
    _waiting: SimpleQueue[Sequence[_Waiting[Batchable, Result]]] = field(factory=SimpleQueue, init=False)
    # Each is written by one thread alone; the difference is the weight of what waits.
    _submitted: int = field(default=0, init=False)  # without what was begun in the event loop
    _taken: int = field(default=0, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = Thread(target=self._run, name="housepredict-batch", daemon=True)
        self._thread.start()

    def submit(self, job: Batchable, weight: int, outcome: Outcome[Result]) -> None:
        """Have a job done, and its outcome told; one that is done while it waits is left out. Raises Overloaded."""
        waiting = self.waiting()
        if waiting and waiting + weight > self._waiting_weight:
            raise Overloaded
        self._submitted += weight
        self._arrived.append(_Waiting(job, weight, outcome))
        if self._begun:
            return  # the next batch begins when this one is over
        if self._given != self._done:
            self._hand_over()
        elif len(self._arrived) == 1:
            self._loop.call_soon(self._hand_over)

    def waiting(self) -> int:
        """What waits weighs so much."""
        return self._submitted - self._taken

    def close(self) -> None:
        """Let what was submitted finish, and end the thread. Where batches are begun, not to be called by the loop."""
        while self._begun:
            asyncio.run_coroutine_threadsafe(self._over.wait(), self._loop).result()
        self._give()
        self._waiting.put(())
        self._thread.join()

    def _hand_over(self) -> None:
        if self._given != self._done or not self._begin or not self._begins(self._begin):
            self._give()

    def _give(self) -> None:
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._given += 1
            self._waiting.put(arrived)

    def _begins(self, begin: Begin[Batchable, Result]) -> bool:
        weight = sum([entry.weight for entry in self._arrived])
        batch = [entry for entry in self._arrived if not entry.outcome.done()]
        if not batch or weight > self._batch_weight:
            return False
        if not begin([entry.job for entry in batch], partial(self._end, batch)):
            return False
        self._arrived = []
        self._submitted -= weight
        self._begun = True
        self._over.clear()
        return True

    def _end(self, batch: Sequence[_Waiting[Batchable, Result]], outcomes: Sequence[Result | Exception]) -> None:
        self._begun = False
        self._over.set()
        self._hand_over()  # the next one is on its way while the outcomes of this one are told
        _tell(batch, outcomes)

    def _run(self) -> None:
        batch: list[_Waiting[Batchable, Result]] = []
        room, turns = self._batch_weight, 0
        while arrived := self._waiting.get():
            turns += 1
            for entry in arrived:
                if batch and entry.weight > room:
                    self._finish(batch)
                    batch, room = [], self._batch_weight
                self._taken += entry.weight
                if not entry.outcome.done():
                    batch.append(entry)
                    room -= entry.weight
            if self._waiting.empty():
                self._finish(batch, turns)
                batch, room = [], self._batch_weight
        self._finish(batch)

    def _finish(self, batch: Sequence[_Waiting[Batchable, Result]], turns: int | None = None) -> None:
        """Do a batch; after `turns` there is no other."""
        outcomes: Sequence[Result | Exception] = []
        try:
            if batch:
                outcomes = self._work([entry.job for entry in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits to hear of it
            outcomes = [error] * len(batch)
        if turns:
            self._done = turns  # before the outcomes are told, for what comes then need not wait for this thread
        if batch:
            self._loop.call_soon_threadsafe(_tell, batch, outcomes)


def _tell(batch: Sequence[_Waiting[Batchable, Result]], outcomes: Sequence[Result | Exception]) -> None:
    for entry, outcome in zip(batch, outcomes, strict=True):
        if entry.outcome.done():
            continue
        if isinstance(outcome, Exception):
            entry.outcome.set_exception(outcome)
        else:
            entry.outcome.set_result(outcome)


JOB = "housepredict.job"
"""Where the scope of a request has its job."""

HOLD_S = 0.005
"""Seconds for which a batch may hold the event loop, until it is sent."""

TRIALS, FEW = 8, 16
"""So many batches of so few houses are done there whatever they take: the first of a version are slower than others."""


@define(eq=False)
class Job:
    """Houses that were checked, and what was in service then."""

    serving: InService
    houses: Sequence[House]
    steps: tuple[float, float, float] | None = None
    """When its batch began, and its commit began and ended, by time.perf_counter; for who asks for traces."""


Tell = Callable[[Sequence[Sequence[Prediction] | Exception]], None]


@define(eq=False)
class Pace:
    """How long a batch holds the event loop, judged by the least time that a house has taken this version so far."""

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
    """What the requests of one running service share: the use case, and the coalescer in front of it."""

    _models: PredictorSource
    _predict: Predict
    max_body: int
    max_batch: int
    max_waiting: int
    body_timeout: float | None = None
    _lane: Lane | None = None
    _may_use_loop: bool = False
    """Whether small batches may be estimated in the event loop."""
    _pace: Pace = field(factory=Pace, init=False)
    _coalescer: Coalescer[Job, Sequence[Prediction]] = field(init=False)

    @_coalescer.default
    def _in_front(self) -> Coalescer[Job, Sequence[Prediction]]:
        begin = self._begin if self._may_use_loop and self._predict.records_in_loop else None
        return Coalescer(self._estimate, self.max_batch, self.max_waiting, begin)

    def in_service(self) -> InService:
        """What is in service. Raises NoModel, or why the version was refused."""
        return self._models.in_service()

    def check(self, given: Sequence[object], serving: InService | None = None) -> Job:
        """Houses as a job, if the model has nothing against them: what is in service, or was when they were read.

        Raises InvalidHouses or NoModel.
        """
        serving = serving or self._models.in_service()
        return Job(serving, self._predict.check(serving, given))

    async def estimate(self, job: Job) -> Sequence[Prediction]:
        """Estimate and remember houses; see Predict. Raises a Problem where too many wait."""
        outcome: asyncio.Future[Sequence[Prediction]] = asyncio.get_running_loop().create_future()
        self.submit(job, outcome)
        return await outcome

    def submit(self, job: Job, outcome: Outcome[Sequence[Prediction]]) -> None:
        """As `estimate`, for who is told the outcome."""
        try:
            self._coalescer.submit(job, len(job.houses), outcome)
        except Overloaded:
            detail = "More requests wait than the service lets wait. Try again in a moment."
            raise Problem("overloaded", 503, "Too many requests", detail, headers={"Retry-After": "1"}) from None

    def waiting(self) -> int:
        """How many houses wait."""
        return self._coalescer.waiting()

    def close(self) -> None:
        """Finish what is in flight."""
        self._coalescer.close()

    def _begin(self, jobs: Sequence[Job], tell: Tell) -> bool:
        """Begin a batch in the event loop; False if it is one for the thread, and nothing of it is recorded."""
        serving = jobs[0].serving
        houses = [house for job in jobs for house in job.houses]
        is_mixed = any(job.serving is not serving for job in jobs)
        if is_mixed or not self._pace.is_short(serving.version.name, len(houses)):
            return False
        began = time.perf_counter()

        def done(outcome: Sequence[Prediction] | Exception) -> None:
            if isinstance(outcome, Exception):
                tell([outcome] * len(jobs))
            else:
                tell(split_by_job(outcome, jobs, (began, *self._lane.last_commit) if self._lane else None))

        try:
            if not self._predict.record_in_loop(serving, houses, done):
                return False
        except Exception:  # noqa: BLE001  # the thread tells whoever asked for it, and them alone
            return False
        if self._lane:
            self._lane.batch(len(houses))
        self._pace.took(time.perf_counter() - began, len(houses))
        return True

    def _estimate(self, jobs: Sequence[Job]) -> Sequence[Sequence[Prediction] | Exception]:
        """One use-case call for each version among the jobs: two for the batch in which a model is swapped."""
        serving = jobs[0].serving
        if self._lane:
            self._lane.batch(sum(len(job.houses) for job in jobs))
        if all(job.serving is serving for job in jobs):
            return self._estimate_with(serving, jobs)
        outcomes: dict[int, Sequence[Prediction] | Exception] = {}
        for serving in {id(job.serving): job.serving for job in jobs}.values():
            positions = [position for position, job in enumerate(jobs) if job.serving is serving]
            found = self._estimate_with(serving, [jobs[position] for position in positions])
            outcomes.update(zip(positions, found, strict=True))
        return [outcomes[position] for position in range(len(jobs))]

    def _estimate_with(self, serving: InService, jobs: Sequence[Job]) -> Sequence[Sequence[Prediction] | Exception]:
        began = time.perf_counter()
        try:
            predictions = self._predict.record(serving, [house for job in jobs for house in job.houses])
        except RepositoryUnavailable as error:
            return [error] * len(jobs)
        except Exception as error:  # noqa: BLE001  # of one job or another: each is to hear of its own
            if len(jobs) == 1:
                return [error]
            return [outcome for job in jobs for outcome in self._estimate_with(serving, [job])]
        return split_by_job(predictions, jobs, (began, *self._lane.last_commit) if self._lane else None)


def split_by_job(
    predictions: Sequence[Prediction], jobs: Sequence[Job], steps: tuple[float, float, float] | None
) -> Sequence[Sequence[Prediction]]:
    """The predictions of a batch, for each job its own, and when they were made."""
    each = iter(predictions)
    for job in jobs:
        job.steps = steps
    return [[next(each) for _ in job.houses] for job in jobs]
