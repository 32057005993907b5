"""One call for all requests that wait: the model's micro-batch and the database's group commit in one.

Requests that arrive while a batch is in flight make up the next one. A lone request waits for nobody, and there is no
timer: how large batches are follows from how long they take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

from attrs import define, field

Job = TypeVar("Job")
Result = TypeVar("Result")
Told_contra = TypeVar("Told_contra", contravariant=True)


Begin = Callable[[Sequence[Job], Callable[[Sequence[Result | Exception]], None]], bool]
"""Begins a batch in the event loop, whose outcomes are told after it has returned; or does nothing, and is False."""


class Overloaded(Exception):
    """As much waits as may wait."""


class Outcome(Protocol[Told_contra]):
    """Who waits for a job, told in the event loop. An asyncio.Future is one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: Told_contra, /) -> None:
        """Tell what came of the job."""

    def set_exception(self, error: Exception, /) -> None:
        """Tell why nothing came of it."""


@define(eq=False)
class _Waiting(Generic[Job, Result]):
    job: Job
    weight: int
    outcome: Outcome[Result]


@define(eq=False)
class Coalescer(Generic[Job, Result]):
    """Does one batch at a time, first come, first served: `begin` begins it if it can, else a thread calls `work`.

    `work` takes the jobs of a batch and returns an outcome for each: a result, or the exception to raise. A batch
    weighs at most `batch_weight`, or is a single job; what waits weighs at most `waiting_weight`. Made and used in one
    event loop.
    """

    _work: Callable[[Sequence[Job]], Sequence[Result | Exception]]
    _batch_weight: int
    _waiting_weight: int
    _begin: Begin[Job, Result] | None = None
    _begun: bool = field(default=False, init=False)  # whether a batch is under way in the event loop
    _over: asyncio.Event = field(factory=asyncio.Event, init=False)  # of such a batch
    # How often the thread was given jobs, and how many times of it are over: each is written by one thread alone.
    _given: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    # What came in this turn of the event loop, for an idle thread: to wake it for each job takes longer than the job.
    _arrived: list[_Waiting[Job, Result]] = field(factory=list, init=False)
    # The thread helps itself to what waits: a busy event loop would be late to hand it the next batch.
    _waiting: SimpleQueue[Sequence[_Waiting[Job, Result]]] = field(factory=SimpleQueue, init=False)
    # Each is written by one thread alone; the difference is the weight of what waits.
    _submitted: int = field(default=0, init=False)  # without what was begun in the event loop
    _taken: int = field(default=0, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop, init=False)
    _thread: Thread = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = Thread(target=self._run, name="housepredict-batch", daemon=True)
        self._thread.start()

    def submit(self, job: Job, weight: int, outcome: Outcome[Result]) -> None:
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

    def _begins(self, begin: Begin[Job, Result]) -> bool:
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

    def _end(self, batch: Sequence[_Waiting[Job, Result]], outcomes: Sequence[Result | Exception]) -> None:
        self._begun = False
        self._over.set()
        self._hand_over()  # the next one is on its way while the outcomes of this one are told
        _tell(batch, outcomes)

    def _run(self) -> None:
        batch: list[_Waiting[Job, Result]] = []
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

    def _finish(self, batch: Sequence[_Waiting[Job, Result]], turns: int | None = None) -> None:
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


def _tell(batch: Sequence[_Waiting[Job, Result]], outcomes: Sequence[Result | Exception]) -> None:
    for entry, outcome in zip(batch, outcomes, strict=True):
        if entry.outcome.done():
            continue
        if isinstance(outcome, Exception):
            entry.outcome.set_exception(outcome)
        else:
            entry.outcome.set_result(outcome)
