"""The express lane: a fast path for common `POST /predict` requests that bypasses ASGI.

ASGI's task, router and two `send` calls take longer than validating, estimating and storing a house. On the express
lane, uvicorn's protocol class therefore submits a request directly to the estimator and writes the response itself. All
other requests, and all errors, go through the app. When a request shows that uvicorn's internals differ from what this
module expects, that request and all later ones go through the app.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import uvicorn
from attrs import define
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import Prediction
from housepredict.entrypoints.http.batching import EstimateJob
from housepredict.entrypoints.http.observer import UNNAMED, Observer, RequestNames
from housepredict.entrypoints.http.problems import answer
from housepredict.entrypoints.http.routes.predict_routes import (
    HEADERS,
    MAX_LOOP_BYTES,
    PREDICT,
    encode_predictions,
    read,
)
from housepredict.entrypoints.http.server.protocol import HttpProtocol
from housepredict.entrypoints.http.service_state import running_service, state_of
from housepredict.entrypoints.settings import Settings

UNKNOWN_INTERNALS = (AttributeError, TypeError)
"""The exceptions that show that uvicorn's internals differ from what this module expects."""

_PATH = "/predict"
_CLOSE = (b"connection", b"close")
_NAMING = frozenset({b"x-request-id", b"traceparent"})
_RELEVANT_HEADERS = _NAMING | {
    b"accept",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"expect",
    b"idempotency-key",
    b"origin",
    b"transfer-encoding",
    b"upgrade",
}
_HAS_REQUEST_NAMES = "housepredict.named"
_MAX_UNCOMPRESSED_HOUSES = 16
"""The maximum number of houses on the express lane if the client accepts compression.

A response for more houses may be large enough to compress, which the express lane doesn't do.
"""

_log = logging.getLogger(__name__)


@define
class ExpressLane:
    """A switch shared by all connections of a server. They may use the express lane while `open` is True."""

    open: bool = True

    def close(self, reason: object) -> None:
        """Close the lane for all later requests. The first call logs a warning with the reason."""
        if self.open:
            self.open = False
            _log.warning(
                "uvicorn %s is not supported (%s): requests take a slower path. Install a version that housepredict "
                "supports.",
                uvicorn.__version__,
                reason,
            )


class ExpressProtocol(HttpProtocol):
    """A connection with an express lane. Its app must not be mounted in another app."""

    _awaiting_body: RequestResponseCycle | None = None
    # The server's default headers, and the encoded status line and headers of a response that has them.
    _common: Sequence[tuple[bytes, bytes]] = ()
    _lines: bytes = b""

    def __init__(self, settings: Settings, lane: ExpressLane | None = None, **of_uvicorn: Any) -> None:
        super().__init__(settings, **of_uvicorn)
        self._lane = lane or ExpressLane()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        try:
            may_use = self._lane.open and app is self.app and not self.flow.write_paused
            is_express = may_use and _is_simple(cycle.scope, self._settings.max_body)
        except UNKNOWN_INTERNALS as error:
            self._lane.close(error)
            is_express = False
        if not is_express:
            super()._start_asgi_task(cycle, app)
            return
        self._running = cycle
        if cycle.more_body:
            self._awaiting_body = cycle
        else:
            self._estimate(cycle)

    def on_message_complete(self) -> None:
        """Mark the body as complete, and estimate its houses if the request is on the express lane."""
        super().on_message_complete()
        cycle, self._awaiting_body = self._awaiting_body, None
        if cycle:
            self._estimate(cycle)

    def _estimate(self, cycle: RequestResponseCycle) -> None:
        started = time.perf_counter()
        try:
            body = bytes(cycle.body)
            may_compress = body.count(b"{") > _MAX_UNCOMPRESSED_HOUSES and any(
                name == b"accept-encoding" for name, _ in cycle.scope["headers"]
            )
        except UNKNOWN_INTERNALS as error:
            self._lane.close(error)
            super()._start_asgi_task(cycle, self.app)
            return
        if may_compress:
            super()._start_asgi_task(cycle, self.app)
            return
        try:
            service = running_service(self.app)
            houses, job = read(service.estimator, body)
            service.estimator.submit(job, _PendingResponse(self, cycle, houses, body, service.observer, job, started))
        except Exception as error:  # noqa: BLE001  # every error has a problem document
            self.fail(cycle, error, started)

    def fail(self, cycle: RequestResponseCycle, error: Exception, started: float) -> None:
        """Send the problem document for an error. `started` is the request's start time (time.perf_counter)."""

        async def failed(scope: Any, receive: Any, send: Any) -> None:
            response = await answer(Request(scope, receive), error)
            await response(scope, receive, send)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            running = state_of(self.app).running
            if running is None:
                await failed(scope, receive, send)
            else:
                await running.observer.observe(failed, {**scope, "endpoint": PREDICT}, receive, send, started)

        super()._start_asgi_task(cycle, app)

    def answer(self, cycle: RequestResponseCycle, content: bytes, request_id: bytes) -> None:
        """Send a response in a single write. Its body is `content`, the encoded estimates."""
        common = self.server_state.default_headers
        if common is not self._common:  # the date header or the drain period has changed them
            self._common = common
            self._lines = b"HTTP/1.1 200 OK\r\n" + b"".join([b"%b: %b\r\n" % header for header in (*common, *HEADERS)])
        try:
            keep_alive = cycle.keep_alive
        except UNKNOWN_INTERNALS as error:
            self._lane.close(error)
            super()._start_asgi_task(cycle, _app_for(content, request_id))
            return
        if _CLOSE in common:
            keep_alive, close = False, b""
        else:
            close = b"" if keep_alive else b"connection: close\r\n"
        self.transport.write(
            b"%b%bx-request-id: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (self._lines, close, request_id, len(content), content)
        )
        cycle.response_started = cycle.response_complete = True
        if not keep_alive:
            self.transport.close()
        self.on_response_complete()


