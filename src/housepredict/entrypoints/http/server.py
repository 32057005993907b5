"""uvicorn as a service of its own needs it: it says when it is ready, watches its clients, and stops in good order."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from housepredict.entrypoints.http.express import ExpressProtocol
from housepredict.entrypoints.http.internals import Lane, Protocols
from housepredict.entrypoints.http.protocol import HttpProtocol
from housepredict.entrypoints.settings import Settings

_PATIENCE = 20  # seconds that requests have to finish in, once no more are taken
_LOOK_EVERY = 1.0  # seconds
_CLOSE = (b"connection", b"close")


class Server(uvicorn.Server):
    """Serves an app until SIGTERM, SIGINT, or the end of `lifeline`, a descriptor to read from; then it drains.

    For the drain period readiness fails, and each answer says that its connection closes. Then no more connections are
    taken, what has been accepted is answered, and the lifespan ends. A second SIGINT waits for nobody.
    """

    def __init__(
        self, app: Starlette, settings: Settings, announce: Callable[[], None], lifeline: int | None = None
    ) -> None:
        protocol: Any = Protocols(partial(ExpressProtocol, settings, Lane()))
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                # at its level info, uvicorn says what the greeting says
                log_level="warning" if settings.log_level == "info" else settings.log_level,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_PATIENCE,
            )
        )
        self._app = app
        self._drain = settings.drain
        self._announce = announce
        self._lifeline = lifeline
        self._stop_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self._watching = asyncio.create_task(self._watch())
        if self._lifeline is not None:
            asyncio.get_running_loop().add_reader(self._lifeline, self._abandoned, self._lifeline)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; clients that are slow keep their deadlines meanwhile."""
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would leave the lifespan to be cancelled, with a traceback
            await self.lifespan.shutdown()
        self._watching.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. uvicorn's own would close at once, and raise the signal again for another exit code than 0."""
        del frame
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._drain
        elif sig == signal.SIGINT:
            self.force_exit = self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to stop; asked ten times a second."""
        if self._stop_at is None:
            return await super().on_tick(counter)
        if self._app.state.stopping:
            self.should_exit = self.should_exit or time.monotonic() >= self._stop_at
        else:
            # also with no drain period at all, clients that are busy hear of it in the time of a tick
            self._app.state.stopping = True
            self.config.encoded_headers.append(_CLOSE)
        return await super().on_tick(0)  # at which it makes the default headers anew

    def _abandoned(self, lifeline: int) -> None:
        asyncio.get_running_loop().remove_reader(lifeline)
        self.handle_exit(signal.SIGTERM, None)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, HttpProtocol):  # those of uvicorn have no deadlines
                    connection.look(now)
