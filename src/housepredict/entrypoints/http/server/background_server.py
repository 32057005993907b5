"""Runs the service in a thread on a real port, for tests."""

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
    """Serve an application on a free port of 127.0.0.1, like `housepredict serve`, and yield the URL.

    All accepted requests are answered before the context exits.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, _restore_loggers():
        app = asgi_app(application=application, embedded=False)
        ready: Future[None] = Future()
        server = Server(app, application.settings, lambda: ready.set_result(None))

        def serve() -> None:
            try:
                with suppress(SystemExit):  # uvicorn raises it if the lifespan fails
                    server.run(sockets=[listener])
            finally:
                if not ready.done():
                    ready.set_exception(RuntimeError("the service failed to start: see its log"))

        thread = Thread(target=serve, name="housepredict", daemon=True)
        thread.start()
        try:
            ready.result()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.handle_exit(signal.SIGTERM, None)
            thread.join()


@contextmanager
def _restore_loggers() -> Iterator[None]:
    """Restore uvicorn's loggers on exit, because a server reconfigures them for the whole process."""
    logs = [logging.getLogger(name) for name in _LOGS]
    before = [(log.level, log.handlers, log.propagate) for log in logs]
    try:
        yield
    finally:
        for log, (level, handlers, propagate) in zip(logs, before, strict=True):
            log.setLevel(level)
            log.handlers, log.propagate = handlers, propagate
