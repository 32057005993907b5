"""A scheduler that forces an interleaving of threads, which a seed reproduces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from random import Random
from threading import Lock, Semaphore, get_ident
from types import TracebackType
from typing import Any

from attrs import define, field, frozen


class Deadlock(Exception):
    """All actors wait for locks that other actors hold."""


@define(eq=False)
class ScheduledLock:
    """A lock that reports its waiting threads to the scheduler."""

    _scheduler: Scheduler
    held: bool = False

    def acquire(self, blocking: bool = True) -> bool:
        self._scheduler.step()
        while self.held:
            if not blocking:
                return False
            self._scheduler.step(self)
        self.held = True
        return True

    def release(self) -> None:
        assert self.held
        self.held = False

    def __enter__(self) -> ScheduledLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


@define(eq=False)
class _Actor:
    number: int
    go: Semaphore = field(factory=lambda: Semaphore(0))
    waits_for: ScheduledLock | None = None


@define(eq=False)
class Scheduler:
    """Runs one actor at a time. Whenever an actor takes a step, the random generator chooses the next one.

    `trace` lists the choices: two runs with the same actors and the same trace are the same interleaving.
    """

    _threads: ThreadPoolExecutor
    _random: Random
    trace: list[int] = field(factory=list, init=False)
    _alive: list[_Actor] = field(factory=list, init=False)
    _by_thread: dict[int, _Actor] = field(factory=dict, init=False)
    _deadlock: bool = field(default=False, init=False)

    def run(self, actors: Sequence[Callable[[], object]]) -> None:
        """Run the actors until they end. Raises the first error of an actor, or AssertionError for a deadlock."""
        self._alive = [_Actor(number) for number in range(len(actors))]
        ended = [self._threads.submit(self._act, each, work) for each, work in zip(self._alive, actors, strict=True)]
        self._choose().go.release()
        wait(ended)
        assert not self._deadlock, f"deadlock after {self.trace}"
        for each in ended:
            each.result()

    def step(self, waits_for: ScheduledLock | None = None) -> None:
        """Let the scheduler choose the next actor. Does nothing in other threads."""
        actor = self._by_thread.get(get_ident())
        if actor is None:
            return
        actor.waits_for = waits_for
        chosen = self._choose()
        if chosen is not actor:
            chosen.go.release()
            actor.go.acquire()
        actor.waits_for = None
        if self._deadlock:
            raise Deadlock

    def _choose(self) -> _Actor:
        ready = [each for each in self._alive if each.waits_for is None or not each.waits_for.held]
        if not ready:
            self._deadlock = True
            ready = self._alive
        chosen = self._random.choice(ready)
        if len(ready) > 1:
            self.trace.append(chosen.number)
        return chosen

    def schedule(self, instance: Any) -> None:
        """Replace the locks of an attrs object with scheduled ones."""
        for name in instance.__slots__:
            if isinstance(getattr(instance, name, None), type(Lock())):
                setattr(instance, name, ScheduledLock(self))

    def _act(self, actor: _Actor, work: Callable[[], object]) -> None:
        self._by_thread[get_ident()] = actor
        actor.go.acquire()
        try:
            work()
        finally:
            del self._by_thread[get_ident()]
            self._alive.remove(actor)
            if self._alive:
                self._choose().go.release()


@frozen
class Stepping:
    """A proxy whose calls are steps: other actors may run before and after each call."""

    _whole: Any
    _step: Callable[[], None]

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._whole, name)
        if not callable(attribute):
            return attribute

        def call(*arguments: object) -> object:
            self._step()
            try:
                return attribute(*arguments)
            finally:
                self._step()

        return call
