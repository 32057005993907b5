"""The server side of a connection: uvicorn's protocol with deadlines and size limits.

uvicorn has neither, so silent or slow clients could tie up connections, and endless requests could fill the memory.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import UPLOAD, too_late
from housepredict.entrypoints.http.service_state import state_of
from housepredict.entrypoints.settings import Settings

MAX_HEADERS = 65_536
"""The maximum total size in bytes of a request's URL and headers.

Chunk headers and trailers, which are part of the body, are limited separately in `data_received`.
"""

MIN_UPLOAD_RATE = 262_144
"""The minimum number of bytes of an upload that must arrive during each period of `client_timeout`.

Bodies other than uploads must arrive completely within a single period.
"""

_MALFORMED = Problem("malformed-request", "The request is not valid HTTP/1.1.")
_TOO_LONG = Problem("headers-too-large", f"The URL and the headers may have at most {MAX_HEADERS:,} bytes.")
_FULL = Problem("too-many-connections", "Too many connections are open. Try again in a moment.")


class _WaitingFor(Enum):
    """What a connection is waiting for."""

    SERVICE = auto()
    REQUEST = auto()  # the client must start a request
    HEADERS = auto()  # the client must send the rest of the headers
    BODY = auto()  # the client must send the rest of the body
    READ = auto()  # the client must read the response


class HttpProtocol(HttpToolsProtocol):
    """A client connection that enforces deadlines and size limits.

    There is no timer for each request, because that would slow requests down. Instead, the server calls
    `check_deadlines` every second to find clients that make no progress.
    """

    cycle: RequestResponseCycle | None  # type: ignore[assignment]  # None before the first request

    def __init__(self, settings: Settings, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._settings = settings
        self._running: RequestResponseCycle | None = None  # the request that the app handles; `cycle` is the newest
        self._parse_problem = _MALFORMED
        self._final_problem: Problem | None = None
        # The request that is still arriving, and how many bytes have arrived since its first chunk.
        self._part: object = None
        self._part_bytes = 0
        self._chunk_bytes = 0  # size of the last chunk
        self._offers_upgrade = False  # whether the request that is being read offers an upgrade
        # The last result of `_waiting_for`, and when this wait started.
        self._last_wait: tuple[_WaitingFor, object] = (_WaitingFor.SERVICE, None)
        self._waiting_since = 0.0
        self._upload_bytes = 0  # bytes of an upload that had arrived when the wait started

    def check_deadlines(self, now: float) -> None:
        """End the connection if the client has missed a deadline. `now` is the current time.monotonic()."""
        waiting_for, request = self._waiting_for()
        if waiting_for is not self._last_wait[0] or request is not self._last_wait[1]:
            self._last_wait, self._waiting_since, self._upload_bytes = (waiting_for, request), now, self._part_bytes
            return
        waited = now - self._waiting_since
        match waiting_for:
            case _WaitingFor.REQUEST if waited >= self._settings.idle_timeout:
                self.transport.close()
            case _WaitingFor.BODY if (
                self._part_bytes - self._upload_bytes >= MIN_UPLOAD_RATE and UPLOAD in self._scope()
            ):
                self._waiting_since, self._upload_bytes = now, self._part_bytes
            case _WaitingFor.HEADERS | _WaitingFor.BODY if waited >= self._settings.client_timeout:
                self._refuse(too_late())
            case _WaitingFor.READ if waited >= self._settings.client_timeout:
                self.transport.abort()  # closing would first wait for the client to read

    def _limit(self) -> int:
        """Return the maximum body size in bytes for the request that the app handles."""
        limit: int = self._scope().get(UPLOAD, self._settings.max_body)
        return limit

    def _scope(self) -> Any:
        return self._running.scope if self._running else {}

    def _waiting_for(self) -> tuple[_WaitingFor, object]:
        """Return what the connection is waiting for, and the request that this concerns."""
        running = self._running
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            return _WaitingFor.READ, running
        if running is not None and not running.response_complete:
            return _WaitingFor.BODY if running.more_body else _WaitingFor.SERVICE, running
        part = self._unfinished()
        return (_WaitingFor.REQUEST, running) if part is None else (_WaitingFor.HEADERS, part)

    def _unfinished(self) -> object:
        """Return the request that is still arriving, or None.

        The request is represented by its scope until the headers are complete, and then by uvicorn's cycle object.
        """
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return self.scope
        return cycle if cycle.more_body and not cycle.response_complete else None

    def connection_made(self, transport: Any) -> None:
        """Accept the connection, or reject it if too many are open."""
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            self._refuse(_FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Mark the request that the app handles as disconnected.

        uvicorn would mark the newest request instead, which may still be queued.
        """
        if self._running is not None:
            self._running.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and reject requests that are malformed or too long."""
        self._chunk_bytes = len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._parse_on(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._parse_problem)
            return
        part = self._unfinished()
        if part is None:
            return
        self._part_bytes = self._part_bytes + len(data) if part is self._part else 0
        self._part = part
        # The app rejects oversized bodies, so only endless chunk headers or trailers can reach twice the body limit.
        if self._part_bytes > MAX_HEADERS + (0 if part is self.scope else 2 * self._limit()):
            self._refuse(_TOO_LONG)

    def _parse_on(self, rest: memoryview) -> None:
        """Parse `rest`, the data that the parser left unread when it stopped at an offer to upgrade the protocol.

        Ignore all such offers (RFC 9110, section 7.8).
        """
        while self._offers_upgrade:
            try:
                self._restart_without_upgrade()
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]

    def on_headers_complete(self) -> None:
        """Pass the request to the app, unless its headers are too long."""
        # Most headers arrive in a single short chunk, so their length need not be computed.
        may_be_too_long = self._chunk_bytes > MAX_HEADERS or self._part is self.scope
        if (
            may_be_too_long
            and len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADERS
        ):
            self._parse_problem = _TOO_LONG
            raise ValueError  # stops the parser
        # Java's client and curl offer an upgrade to HTTP/2.
        self._offers_upgrade = self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers)
        if not self._offers_upgrade:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Tell the app that the body is complete."""
        cycle = self.cycle
        if not self._offers_upgrade and cycle and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def _restart_without_upgrade(self) -> None:
        """Parse the headers again without the upgrade offer, which made the parser stop before the body."""
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"\r\n".join([first, *lines, b"", b""]))

    def on_response_complete(self) -> None:
        """Start the next request in the pipeline. Unlike uvicorn, don't start a timer for each response."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            if not (cycle.more_body and self._final_problem):
                self._start_asgi_task(cycle, app)
                return
        if self._final_problem:
            self._refuse(self._final_problem)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """Close the connection after a short delay, so that a request that is just arriving gets a response."""
        self.loop.call_later(0.1, super().shutdown)

    def _refuse(self, problem: Problem) -> None:
        """Send a problem document and close the connection.

        If the app is handling an earlier request that has arrived completely, send the response to that request first.
        """
        if running_service := state_of(self.app).running:
            running_service.observer.meter.count_refusal(problem.name, ())
        running = self._running
        if running is not None and not running.response_complete:
            if not running.more_body:
                # The running request came first, so it gets its response first.
                self._final_problem = problem
                self.flow.pause_reading()
                return
            # The app sees a disconnected client, and the rest of its response is discarded.
            running.disconnected = True
            running.message_event.set()
        response = problem.response()
        headers = dict([*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")])
        lines = [b"%b: %b\r\n" % header for header in headers.items()]
        self.transport.write(b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body]))
        self.transport.close()
