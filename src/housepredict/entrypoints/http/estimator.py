"""Estimates for requests: what each of them asks for is checked by itself, and estimated with what others ask for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from attrs import define, field

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import House
from housepredict.domain.ports import InService, PredictorSource
from housepredict.domain.usecases import Predict
from housepredict.entrypoints.http.coalescer import Begin, Coalescer, Outcome, Overloaded
from housepredict.entrypoints.http.meter import Lane
from housepredict.entrypoints.http.observer import Observer
from housepredict.entrypoints.http.problems import Problem


@define(eq=False)
class Job:
    """Houses that were checked, and what was in service then."""

    serving: InService
    houses: Sequence[House]
    steps: tuple[float, float, float] | None = None
    """When its batch began, and its commit began and ended, by time.perf_counter; for who asks for traces."""


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
    _begin: Begin[Job, Sequence[Prediction]] | None = None
    _coalescer: Coalescer[Job, Sequence[Prediction]] = field(init=False)

    @_coalescer.default
    def _in_front(self) -> Coalescer[Job, Sequence[Prediction]]:
        return Coalescer(self._estimate, self.max_batch, self.max_waiting, self._begin)

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
