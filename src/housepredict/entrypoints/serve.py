"""The service as a process of its own, or several: its address, its log, and what it says when it starts."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shlex
import socket
import sys
from collections.abc import Callable

from housepredict.domain.errors import HousepredictError, MissingExtra
from housepredict.domain.usecases import DEMONSTRATION
from housepredict.entrypoints.bootstrap import Application
from housepredict.entrypoints.http.answers import example
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.meter import Meter
from housepredict.entrypoints.http.tally import Tally
from housepredict.entrypoints.logs import set_up_logging
from housepredict.entrypoints.setting_values import IN_MEMORY, scheme_of, shown_database
from housepredict.entrypoints.settings import Settings
from housepredict.entrypoints.tracing import configured
from housepredict.entrypoints.workers import Supervisor, Ties

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
        _ = opened.predictions  # storage that cannot be opened is reported in one line, not by uvicorn
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
