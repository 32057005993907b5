"""Batches in the event loop: told when they are recorded, and not before; and left to the thread if that is better."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from threading import current_thread

import pytest
from attrs import define, field

from housepredict.adapters.clock import SystemClock
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import House
from housepredict.domain.ports import Appending, InService, Valuation
from housepredict.domain.usecases import Predict
from housepredict.entrypoints.http.estimator import Estimator
from housepredict.entrypoints.http.meter import BATCHES, COMMITS, Meter
from housepredict.entrypoints.http.tally import Tally
from housepredict.entrypoints.http.unthreaded import FEW, HOLD, TRIALS, Unthreaded
from tests.begun import BeginningInMemory, Held, Wire
from tests.unit.test_estimator import Models, PricePerFoot, predictor


@define
class Slow(PricePerFoot):
    """Takes its time for each call, and remembers in which thread."""

    threads: list[str] = field(factory=list)

    def predict(self, houses: Sequence[House]) -> Valuation:
        self.threads.append(current_thread().name)
        ends = time.perf_counter() + 2 * HOLD
        while time.perf_counter() < ends:
            pass
        return super().predict(houses)


@define
class Failing(BeginningInMemory):
    """What is begun fails, or so does to begin if `at_once`, and appends do if `for_good`."""

    for_good: bool = False
    at_once: bool = False
    appended: list[Sequence[Prediction]] = field(factory=list)

    def begin(self, predictions: Sequence[Prediction]) -> Appending | None:
        if self.at_once:
            self.fail()
        begun = super().begin(predictions)
        self.begun[-1]._append = self.fail
        return begun

    def append(self, predictions: Sequence[Prediction]) -> None:
        self.appended.append(predictions)
        if self.for_good:
            self.fail()
        super().append(predictions)

    def fail(self) -> None:
        raise RepositoryUnavailable("down")


class Silent(BeginningInMemory):
    """Nothing is heard of its appends, which are done at the second look."""

    def begin(self, predictions: Sequence[Prediction]) -> Appending | None:
        self.append(predictions)
        return Mute(lambda: None)


@define(eq=False)
class Mute(Held):
    looks: int = 0

    def is_done(self) -> bool:
        self.looks += 1
        return self.looks > 1


@define
class Scene:
    """An estimator in a running loop, in front of a repository."""

    predictions: BeginningInMemory
    models: Models = field(factory=lambda: Models(InService(predictor(), 1)))
    meter: Meter = field(factory=lambda: Meter.of(Tally.of(1)))

    @contextmanager
    def opened(self) -> Iterator[Estimator]:
        lane, predict = self.meter.lane("plain"), Predict(self.models, self.predictions, SystemClock())
        unthreaded = Unthreaded(predict, self.predictions, self.predictions.append, lane)
        try:
            yield Estimator(self.models, predict, 1000, 100, 100, lane=lane, begin=unthreaded.begin)
        finally:
            unthreaded.close()

    def play(self, scene: Callable[[Estimator], Awaitable[None]]) -> None:
        async def played() -> None:
            with self.opened() as estimator:
                await scene(estimator)
                await asyncio.to_thread(estimator.close)

        asyncio.run(played())

    def counted(self, what: str) -> float:
        return sum(self.meter.tally.read()[what, "plain"][:-1])


def estimate(estimator: Estimator, *sizes: float) -> asyncio.Task[Sequence[Prediction]]:
    return asyncio.ensure_future(estimator.estimate(estimator.check([{"size": size} for size in sizes])))


async def turns() -> None:
    """Let the loop do all that can be done now."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_an_estimate_is_told_when_it_is_recorded_and_the_next_batch_is_what_came_meanwhile() -> None:
    scene = Scene(BeginningInMemory(held=True))

    async def played(estimator: Estimator) -> None:
        first = estimate(estimator, 10)
        await turns()
        rest = [estimate(estimator, size) for size in (20, 30)]
        await turns()
        (begun,) = scene.predictions.begun
        begun.connection.near.sendall(b"?")
        await turns()
        assert not first.done()
        assert scene.predictions.recent(10) == []
        assert estimator.waiting() == 2
        begun.release()
        assert [each.estimate.price for each in await first] == [1000.0]
        assert len(scene.predictions.begun) == 2
        scene.predictions.begun[1].release()
        assert [each.estimate.price for (each,) in await asyncio.gather(*rest)] == [2000.0, 3000.0]

    scene.play(played)
    assert len(scene.predictions.recent(10)) == 3
    assert (scene.counted(BATCHES), scene.counted(COMMITS)) == (2, 2)