@define(eq=False)
class _PendingResponse:
    """A response waiting for its estimates. As a PendingResult, it receives the outcome of its EstimateJob."""

    _protocol: ExpressProtocol
    _cycle: RequestResponseCycle
    _houses: object  # as sent by the client: a house, or a list of houses
    _body: bytes
    _observer: Observer
    _job: EstimateJob
    _started: float

    def done(self) -> bool:
        return self._cycle.disconnected

    def set_result(self, predictions: Sequence[Prediction], /) -> None:
        try:
            content = encode_predictions(predictions, self._houses, self._body)
        except Exception as error:  # noqa: BLE001  # other requests of the batch must still be answered
            self._protocol.fail(self._cycle, error, self._started)
        else:
            scope = self._cycle.scope
            names = RequestNames.of(scope["headers"]) if _HAS_REQUEST_NAMES in scope else UNNAMED
            self._protocol.answer(
                self._cycle, content, self._observer.observe_estimate(names, self._started, self._job)
            )

    def set_exception(self, error: Exception, /) -> None:
        if isinstance(error, InvalidHouses) and not isinstance(self._houses, list):
            error = error.alone()
        self._protocol.fail(self._cycle, error, self._started)


def _app_for(content: bytes, request_id: bytes) -> Any:
    """Return an ASGI app that only sends `content`, the encoded estimates, which have been made and stored already."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        headers = [*HEADERS, (b"x-request-id", request_id), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def _is_simple(scope: Any, limit: int) -> bool:
    """Return whether a request is a `POST /predict` with a short JSON body, no query parameters and a JSON response.

    A short body has at most `limit` bytes. As a side effect, mark the scope if the client sent a request id or a trace
    context.
    """
    if scope["path"] != _PATH or scope["method"] != "POST" or scope["query_string"]:
        return False
    length, types = 0, 0
    for name, value in scope["headers"]:
        if name not in _RELEVANT_HEADERS:
            continue
        if name == b"content-length":
            length = int(value) if len(value) < 6 and value.isdigit() else MAX_LOOP_BYTES + 1
        elif name == b"content-type":
            types += 1 if value == b"application/json" else 2
        elif name == b"accept":
            if value != b"*/*" and b"csv" in value.lower():
                return False
        elif name in _NAMING:
            scope[_HAS_REQUEST_NAMES] = True
        else:
            return False
    return types == 1 and 0 < length <= MAX_LOOP_BYTES and length <= limit
