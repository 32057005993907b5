"""The service in a thread of somebody else's process, on a real port: for tests."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from threading import Thread

from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.server.server import Server

_LOGS = ("uvicorn.error", "uvicorn.access", "uvicorn.asgi")


@contextmanager
def serving(application: Application) -> Iterator[str]:
    """Serve an application on a port of 127.0.0.1 that is free, as `housepredict serve` does; gives its URL.

    Requests that were accepted are answered before it ends.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, _logs_left_alone():
        app = asgi_app(application=application, embedded=False)
        ready: Future[None] = Future()
        server = Server(app, application.settings, lambda: ready.set_result(None))

        def serve() -> None:
            try:
                with suppress(SystemExit):  # with which uvicorn ends where the lifespan fails
                    server.run(sockets=[listener])
            finally:
                if not ready.done():
                    ready.set_exception(RuntimeError("the service has not started: its log says why"))

        thread = Thread(target=serve, name="housepredict", daemon=True)
        thread.start()
        try:
            ready.result()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.handle_exit(signal.SIGTERM, None)
            thread.join()


@contextmanager
def _logs_left_alone() -> Iterator[None]:
    """Uvicorn sets up loggers that are the whole process's; give them back as they were."""
    logs = [logging.getLogger(name) for name in _LOGS]
    before = [(log.level, log.handlers, log.propagate) for log in logs]
    try:
        yield
    finally:
        for log, (level, handlers, propagate) in zip(logs, before, strict=True):
            log.setLevel(level)
            log.handlers, log.propagate = handlers, propagate
