"""Run the service in one or more worker processes."""

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
from housepredict.entrypoints.http.request_metrics import Meter, SharedCounters
from housepredict.entrypoints.http.responses import example
from housepredict.entrypoints.settings import IN_MEMORY, Settings, scheme_of, shown_database
from housepredict.entrypoints.telemetry import configured, set_up_logging
from housepredict.entrypoints.training_processes import is_readable

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STABLE_S = 60.0  # deaths of workers that lived longer than this don't count as deaths in quick succession
_MAX_PAUSE_S = 15.0


@frozen
class WorkerLinks:
    """A worker's connections to its supervisor."""

    lifeline: int
    """The read end of a pipe that is closed when the supervisor ends."""
    slot: int
    """The number of the worker, counted from 0. A replacement gets the number of the worker that it replaces."""
    _greetings: int

    def announce(self, greeting: str) -> None:
        """Report to the supervisor that the worker is ready. The supervisor prints the first worker's `greeting`."""
        with suppress(BrokenPipeError):  # the supervisor doesn't read the greeting of a replacement worker
            os.write(self._greetings, greeting.encode())
        os.close(self._greetings)


@frozen
class _Worker:
    slot: int
    started_at: float


@define(eq=False)
class Supervisor:
    """Keeps `count` worker processes running, and replaces those that die. Workers inherit the listening socket.

    Each worker process calls `work`, which returns the exit code. `run` returns only in the supervisor's process. In a
    worker process, it raises SystemExit with the exit code, or any exception that `work` raises.
    """

    _count: int
    _listener: socket.socket
    _work: Callable[[WorkerLinks], int]
    _lifeline: int = field(init=False)
    _lifeline_end: int = field(init=False)  # only open in the supervisor
    _workers: dict[int, _Worker] = field(factory=dict, init=False)  # by process id
    _deaths: int = field(default=0, init=False)  # number of deaths in quick succession
    _stopping: bool = field(default=False, init=False)

    def run(self, greet: Callable[[str], None]) -> int:
        """Run workers until SIGTERM or SIGINT, then return 0. If the first worker fails to start, return its exit code.

        When all workers are ready, `greet` is called with the first worker's greeting.
        """
        self._lifeline, self._lifeline_end = os.pipe()
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        # the first worker starts alone: an error at startup affects all workers, and is reported once
        greeting = _read_all(self._start())
        if not greeting:
            return self._start_failed()
        for ready in [self._start() for _ in range(self._count - 1)]:
            _read_all(ready)  # empty if the worker died; it is replaced below
        if not self._stopping:
            greet(greeting)
        while self._workers:
            self._replace(*os.wait())
        return 0

    def _start(self, pause: float = 0.0) -> int:
        """Fork a worker that starts working after `pause` seconds. Returns the descriptor to read its greeting from."""
        ready, greetings = os.pipe()
        slot = min(set(range(self._count)) - {worker.slot for worker in self._workers.values()})
        # block signals until the supervisor has registered the worker, and the worker has reset the signal handlers
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        process = None if self._stopping else os.fork()
        if process == 0:
            os.close(self._lifeline_end)
            os.close(ready)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            # SIGINT stays blocked: a terminal sends it to all processes, but the supervisor passes it on as SIGTERM
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            orphaned = is_readable(self._lifeline, pause)
            raise SystemExit(0 if orphaned else self._work(WorkerLinks(self._lifeline, slot, greetings)))
        if process:
            self._workers[process] = _Worker(slot, time.monotonic())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(greetings)
        return ready

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal: send SIGTERM to the workers on the first signal, and SIGKILL if a later signal is SIGINT."""
        forced = self._stopping and number == signal.SIGINT
        if forced or not self._stopping:
            self._stopping = True
            self._listener.close()
            for process in self._workers:
                with suppress(ProcessLookupError):  # the process has just ended
                    os.kill(process, signal.SIGKILL if forced else signal.SIGTERM)

    def _start_failed(self) -> int:
        """Wait for the first worker, which failed to start, and return its exit code."""
        code = 0
        while self._workers:
            process, status = os.wait()
            if self._workers.pop(process, None):
                code = os.waitstatus_to_exitcode(status)
        if self._stopping:
            return 0
        if code < 0:  # a killed worker can't log the reason itself
            _log.error("the first worker was killed by signal %d before it was ready; stopping the service", -code)
        return max(code, 1)

    def _replace(self, process: int, status: int) -> None:
        worker = self._workers.pop(process, None)
        if worker is None or self._stopping:  # None if this is an orphan process that was reparented to process 1
            return
        self._deaths = 0 if time.monotonic() - worker.started_at >= _STABLE_S else self._deaths + 1
        pause = pause_after(self._deaths)
        code = os.waitstatus_to_exitcode(status)
        _log.error("worker %d exited with code %d; starting a new one in %.1f s", process, code, pause)
        os.close(self._start(pause))


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor) as stream:
        return stream.read()


def pause_after(deaths: int) -> float:
    """Return how many seconds to wait before replacing a worker, given the number of deaths in quick succession."""
    return min(0.1 * 2.0 ** min(deaths - 2, 30), _MAX_PAUSE_S) if deaths > 1 else 0.0


try:
    from housepredict.entrypoints.http.server.server import Server
except ImportError as error:
    raise MissingExtra.named("serve", "Serving over HTTP") from error


_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""Parameters of mallopt, from glibc's malloc.h: the maximum number of heaps, and the threshold for using mmap."""

