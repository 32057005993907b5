"""The internals of uvicorn that `protocol` and `express` use, and what happens where they are others.

The version of uvicorn is bounded, but an installation may override that. Then requests must still be answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import uvicorn
from attrs import define
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CYCLE = (
    "scope",
    "body",
    "more_body",
    "keep_alive",
    "disconnected",
    "message_event",
    "response_started",
    "response_complete",
)
_PROTOCOL = (
    "_start_asgi_task",
    "app",
    "connection_lost",
    "connection_made",
    "connections",
    "cycle",
    "flow",
    "headers",
    "loop",
    "on_headers_complete",
    "on_response_complete",
    "parser",
    "pipeline",
    "scope",
    "server_state",
    "shutdown",
    "transport",
)
SURPRISES = (AttributeError, TypeError)
"""What other internals raise where they are used."""

_log = logging.getLogger(__name__)


@define
class Lane:
    """Whether requests may be answered below ASGI. One for all connections of a server."""

    open: bool = True

    def close(self, reason: object) -> None:
        """Send this request and those that follow through the app, and say so once."""
        if self.open:
            self.open = False
            _log.warning(
                "uvicorn %s has other internals than housepredict uses (%s): requests take the ordinary, slower route. "
                "Install the versions that housepredict asks for.",
                uvicorn.__version__,
                reason,
            )


@define
class Protocols:
    """Makes the protocol of each connection: housepredict's, or uvicorn's own where that has other internals.

    uvicorn's own has no deadlines for clients.
    """

    _make: Callable[..., HttpToolsProtocol]
    _own: bool | None = None

    def __call__(self, **of_uvicorn: Any) -> HttpToolsProtocol:
        """The protocol of a connection."""
        if self._own is None:
            missing = _missing(**of_uvicorn)
            self._own = not missing
            if missing:
                _log.warning(
                    "uvicorn %s has other internals than housepredict uses (%s): requests take the ordinary, slower "
                    "route, and slow clients have no deadlines. Install the versions that housepredict asks for.",
                    uvicorn.__version__,
                    "no " + ", ".join(missing),
                )
        return self._make(**of_uvicorn) if self._own else HttpToolsProtocol(**of_uvicorn)


class _Probe(HttpToolsProtocol):
    """uvicorn's own protocol, which tells what it would start."""

    started: object = None

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        del app
        self.started = cycle


class _Nowhere(asyncio.Transport):
    """A connection to nobody."""

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
    """Answer nothing."""


def _missing(**of_uvicorn: Any) -> list[str]:
    """The names that uvicorn lacks, as a request shows that reaches nobody."""
    try:
        probe: Any = _Probe(**of_uvicorn)
        probe.app = _app
        probe.connection_made(_Nowhere())
        probe.data_received(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n1")
        cycle = probe.started
        probe.connection_lost(None)
    except Exception as error:  # noqa: BLE001  # of code that nobody here has seen
        return [repr(error)]
    return [name for name in _PROTOCOL if not hasattr(HttpToolsProtocol, name) and name not in vars(probe)] + [
        f"cycle.{name}" for name in _CYCLE if not hasattr(cycle, name)
    ]
