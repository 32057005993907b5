"""One call for all requests that wait: the model's micro-batch and the database's group commit in one.

Requests that arrive while a batch is in flight make up the next one. A lone request waits for nobody, and there is no
timer: how large batches are follows from how long they take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from attrs import define, field, frozen

Job = TypeVar("Job")
Result = TypeVar("Result")


class Overloaded(Exception):
    """As much waits as may wait."""


@frozen(eq=False)
class _Waiting(Generic[Job, Result]):
    job: Job
    weight: int
    outcome: asyncio.Future[Result]


@define(eq=False)
class Coalescer(Generic[Job, Result]):
    """Calls `work` in a thread of its own, one batch at a time, first come, first served.

    `work` takes the jobs of a batch and returns an outcome for each: a result, or the exception to raise. A batch
    weighs at most `batch_weight`, or is a single job; what waits weighs at most `waiting_weight`. Made and used in one
    event loop.
    """

    _work: Callable[[Sequence[Job]], Sequence[Result | Exception]]
    _batch_weight: int
    _waiting_weight: int
    _waiting: deque[_Waiting[Job, Result]] = field(factory=deque, init=False)
    _weight: int = field(default=0, init=False)
    _in_flight: bool = field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _thread: ThreadPoolExecutor = field(init=False, factory=lambda: ThreadPoolExecutor(1, "housepredict-batch"))

    def submit(self, job: Job, weight: int) -> asyncio.Future[Result]:
        """The outcome of a job, to wait for; whoever cancels it while it waits takes it out. Raises Overloaded."""
        if self._weight and self._weight + weight > self._waiting_weight:
            raise Overloaded
        outcome: asyncio.Future[Result] = self._loop.create_future()
        self._waiting.append(_Waiting(job, weight, outcome))
        self._weight += weight
        if not self._in_flight:
            self._start()
        return outcome

    def close(self) -> None:
        """Let the batch in flight finish, and end the thread."""
        self._thread.shutdown()

    def _start(self) -> None:
        batch: list[_Waiting[Job, Result]] = []
        room = self._batch_weight
        while self._waiting and (not batch or self._waiting[0].weight <= room):
            entry = self._waiting.popleft()
            self._weight -= entry.weight
            if not entry.outcome.done():
                room -= entry.weight
                batch.append(entry)
        self._in_flight = bool(batch)
        if batch:
            self._thread.submit(self._run, batch)

    def _run(self, batch: Sequence[_Waiting[Job, Result]]) -> None:
        try:
            outcomes = self._work([entry.job for entry in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits to hear of it
            outcomes = [error] * len(batch)
        self._loop.call_soon_threadsafe(self._deliver, batch, outcomes)

    def _deliver(self, batch: Sequence[_Waiting[Job, Result]], outcomes: Sequence[Result | Exception]) -> None:
        # first, so that the next batch is under way while these are told
        self._start()
        for entry, outcome in zip(batch, outcomes, strict=True):
            if entry.outcome.done():
                continue
            if isinstance(outcome, Exception):
                entry.outcome.set_exception(outcome)
            else:
                entry.outcome.set_result(outcome)
