"""Batches in the event loop: answered once stored, and moved to the thread if they are slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from threading import current_thread

from attrs import define, field

from housepredict.adapters.system import SystemClock
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import House
from housepredict.domain.ports import InService, Valuation
from housepredict.domain.usecases.predict import Predict
from housepredict.entrypoints.http.batching import LOOP_BUDGET_S, MAX_TRIAL_HOUSES, TRIALS, Estimator
from housepredict.entrypoints.http.request_metrics import BATCHES, COMMITS, Meter, SharedCounters
from tests.in_loop import Done, MemoryInLoop
from tests.unit.test_estimator import Models, PricePerFoot, predictor


@define
class SlowPredictor(PricePerFoot):
    """A predictor that exceeds the loop budget and records the thread of each call."""

    threads: list[str] = field(factory=list)

    def predict(self, houses: Sequence[House]) -> Valuation:
        self.threads.append(current_thread().name)
        ends = time.perf_counter() + 2 * LOOP_BUDGET_S
        while time.perf_counter() < ends:
            pass
        return super().predict(houses)


@define
class FailingAppends(MemoryInLoop):
    """A repository whose loop appends fail, or cannot begin if `at_once`."""

    at_once: bool = False

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        if self.at_once:
            raise RepositoryUnavailable("down")
        asyncio.get_running_loop().call_soon(done, RepositoryUnavailable("down"))
        return True


@define
class Scene:
    """An estimator in a running loop, in front of a repository."""

    predictions: MemoryInLoop
    models: Models = field(factory=lambda: Models(InService(predictor(), 1)))
    meter: Meter = field(factory=lambda: Meter.of(SharedCounters.of(1)))

    def play(self, scene: Callable[[Estimator], Awaitable[None]]) -> None:
        async def played() -> None:
            lane = self.meter.lane("plain")
            predict = Predict(self.models, self.predictions, SystemClock(), start_timer=lane.time_commit)
            estimator = Estimator(self.models, predict, 1000, 100, 100, lane=lane, may_use_loop=True)
            await scene(estimator)
            await asyncio.to_thread(estimator.close)

        asyncio.run(played())

    def counted(self, what: str) -> float:
        return sum(self.meter.tally.read()[what, "plain"][:-1])


def estimate(estimator: Estimator, *sizes: float) -> asyncio.Task[Sequence[Prediction]]:
    return asyncio.ensure_future(estimator.estimate(estimator.check([{"size": size} for size in sizes])))


async def run_ready_callbacks() -> None:
    """Run the callbacks that are ready."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_estimate_is_answered_once_stored_and_next_batch_follows() -> None:
    scene = Scene(MemoryInLoop(held=True))

    async def played(estimator: Estimator) -> None:
        first = estimate(estimator, 10)
        await run_ready_callbacks()
        rest = [estimate(estimator, size) for size in (20, 30)]
        await run_ready_callbacks()
        assert not first.done()
        assert scene.predictions.recent(10) == []
        assert estimator.waiting() == 2
        (release,) = scene.predictions.begun
        release()
        assert [each.estimate.price for each in await first] == [1000.0]
        assert len(scene.predictions.begun) == 2
        scene.predictions.begun[1]()
        assert [each.estimate.price for (each,) in await asyncio.gather(*rest)] == [2000.0, 3000.0]

    scene.play(played)
    assert len(scene.predictions.recent(10)) == 3
    assert (scene.counted(BATCHES), scene.counted(COMMITS)) == (2, 2)


def test_batch_in_flight_is_answered_before_close() -> None:
    scene = Scene(MemoryInLoop(held=True))

    async def played(estimator: Estimator) -> None:
        outcomes = [estimate(estimator, 10)]
        await run_ready_callbacks()
        outcomes.append(estimate(estimator, 20))
        await run_ready_callbacks()
        closing = asyncio.create_task(asyncio.to_thread(estimator.close))
        for number in range(2):
            scene.predictions.begun[number]()
            await outcomes[number]
        await closing

    scene.play(played)
    assert len(scene.predictions.recent(10)) == 2


def test_failed_loop_append_fails_each_request() -> None:
    scene = Scene(FailingAppends())

    async def played(estimator: Estimator) -> None:
        outcomes = await asyncio.gather(estimate(estimator, 10), estimate(estimator, 20, 30), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RepositoryUnavailable] * 2

    scene.play(played)
    assert scene.predictions.recent(10) == []


def test_append_falls_back_to_thread() -> None:
    scene = Scene(FailingAppends(at_once=True))

    async def played(estimator: Estimator) -> None:
        outcomes = await asyncio.gather(estimate(estimator, 10), estimate(estimator, 20, 30))
        assert scene.predictions.recent(10) == [each for outcome in outcomes for each in outcome][::-1]

    scene.play(played)


def test_slow_batches_move_to_thread_after_trials() -> None:
    slow = SlowPredictor(*(getattr(predictor(), name) for name in ("version", "per_foot")))
    scene = Scene(MemoryInLoop(), Models(InService(slow, 1)))

    async def played(estimator: Estimator) -> None:
        await estimate(estimator, *range(20, 20 + MAX_TRIAL_HOUSES + 1))
        for _ in range(TRIALS + 2):
            await estimate(estimator, 10)
        scene.models.serving = InService(predictor("quick"), 2)
        await estimate(estimator, 10)

    scene.play(played)
    here, thread = "MainThread", "housepredict-batch"
    assert slow.threads == [thread, *[here] * TRIALS, thread, thread]
    assert len(scene.predictions.begun) == TRIALS + 1
    assert len(scene.predictions.recent(100)) == MAX_TRIAL_HOUSES + TRIALS + 4
