"""Several processes that serve as one: all accept on one socket, and one that dies is replaced.

They are forked, so that what was loaded is loaded once. That is only sound while the supervisor has no thread, no event
loop and no open database; so it opens nothing itself, and each worker opens its own.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from attrs import define, field, frozen

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STEADY = 60.0  # seconds after which a death is no consequence of the one before
_LONGEST_PAUSE = 15.0  # seconds


@frozen
class Ties:
    """What a worker has of its supervisor."""

    lifeline: int
    """A descriptor to read from, which is at its end when the supervisor is."""
    seat: int
    """Which of the workers it is, from 0; one that replaces another takes its seat."""
    _greetings: int

    def announce(self, greeting: str) -> None:
        """Say that the worker is ready."""
        with suppress(BrokenPipeError):  # nobody waits for the greeting of a replacement
            os.write(self._greetings, greeting.encode())
        os.close(self._greetings)


@define(eq=False)
class Supervisor:
    """Keeps `count` processes at `work`, which all have the listener; it returns or raises as a program's main does.

    In a worker, `run` ends as `work` does: with SystemExit and the code that it returns, or with what it raises.
    """

    _count: int
    _listener: socket.socket
    _work: Callable[[Ties], int]
    _lifeline: int = field(init=False)
    _alive: int = field(init=False)  # the other end, which nobody else has open
    _began: dict[int, float] = field(factory=dict, init=False)  # when, by process
    _seats: dict[int, int] = field(factory=dict, init=False)  # of those that are alive, by process
    _deaths: int = field(default=0, init=False)  # in quick succession
    _stopping: bool = field(default=False, init=False)

    def run(self, greet: Callable[[str], None]) -> int:
        """Work until SIGTERM or SIGINT. Returns 0, or the exit code of the first worker if it could not start."""
        self._lifeline, self._alive = os.pipe()
        for each in _SIGNALS:
            signal.signal(each, self._stop)
        # the first alone: what keeps it from starting would keep the others too, and is to be told once
        with os.fdopen(self._start()) as stream:
            greeting = stream.read()
        if not greeting:
            return self._failed()
        for ready in [self._start() for _ in range(self._count - 1)]:
            with os.fdopen(ready) as stream:
                stream.read()  # empty for one that died, which is replaced as any other
        if not self._stopping:
            greet(greeting)
        while self._began:
            self._replace(*os.wait())
        return 0

    def _start(self, pause: float = 0.0) -> int:
        """Fork a worker. Returns the descriptor from which its greeting can be read."""
        ready, greetings = os.pipe()
        seat = min(set(range(self._count)) - set(self._seats.values()))
        # no signal comes between the fork and the worker's being known here, or its not being a supervisor there
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        worker = None if self._stopping else os.fork()
        if worker == 0:
            os.close(self._alive)
            os.close(ready)
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            # SIGINT stays blocked: a terminal sends it to all, and the supervisor says what it means
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            raise SystemExit(
                0 if is_readable(self._lifeline, pause) else self._work(Ties(self._lifeline, seat, greetings))
            )
        if worker:
            self._began[worker], self._seats[worker] = time.monotonic(), seat
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(greetings)
        return ready

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Hand a signal on: once, however often it comes, but a second SIGINT is for those who wait no longer."""
        forced = self._stopping and number == signal.SIGINT
        if forced or not self._stopping:
            self._stopping = True
            self._listener.close()
            for worker in self._began:
                with suppress(ProcessLookupError):  # it ended in this very moment
                    os.kill(worker, signal.SIGKILL if forced else signal.SIGTERM)

    def _failed(self) -> int:
        """The first worker ended before it was ready: end as it did."""
        code = 0
        while self._began:
            worker, status = os.wait()
            if self._began.pop(worker, None) is not None:
                code = os.waitstatus_to_exitcode(status)
        if self._stopping:
            return 0
        if code < 0:  # it could not say anything itself
            _log.error("signal %d killed the first worker before it was ready; the service stops", -code)
        return max(code, 1)

    def _replace(self, worker: int, status: int) -> None:
        if worker not in self._began:  # an orphan, where this is process 1
            return
        del self._seats[worker]
        lived = time.monotonic() - self._began.pop(worker)
        if self._stopping:
            return
        self._deaths = 0 if lived >= _STEADY else self._deaths + 1
        pause = pause_after(self._deaths)
        code = os.waitstatus_to_exitcode(status)
        _log.error("worker %d ended with %d; another one starts in %.1f s", worker, code, pause)
        os.close(self._start(pause))


def is_readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or the end, within so many seconds."""
    readiness = select.poll()  # unlike select.select, for descriptors above 1,023 as well
    readiness.register(descriptor, select.POLLIN)
    return bool(readiness.poll(1000 * seconds))


def pause_after(deaths: int) -> float:
    """Seconds to wait before a worker is replaced, after so many in quick succession."""
    return min(0.1 * 2.0 ** min(deaths - 2, 30), _LONGEST_PAUSE) if deaths > 1 else 0.0
