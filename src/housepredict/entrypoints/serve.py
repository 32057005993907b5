"""The service as a process of its own, or several: its address, its log, and what it says when it starts."""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from attrs import define, field, frozen

from housepredict.domain.errors import HousepredictError, MissingExtra
from housepredict.domain.usecases.predict import DEMONSTRATION
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.request_metrics import Meter, Tally
from housepredict.entrypoints.http.responses import example
from housepredict.entrypoints.settings import IN_MEMORY, Settings, scheme_of, shown_database
from housepredict.entrypoints.telemetry import configured, set_up_logging
from housepredict.entrypoints.training_processes import is_readable

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


def pause_after(deaths: int) -> float:
    """Seconds to wait before a worker is replaced, after so many in quick succession."""
    return min(0.1 * 2.0 ** min(deaths - 2, 30), _LONGEST_PAUSE) if deaths > 1 else 0.0


try:
    from housepredict.entrypoints.http.server.server import Server
except ImportError as error:
    raise MissingExtra.named("serve", "Serving over HTTP") from error


_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""mallopt's parameters for the number of heaps, and for what is too large for them, as glibc's malloc.h has them."""

_LARGE = 4 * 1024 * 1024


def serve(settings: Settings, application: type[Application] = Application) -> int:
    """Serve until SIGINT or SIGTERM; requests that were accepted are answered first. Returns the exit code, 0.

    Raises RepositoryUnavailable, MissingExtra, or HousepredictError for an address that cannot be listened on.
    """
    set_up_logging(settings)
    # before numpy is loaded, which would start a thread for each core; estimates are too small to be shared out
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # the thread that estimates and the event loop hand the interpreter to each other for every batch, and would wait up
    # to 5 ms for it each time
    sys.setswitchinterval(0.0005)
    _share_a_heap()
    tally = Tally.of(settings.workers)
    with _listener(settings.host, settings.port) as listener:
        if settings.workers == 1:
            return _work(settings, application, listener, Meter.of(tally), _greet)

        def work(ties: Ties) -> int:
            return _work(settings, application, listener, Meter.of(tally, ties.seat), ties.announce, ties.lifeline)

        return Supervisor(settings.workers, listener, work).run(_greet)


def _share_a_heap() -> None:
    """Let all threads allocate in one heap: they take turns anyway, and a heap for each costs megabytes.

    The arrays of a model stay out of it, and go back to the system when they are done with: by itself glibc takes such
    sizes into the heap as soon as one was freed, where the smallest thing above them keeps them.
    """
    allocator = ctypes.CDLL(None)
    if not hasattr(allocator, "mallopt"):  # glibc's alone
        return
    if "MALLOC_ARENA_MAX" not in os.environ:
        allocator.mallopt(_M_ARENA_MAX, 1)
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        allocator.mallopt(_M_MMAP_THRESHOLD, _LARGE)


def _work(
    settings: Settings,
    application: type[Application],
    listener: socket.socket,
    meter: Meter,
    announce: Callable[[str], None],
    lifeline: int | None = None,
) -> int:
    with configured(settings.tracing) as provider, application(settings) as opened:
        _ = opened.storage.predictions  # storage that cannot be opened is reported in one line, not by uvicorn
        app = asgi_app(application=opened, embedded=False, meter=meter, tracer_provider=provider)

        def ready() -> None:
            # What is there now stays, and of what requests leave behind next to nothing is cyclic: the collector need
            # not go through it all again and again, for tens of milliseconds at a time.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 100)
            announce(_greeting(opened, _url(listener)))

        Server(app, settings, ready, lifeline).run(sockets=[listener])
    return 0


def _greet(greeting: str) -> None:
    sys.stdout.write(greeting)
    sys.stdout.flush()


def _listener(host: str, port: int) -> socket.socket:
    """Raises HousepredictError if there is no listening on that address."""
    try:
        # a name may stand for several addresses: IPv4 first, which who asks for `localhost` tries in any case
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(found, key=lambda each: each[0] is not socket.AF_INET)
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HousepredictError(f"cannot listen on {host}, port {port}: {reason}; see --host and --port") from error


def _url(listener: socket.socket) -> str:
    """Where whoever sits at this machine reaches the service."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared with, not listened on
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _greeting(application: Application, url: str) -> str:
    lines = [f"housepredict serves on {url}", f"Predictions are kept {_place(application.settings)}."]
    try:
        version = application.live_model.current().version
    except HousepredictError as error:
        lines.append(f"It cannot estimate yet. {error}")
    else:
        lines.append(f"Model version {version.name} is in service.")
        if version.source.synthetic:
            lines.append(f"Mind that {DEMONSTRATION.message}.")
        body = shlex.quote(json.dumps(example(version.schema), ensure_ascii=False))
        lines.append(f"Try it:\n  curl -X POST {url}/predict -H 'Content-Type: application/json' -d {body}")
    return "\n".join(lines) + "\n"


def _place(settings: Settings) -> str:
    if settings.database_url is None:
        return f"in {settings.data_dir}"
    if settings.database_url == IN_MEMORY:
        return "in memory, and lost when it stops"
    if settings.postgres_url is None:
        return f"by the plug-in {scheme_of(settings.database_url)}"
    return ", ".join(filter(None, ["in PostgreSQL", shown_database(settings.database_url)]))
