"""The server: uvicorn with a startup announcement, client deadlines, and a drain period before shutdown."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from attrs import define
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from housepredict.entrypoints.http.server.express import ExpressLane, ExpressProtocol
from housepredict.entrypoints.http.server.protocol import HttpProtocol
from housepredict.entrypoints.http.service_state import state_of
from housepredict.entrypoints.settings import Settings

_GRACE_S = 20  # for running requests, after the server has stopped accepting new ones
_DEADLINE_CHECK_INTERVAL_S = 1.0
_CLOSE = (b"connection", b"close")

# The attributes of uvicorn's request cycle and protocol that this package uses.
_CYCLE = "scope body more_body keep_alive disconnected message_event response_started response_complete"
_PROTOCOL = (
    "_start_asgi_task app connection_lost connection_made connections cycle flow headers loop on_headers_complete "
    "on_response_complete parser pipeline scope server_state shutdown transport"
)

_log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """An HTTP server that drains, then stops, on SIGTERM, SIGINT, or EOF on the file descriptor `lifeline`.

    During the drain period, the readiness check fails, and each response closes its connection. After that, the server
    stops accepting connections, finishes running requests, and ends the app's lifespan. A second SIGINT stops the
    server immediately.
    """

    def __init__(
        self, app: Starlette, settings: Settings, announce: Callable[[], None], lifeline: int | None = None
    ) -> None:
        protocol: Any = Protocols(partial(ExpressProtocol, settings, ExpressLane()))
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                # At level info, uvicorn would repeat what `announce` has already logged.
                log_level="warning" if settings.log_level == "info" else settings.log_level,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._app = app
        self._drain = settings.drain
        self._announce = announce
        self._lifeline = lifeline
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then call `announce`."""
        await super().startup(sockets)
        self._watching = asyncio.create_task(self._watch())
        if self._lifeline is not None:
            asyncio.get_running_loop().add_reader(self._lifeline, self._abandoned, self._lifeline)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving. Client deadlines are enforced until the shutdown is complete."""
        await super().shutdown(sockets)
        if self.force_exit:  # otherwise uvicorn would cancel the lifespan, with a traceback
            await self.lifespan.shutdown()
        self._watching.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the drain period. A second SIGINT stops the server immediately.

        This replaces uvicorn's method, which stops without draining and exits with the signal's code.
        """
        del frame
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._drain
        elif sig == signal.SIGINT:
            self.force_exit = self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Return whether the server should stop. uvicorn calls this ten times a second."""
        if self._stop_at is None:
            return await super().on_tick(counter)
        if state_of(self._app).stopping:
            self.should_exit = self.should_exit or time.monotonic() >= self._stop_at
        else:
            # Even without a drain period, busy clients get `Connection: close` within a tick.
            state_of(self._app).stopping = True
            self.config.encoded_headers.append(_CLOSE)
        return await super().on_tick(0)  # 0 makes uvicorn update the default headers

    def _abandoned(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        self.handle_exit(signal.SIGTERM, None)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_DEADLINE_CHECK_INTERVAL_S)
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, HttpProtocol):
                    connection.check_deadlines(now)


@define
class Protocols:
    """Creates a protocol for each connection.

    Connections use housepredict's protocol if the installed uvicorn has the required internals. Otherwise, they use
    uvicorn's own protocol, which has no client deadlines.
    """

    _create: Callable[..., HttpToolsProtocol]
    _is_supported: bool | None = None

    def __call__(self, **of_uvicorn: Any) -> HttpToolsProtocol:
        """Create the protocol for a connection from uvicorn's arguments."""
        if self._is_supported is None:
            missing = _missing(**of_uvicorn)
            self._is_supported = not missing
            if missing:
                _log.warning(
                    "uvicorn %s is not supported (missing: %s): requests take a slower path, and slow clients have no "
                    "deadlines. Install a version that housepredict supports.",
                    uvicorn.__version__,
                    ", ".join(missing),
                )
        return self._create(**of_uvicorn) if self._is_supported else HttpToolsProtocol(**of_uvicorn)


class _Probe(HttpToolsProtocol):
    """A variant of uvicorn's protocol that stores a request instead of starting it."""

    started: object = None

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        del app
        self.started = cycle


class _Nowhere(asyncio.Transport):
    """A transport without a peer."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        """Discard the data."""

    def close(self) -> None:
        """Do nothing."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


async def _app(_scope: Any, _receive: Any, _send: Any) -> None:
    """Do nothing."""


def _missing(**of_uvicorn: Any) -> list[str]:
    """Return the required internals that uvicorn lacks. To find them, process a request without a real connection."""
    try:
        probe: Any = _Probe(**of_uvicorn)
        probe.app = _app
        probe.connection_made(_Nowhere())
        probe.data_received(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n1")
        cycle = probe.started
        probe.connection_lost(None)
    except Exception as error:  # noqa: BLE001  # an unsupported uvicorn may raise any error
        return [repr(error)]
    missing = [name for name in _PROTOCOL.split() if not hasattr(HttpToolsProtocol, name) and name not in vars(probe)]
    return missing + [f"cycle.{name}" for name in _CYCLE.split() if not hasattr(cycle, name)]
