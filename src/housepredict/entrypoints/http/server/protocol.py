"""The server's side of a connection: uvicorn's, with limits of time and size.

uvicorn has none: a client that is silent, slow or endless would keep its connection and its memory.
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
"""Most bytes in the URL and the headers of a request, and in the chunk headers and trailers of its body."""

MIN_UPLOAD_RATE = 262_144
"""Bytes of an upload that must arrive within the client timeout, in which other bodies must arrive as a whole."""

_MALFORMED = Problem("malformed-request", 400, "This is not HTTP", "The request cannot be read as HTTP/1.1.")
_TOO_LONG = Problem("headers-too-large", 431, "The headers are too large", f"They may have {MAX_HEADERS} bytes in all.")
_FULL = Problem(
    "too-many-connections",
    503,
    "Too many connections",
    "As many connections are open as may be. Try again in a moment.",
    headers={"Retry-After": "1"},
)


class _Turn(Enum):
    """Who has to act on a connection, and how."""

    OURS = auto()
    BEGIN = auto()  # the client has to begin a request
    HEADERS = auto()  # the client has to send the rest of the headers
    BODY = auto()  # the client has to send the rest of the body
    READ = auto()  # the client has to read the response


class HttpProtocol(HttpToolsProtocol):
    """A connection.

    Deadlines cost usual requests next to nothing: instead of a timer for each request, the server calls `look` every
    second, which finds the clients that made no progress.
    """

    cycle: RequestResponseCycle | None  # type: ignore[assignment]  # as it is before the first request

    def __init__(self, settings: Settings, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._settings = settings
        self._running: RequestResponseCycle | None = None  # the request in the app; `cycle` is the newest
        self._fault = _MALFORMED
        self._last_word: Problem | None = None
        # the request that has arrived only in part, and its bytes since that was first seen
        self._part: object = None
        self._more = 0
        self._chunk = 0  # bytes that arrived last
        self._offered = False  # whether the request that is being read offers an upgrade
        # what `look` saw last: the turn, the request, and since when
        self._seen: tuple[_Turn, object] = (_Turn.OURS, None)
        self._since = 0.0
        self._had = 0  # bytes of an upload that had arrived by then

    def look(self, now: float) -> None:
        """End the connection if the client has kept it waiting for too long."""
        turn, request = self._turn()
        if turn is not self._seen[0] or request is not self._seen[1]:
            self._seen, self._since, self._had = (turn, request), now, self._more
            return
        waited = now - self._since
        match turn:
            case _Turn.BEGIN if waited >= self._settings.idle_timeout:
                self.transport.close()
            case _Turn.BODY if self._more - self._had >= MIN_UPLOAD_RATE and UPLOAD in self._scope():
                self._since, self._had = now, self._more
            case _Turn.HEADERS | _Turn.BODY if waited >= self._settings.client_timeout:
                self._refuse(too_late())
            case _Turn.READ if waited >= self._settings.client_timeout:
                self.transport.abort()  # closing would first wait for it to read

    def _limit(self) -> int:
        """Most bytes in the body of the request in the app."""
        limit: int = self._scope().get(UPLOAD, self._settings.max_body)
        return limit

    def _scope(self) -> Any:
        return self._running.scope if self._running else {}

    def _turn(self) -> tuple[_Turn, object]:
        running = self._running
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            return _Turn.READ, running
        if running is not None and not running.response_complete:
            return _Turn.BODY if running.more_body else _Turn.OURS, running
        part = self._unfinished()
        return (_Turn.BEGIN, running) if part is None else (_Turn.HEADERS, part)

    def _unfinished(self) -> object:
        """The request that the client is sending: its scope up to the end of the headers, then its cycle."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return self.scope
        return cycle if cycle.more_body and not cycle.response_complete else None

    def connection_made(self, transport: Any) -> None:
        """Accept the connection, or refuse it if too many are open."""
        super().connection_made(transport)
        if len(self.connections) > self._settings.max_connections:
            self._refuse(_FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Disconnect the request in the app; uvicorn would disconnect the newest one, which may still be queued."""
        if self._running is not None:
            self._running.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what the client sends, unless it is malformed or endless."""
        self._chunk = len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._parse_on(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._fault)
            return
        part = self._unfinished()
        if part is None:
            return
        self._more = self._more + len(data) if part is self._part else 0
        self._part = part
        # the app refuses bodies that are too large: beyond twice their limit, chunk headers or trailers are endless
        if self._more > MAX_HEADERS + (0 if part is self.scope else 2 * self._limit()):
            self._refuse(_TOO_LONG)

    def _parse_on(self, rest: memoryview) -> None:
        """Ignore offers to upgrade to another protocol, however often they are made (RFC 9110, section 7.8)."""
        while self._offered:
            try:
                self._begin_without_the_offer()
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]

    def on_headers_complete(self) -> None:
        """Hand the request to the app."""
        # the headers of most requests arrive in one piece, which is short enough
        may_be = self._chunk > MAX_HEADERS or self._part is self.scope
        if may_be and len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEADERS:
            self._fault = _TOO_LONG
            raise ValueError  # which ends the parsing
        # Java's client and curl offer HTTP/2
        self._offered = self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers)
        if not self._offered:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Tell the app that the body is complete."""
        cycle = self.cycle
        if not self._offered and cycle and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def _begin_without_the_offer(self) -> None:
        """Parse the request again without the offer: the parser stopped before its body."""
        first = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(b"\r\n".join([first, *lines, b"", b""]))

    def on_response_complete(self) -> None:
        """Go on to the next request in the pipeline. uvicorn would start a timer for each response here."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            if not (cycle.more_body and self._last_word):
                self._start_asgi_task(cycle, app)
                return
        if self._last_word:
            self._refuse(self._last_word)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def shutdown(self) -> None:
        """End the connection, once requests on their way here are answered."""
        self.loop.call_later(0.1, super().shutdown)

    def _refuse(self, problem: Problem) -> None:
        """Answer instead of the app, and close."""
        if running_service := state_of(self.app).running:
            running_service.observer.meter.refused(problem.name, ())
        running = self._running
        if running is not None and not running.response_complete:
            if not running.more_body:
                # it came before the refused one, and is answered first
                self._last_word = problem
                self.flow.pause_reading()
                return
            # to the app, the client has left: the rest of its response is discarded
            running.disconnected = True
            running.message_event.set()
        response = problem.response()
        headers = dict([*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")])
        lines = [b"%b: %b\r\n" % header for header in headers.items()]
        self.transport.write(b"".join([STATUS_LINE[response.status_code], *lines, b"\r\n", response.body]))
        self.transport.close()
