"""One call for all requests that wait: the model's micro-batch and the database's group commit in one.

Requests that arrive while a batch is in flight make up the next one. A lone request waits for nobody, and there is no
timer: how large batches are follows from how long they take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

from attrs import define, field

Job = TypeVar("Job")
Result = TypeVar("Result")
Told_contra = TypeVar("Told_contra", contravariant=True)


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
    """Calls `work` in a thread of its own, one batch at a time, first come, first served.

    `work` takes the jobs of a batch and returns an outcome for each: a result, or the exception to raise. A batch
    weighs at most `batch_weight`, or is a single job; what waits weighs at most `waiting_weight`. Made and used in one
    event loop.
    """

    _work: Callable[[Sequence[Job]], Sequence[Result | Exception]]
    _batch_weight: int
    _waiting_weight: int
    _idle: bool = field(default=True, init=False)
    # What came in this turn of the event loop, for an idle thread: to wake it for each job takes longer than the job.
    _arrived: list[_Waiting[Job, Result]] = field(factory=list, init=False)
    # The thread helps itself to what waits: a busy event loop would be late to hand it the next batch.
    _waiting: SimpleQueue[Sequence[_Waiting[Job, Result]]] = field(factory=SimpleQueue, init=False)
    # Each is written by one thread alone; what waits weighs as much as lies between them.
    _submitted: int = field(default=0, init=False)
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
        if not self._idle:
            self._hand_over()
        elif len(self._arrived) == 1:
            self._loop.call_soon(self._hand_over)

    def waiting(self) -> int:
        """What waits weighs so much."""
        return self._submitted - self._taken

    def close(self) -> None:
        """Let what was submitted finish, and end the thread."""
        self._hand_over()
        self._waiting.put(())
        self._thread.join()

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        if arrived:
            self._waiting.put(arrived)

    def _run(self) -> None:
        batch: list[_Waiting[Job, Result]] = []
        room = self._batch_weight
        while arrived := self._next():
            for entry in arrived:
                if batch and entry.weight > room:
                    self._finish(batch)
                    batch, room = [], self._batch_weight
                self._taken += entry.weight
                if not entry.outcome.done():
                    batch.append(entry)
                    room -= entry.weight
            if batch and self._waiting.empty():
                self._finish(batch)
                batch, room = [], self._batch_weight
        if batch:
            self._finish(batch)

    def _next(self) -> Sequence[_Waiting[Job, Result]]:
        self._idle = True
        arrived = self._waiting.get()
        self._idle = False
        return arrived

    def _finish(self, batch: Sequence[_Waiting[Job, Result]]) -> None:
        try:
            outcomes = self._work([entry.job for entry in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, somebody waits to hear of it
            outcomes = [error] * len(batch)
        self._loop.call_soon_threadsafe(_tell, batch, outcomes)


def _tell(batch: Sequence[_Waiting[Job, Result]], outcomes: Sequence[Result | Exception]) -> None:
    for entry, outcome in zip(batch, outcomes, strict=True):
        if entry.outcome.done():
            continue
        if isinstance(outcome, Exception):
            entry.outcome.set_exception(outcome)
        else:
            entry.outcome.set_result(outcome)