def test_what_does_not_go_at_once_is_sent_bit_by_bit() -> None:
    scene = Scene(BeginningInMemory(held=True, unsent=3))

    async def played(estimator: Estimator) -> None:
        outcome = estimate(estimator, 10)
        await turns()
        (begun,) = scene.predictions.begun
        assert begun.unsent < 0
        begun.release()
        await outcome

    scene.play(played)
    assert len(scene.predictions.recent(10)) == 1


def test_what_is_under_way_is_told_before_the_estimator_closes() -> None:
    scene = Scene(BeginningInMemory(held=True))

    async def played(estimator: Estimator) -> None:
        outcomes = [estimate(estimator, 10)]
        await turns()
        outcomes.append(estimate(estimator, 20))
        await turns()
        closing = asyncio.create_task(asyncio.to_thread(estimator.close))
        for number in range(2):
            scene.predictions.begun[number].release()
            await outcomes[number]
        await closing

    scene.play(played)
    assert len(scene.predictions.recent(10)) == 2


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_what_fails_is_appended_in_a_thread_as_it_was_and_nobody_is_told_another_estimate(
    for_good: bool, at_once: bool
) -> None:
    scene = Scene(Failing(for_good=for_good, at_once=at_once))

    async def played(estimator: Estimator) -> None:
        outcomes = await asyncio.gather(estimate(estimator, 10), estimate(estimator, 20, 30), return_exceptions=True)
        if for_good:
            assert {type(each) for each in outcomes} == {RepositoryUnavailable}
            return
        told = [each for outcome in outcomes if not isinstance(outcome, BaseException) for each in outcome]
        assert [each.estimate.price for each in told] == [1000.0, 2000.0, 3000.0]
        assert scene.predictions.recent(10) == told[::-1]

    scene.play(played)
    assert isinstance(scene.predictions, Failing)
    assert len(scene.predictions.appended) == 1


def test_a_commit_of_which_nothing_is_heard_is_looked_after() -> None:
    scene = Scene(Silent())

    async def played(estimator: Estimator) -> None:
        assert len(await estimate(estimator, 10)) == 1

    scene.play(played)


def test_batches_that_take_long_after_some_trials_are_for_the_thread_until_another_model_comes() -> None:
    slow = Slow(*(getattr(predictor(), name) for name in ("version", "per_foot")))
    scene = Scene(BeginningInMemory(), Models(InService(slow, 1)))

    async def played(estimator: Estimator) -> None:
        await estimate(estimator, *range(20, 20 + FEW + 1))
        for _ in range(TRIALS + 2):
            await estimate(estimator, 10)
        scene.models.serving = InService(predictor("quick"), 2)
        await estimate(estimator, 10)

    scene.play(played)
    here, thread = "MainThread", "housepredict-batch"
    assert slow.threads == [thread, *[here] * TRIALS, thread, thread]
    assert len(scene.predictions.begun) == TRIALS + 1
    assert len(scene.predictions.recent(100)) == FEW + TRIALS + 4


def test_a_commit_is_looked_after_where_no_more_files_may_be_open() -> None:
    scene = Scene(BeginningInMemory())

    async def played(estimator: Estimator) -> None:
        limits = getrlimit(RLIMIT_NOFILE)
        task = estimate(estimator, 10)
        setrlimit(RLIMIT_NOFILE, (scene.predictions._connection.far.fileno() + 1, limits[1]))
        try:
            await task
        finally:
            setrlimit(RLIMIT_NOFILE, limits)

    scene.play(played)
    assert len(scene.predictions.recent(10)) == 1


def test_a_connection_that_is_replaced_is_watched_in_its_place() -> None:
    scene = Scene(BeginningInMemory())

    async def played(estimator: Estimator) -> None:
        await estimate(estimator, 10)
        before, scene.predictions._connection = scene.predictions._connection, Wire()
        before.close()
        await turns()
        await estimate(estimator, 20)

    scene.play(played)
    assert len(scene.predictions.recent(10)) == 2
