"""The service in a process of its own, or in several: its workers, its address, and its greeting."""

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
_STEADY_S = 60.0  # a worker that lived longer does not count as one of a series of deaths
_MAX_PAUSE_S = 15.0


@frozen
class WorkerLinks:
    """What connects a worker with its supervisor."""

    lifeline: int
    """The read end of a pipe, which reaches its end when the supervisor ends."""
    slot: int
    """The worker's number, from 0; a replacement takes over the slot."""
    _greetings: int

    def announce(self, greeting: str) -> None:
        """Report that the worker is ready."""
        with suppress(BrokenPipeError):  # the supervisor does not wait for the greeting of a replacement
            os.write(self._greetings, greeting.encode())
        os.close(self._greetings)


@frozen
class _Worker:
    slot: int
    started_at: float


@define(eq=False)
class Supervisor:
    """Keeps `count` processes at `work`, which all inherit the listener.

    In a worker, `run` ends as `work` does: with SystemExit and its exit code, or with the exception that it raises.
    """

    _count: int
    _listener: socket.socket
    _work: Callable[[WorkerLinks], int]
    _lifeline: int = field(init=False)
    _lifeline_end: int = field(init=False)  # open in the supervisor alone
    _workers: dict[int, _Worker] = field(factory=dict, init=False)  # by process id
    _deaths: int = field(default=0, init=False)  # in quick succession
    _stopping: bool = field(default=False, init=False)

    def run(self, greet: Callable[[str], None]) -> int:
        """Work until SIGTERM or SIGINT. Return 0, or the exit code of the first worker if it could not start."""
        self._lifeline, self._lifeline_end = os.pipe()
        for number in _SIGNALS:
            signal.signal(number, self._stop)
        # the first worker starts alone: an error that keeps it from starting concerns all, and is reported once
        greeting = _read_all(self._start())
        if not greeting:
            return self._start_failed()
        for ready in [self._start() for _ in range(self._count - 1)]:
            _read_all(ready)  # empty for a worker that died, which is replaced like any other
        if not self._stopping:
            greet(greeting)
        while self._workers:
            self._replace(*os.wait())
        return 0

    def _start(self, pause: float = 0.0) -> int:
        """Fork a worker, which starts after a pause in seconds. Return the descriptor to read its greeting from."""
        ready, greetings = os.pipe()
        slot = min(set(range(self._count)) - {worker.slot for worker in self._workers.values()})
        # no signal may arrive before the supervisor has noted the worker, or before the worker has dropped its handlers
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        process = None if self._stopping else os.fork()
        if process == 0:
            os.close(self._lifeline_end)
            os.close(ready)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            # SIGINT stays blocked: a terminal sends it to the whole group, and the supervisor passes it on as SIGTERM
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            orphaned = is_readable(self._lifeline, pause)
            raise SystemExit(0 if orphaned else self._work(WorkerLinks(self._lifeline, slot, greetings)))
        if process:
            self._workers[process] = _Worker(slot, time.monotonic())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.close(greetings)
        return ready

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Pass the first signal on to the workers; kill them at a second SIGINT."""
        forced = self._stopping and number == signal.SIGINT
        if forced or not self._stopping:
            self._stopping = True
            self._listener.close()
            for process in self._workers:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(process, signal.SIGKILL if forced else signal.SIGTERM)

    def _start_failed(self) -> int:
        """Return the exit code of the first worker, which ended before it was ready."""
        code = 0
        while self._workers:
            process, status = os.wait()
            if self._workers.pop(process, None):
                code = os.waitstatus_to_exitcode(status)
        if self._stopping:
            return 0
        if code < 0:  # it could not log the reason itself
            _log.error("signal %d killed the first worker before it was ready; the service stops", -code)
        return max(code, 1)

    def _replace(self, process: int, status: int) -> None:
        worker = self._workers.pop(process, None)
        if worker is None or self._stopping:  # None: an orphan, where the supervisor is process 1
            return
        self._deaths = 0 if time.monotonic() - worker.started_at >= _STEADY_S else self._deaths + 1
        pause = pause_after(self._deaths)
        code = os.waitstatus_to_exitcode(status)
        _log.error("worker %d ended with %d; another one starts in %.1f s", process, code, pause)
        os.close(self._start(pause))


def _read_all(descriptor: int) -> str:
    with os.fdopen(descriptor) as stream:
        return stream.read()


def pause_after(deaths: int) -> float:
    """Return the seconds to wait before a worker is replaced, after a number of deaths in quick succession."""
    return min(0.1 * 2.0 ** min(deaths - 2, 30), _MAX_PAUSE_S) if deaths > 1 else 0.0


try:
    from housepredict.entrypoints.http.server.server import Server
except ImportError as error:
    raise MissingExtra.named("serve", "Serving over HTTP") from error


_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""mallopt's parameters for the number of heaps and for the size above which memory is mapped (glibc's malloc.h)."""

_MMAP_THRESHOLD_BYTES = 4 * 1024 * 1024


def serve(settings: Settings, application: type[Application] = Application) -> int:
    """Serve until SIGINT or SIGTERM, then finish accepted requests. Return the exit code, 0.

    Raises:
        RepositoryUnavailable: if the storage cannot be opened.
        MissingExtra: if an optional dependency is missing.
        HousepredictError: if the address cannot be listened on.
    """
    set_up_logging(settings)
    # set before NumPy loads, which would start a thread for each core: estimates are too small to be split among them
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # the thread that estimates and the event loop hand the interpreter to each other for every batch, and would wait up
    # to 5 ms for it each time
    sys.setswitchinterval(0.0005)
    _share_a_heap()
    tally = Tally.of(settings.workers)
    with _listener(settings.host, settings.port) as listener:
        if settings.workers == 1:
            return _work(settings, application, listener, Meter.of(tally), _greet)

        def work(links: WorkerLinks) -> int:
            return _work(settings, application, listener, Meter.of(tally, links.slot), links.announce, links.lifeline)

        return Supervisor(settings.workers, listener, work).run(_greet)


def _share_a_heap() -> None:
    """Let all threads allocate in one heap: they take turns anyway, and a heap for each costs megabytes.

    The arrays of a model are mapped instead, and go back to the system when they are freed. By default glibc raises the
    threshold after the first such array, and allocations above later ones would keep those in the heap.
    """
    allocator = ctypes.CDLL(None)
    if not hasattr(allocator, "mallopt"):  # only glibc has it
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
        _ = opened.storage.predictions  # storage that cannot be opened is reported in one line, not by uvicorn
        app = asgi_app(application=opened, embedded=False, meter=meter, tracer_provider=provider)

        def ready() -> None:
            # Objects that exist now stay, and requests leave almost no cycles behind: the collector need not scan all
            # of it again and again, for tens of milliseconds at a time.
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
    """Listen on an address. Raises HousepredictError if that fails."""
    try:
        # of several addresses of a name, prefer IPv4, which every client tries for `localhost`
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(addresses, key=lambda each: each[0] is not socket.AF_INET)
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HousepredictError(f"cannot listen on {host}, port {port}: {reason}; see --host and --port") from error


def _url(listener: socket.socket) -> str:
    """Return the URL of the service on this machine."""
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
