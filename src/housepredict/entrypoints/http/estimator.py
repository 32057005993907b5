"""Estimates for requests: what each of them asks for is checked by itself, and estimated with what others ask for."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from attrs import define, field

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import House
from housepredict.domain.ports import InService, PredictorSource
from housepredict.domain.usecases import Predict
from housepredict.entrypoints.http.coalescer import Coalescer, Outcome, Overloaded
from housepredict.entrypoints.http.meter import Lane
from housepredict.entrypoints.http.observer import Observer
from housepredict.entrypoints.http.problems import Problem

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
    observer: Observer = field(factory=Observer.alone)
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
                tell(shared_out(outcome, jobs, (began, *self._lane.last_commit) if self._lane else None))

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
        return shared_out(predictions, jobs, (began, *self._lane.last_commit) if self._lane else None)


def shared_out(
    predictions: Sequence[Prediction], jobs: Sequence[Job], steps: tuple[float, float, float] | None
) -> Sequence[Sequence[Prediction]]:
    """The predictions of a batch, for each job its own, and when they were made."""
    each = iter(predictions)
    for job in jobs:
        job.steps = steps
    return [[next(each) for _ in job.houses] for job in jobs]