_MMAP_THRESHOLD_BYTES = 4 * 1024 * 1024


def serve(settings: Settings, application: type[Application] = Application) -> int:
    """Serve until SIGINT or SIGTERM, then finish accepted requests. Returns the exit code, which is 0 on success.

    Raises:
        RepositoryUnavailable: if the storage can't be opened.
        MissingExtra: if an optional dependency is missing.
        HousepredictError: if the service can't listen on the address.
    """
    set_up_logging(settings)
    # set this before NumPy loads, which would start a thread per core; estimates are too small to be split
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # each batch switches between the event loop and the estimating thread; by default, that may take 5 ms each time
    sys.setswitchinterval(0.0005)
    _share_a_heap()
    tally = SharedCounters.of(settings.workers)
    with _listener(settings.host, settings.port) as listener:
        if settings.workers == 1:
            return _work(settings, application, listener, Meter.of(tally), _greet)

        def work(links: WorkerLinks) -> int:
            return _work(settings, application, listener, Meter.of(tally, links.slot), links.announce, links.lifeline)

        return Supervisor(settings.workers, listener, work).run(_greet)


def _share_a_heap() -> None:
    """Make all threads allocate memory from one heap.

    A heap per thread would cost megabytes and gain nothing, because threads run Python code in turns anyway.

    Also set a constant mmap threshold, so that large arrays, such as those of models, are always allocated with mmap
    and return their memory to the system when they are freed. By default, glibc raises the threshold once such an array
    is freed, so that later arrays could end up on the heap.
    """
    allocator = ctypes.CDLL(None)
    if not hasattr(allocator, "mallopt"):  # only glibc has this function
        return
    if "MALLOC_ARENA_MAX" not in os.environ:
        allocator.mallopt(_M_ARENA_MAX, 1)
    if "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        allocator.mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)


def _work(
    settings: Settings,
    application: type[Application],
    listener: socket.socket,
    meter: Meter,
    announce: Callable[[str], None],
    lifeline: int | None = None,
) -> int:
    with configured(settings.tracing) as provider, application(settings) as opened:
        _ = opened.storage.predictions  # open it here to report errors in one line, without uvicorn's traceback
        app = asgi_app(application=opened, embedded=False, meter=meter, tracer_provider=provider)

        def ready() -> None:
            # Existing objects are permanent, and requests create almost no reference cycles. Scanning all objects for
            # cycles again and again would waste tens of milliseconds each time.
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
    """Return a socket that listens on an address.

    Raises:
        HousepredictError: if listening fails.
    """
    try:
        # if a name has several addresses, prefer IPv4, which every client tries for `localhost`
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(addresses, key=lambda info: info[0] is not socket.AF_INET)
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HousepredictError(f"cannot listen on {host}, port {port}: {reason}; see --host and --port") from error


def _url(listener: socket.socket) -> str:
    """Return a URL that reaches the service from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # only compared with
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _greeting(application: Application, url: str) -> str:
    lines = [f"housepredict serves on {url}", f"Predictions are stored {_place(application.settings)}."]
    try:
        version = application.live_model.current().version
    except HousepredictError as error:
        lines.append(f"The service cannot estimate yet: {error}")
    else:
        lines.append(f"Model version {version.name} is in service.")
        if version.source.synthetic:
            lines.append(f"Warning: {DEMONSTRATION.message.rstrip('.')}.")
        body = shlex.quote(json.dumps(example(version.schema), ensure_ascii=False))
        lines.append(f"Try it:\n  curl -X POST {url}/predict -H 'Content-Type: application/json' -d {body}")
    return "\n".join(lines) + "\n"


def _place(settings: Settings) -> str:
    if settings.database_url is None:
        return f"in {settings.data_dir}"
    if settings.database_url == IN_MEMORY:
        return "in memory, and lost when the service stops"
    if settings.postgres_url is None:
        return f"by the plug-in {scheme_of(settings.database_url)}"
    return ", ".join(filter(None, ["in PostgreSQL", shown_database(settings.database_url)]))
