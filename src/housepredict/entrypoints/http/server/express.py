"""The express lane: `POST /predict` answered where its bytes arrive, below ASGI.

A task, a router and two calls of `send` take longer than validating, estimating and storing a house. So the protocol
submits usual requests to the estimator and writes the answers itself. All other requests go through the app, and errors
are answered as they are there. If uvicorn's internals differ, this request and all later ones go through the app.
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
from housepredict.entrypoints.http.routes.predict_routes import HEADERS, PREDICT, SHORT, read, written
from housepredict.entrypoints.http.server.protocol import HttpProtocol
from housepredict.entrypoints.http.service_state import running_service, state_of
from housepredict.entrypoints.settings import Settings

SURPRISES = (AttributeError, TypeError)
"""What the use of other internals raises."""

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
_NAMED = "housepredict.named"
_A_FEW = 16
"""Houses; the answer for more may be compressed, if the client accepts that."""

_log = logging.getLogger(__name__)


@define
class ExpressLane:
    """Whether requests may be answered below ASGI, for all connections of a server."""

    open: bool = True

    def close(self, reason: object) -> None:
        """Send this request and all later ones through the app, and log that once."""
        if self.open:
            self.open = False
            _log.warning(
                "uvicorn %s has other internals than housepredict uses (%s): requests take the ordinary, slower route. "
                "Install the versions that housepredict asks for.",
                uvicorn.__version__,
                reason,
            )


class ExpressProtocol(HttpProtocol):
    """A connection with the express lane, for an app that is not mounted in another."""

    _awaiting_body: RequestResponseCycle | None = None
    # the server's default headers, and the first lines of an answer with them
    _common: Sequence[tuple[bytes, bytes]] = ()
    _lines: bytes = b""

    def __init__(self, settings: Settings, lane: ExpressLane | None = None, **of_uvicorn: Any) -> None:
        super().__init__(settings, **of_uvicorn)
        self._lane = lane or ExpressLane()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        try:
            may = self._lane.open and app is self.app and not self.flow.write_paused
            taken = may and _is_usual(cycle.scope, self._settings.max_body)
        except SURPRISES as error:
            self._lane.close(error)
            taken = False
        if not taken:
            super()._start_asgi_task(cycle, app)
            return
        self._running = cycle
        if cycle.more_body:
            self._awaiting_body = cycle
        else:
            self._estimate(cycle)

    def on_message_complete(self) -> None:
        """Estimate the houses in the body."""
        super().on_message_complete()
        cycle, self._awaiting_body = self._awaiting_body, None
        if cycle:
            self._estimate(cycle)

    def _estimate(self, cycle: RequestResponseCycle) -> None:
        started = time.perf_counter()
        try:
            body = bytes(cycle.body)
            packed = body.count(b"{") > _A_FEW and any(name == b"accept-encoding" for name, _ in cycle.scope["headers"])
        except SURPRISES as error:
            self._lane.close(error)
            super()._start_asgi_task(cycle, self.app)
            return
        if packed:
            super()._start_asgi_task(cycle, self.app)
            return
        try:
            service = running_service(self.app)
            house, job = read(service.estimator, body)
            service.estimator.submit(job, _PendingResponse(self, cycle, house, body, service.observer, job, started))
        except Exception as error:  # noqa: BLE001  # every error has its problem document
            self.fail(cycle, error, started)

    def fail(self, cycle: RequestResponseCycle, error: Exception, started: float) -> None:
        """Answer with a problem document."""

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
        """Answer with an estimate, in one write."""
        common = self.server_state.default_headers
        if common is not self._common:  # a new second has begun, or the drain period
            self._common = common
            self._lines = b"HTTP/1.1 200 OK\r\n" + b"".join([b"%b: %b\r\n" % each for each in (*common, *HEADERS)])
        try:
            keep_alive = cycle.keep_alive
        except SURPRISES as error:
            self._lane.close(error)
            super()._start_asgi_task(cycle, _estimated(content, request_id))
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
    """A request that waits for its estimate: the PendingResult of its job."""

    _protocol: ExpressProtocol
    _cycle: RequestResponseCycle
    _house: object  # as it was sent, or a list
    _body: bytes
    _observer: Observer
    _job: EstimateJob
    _started: float

    def done(self) -> bool:
        return self._cycle.disconnected

    def set_result(self, predictions: Sequence[Prediction], /) -> None:
        try:
            content = written(predictions, self._house, self._body)
        except Exception as error:  # noqa: BLE001  # the other requests of its batch wait
            self._protocol.fail(self._cycle, error, self._started)
        else:
            scope = self._cycle.scope
            names = RequestNames.of(scope["headers"]) if _NAMED in scope else UNNAMED
            self._protocol.answer(self._cycle, content, self._observer.estimated(names, self._started, self._job))

    def set_exception(self, error: Exception, /) -> None:
        if isinstance(error, InvalidHouses) and not isinstance(self._house, list):
            error = error.alone()
        self._protocol.fail(self._cycle, error, self._started)


def _estimated(content: bytes, request_id: bytes) -> Any:
    """An app that answers with an estimate that is stored."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        headers = [*HEADERS, (b"x-request-id", request_id), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def _is_usual(scope: Any, limit: int) -> bool:
    """Whether a request is a `POST /predict` without parameters, with a short JSON body, for an answer in plain JSON.

    Marks the scope if the client sent a request id or a trace.
    """
    if scope["path"] != _PATH or scope["method"] != "POST" or scope["query_string"]:
        return False
    length, types = 0, 0
    for name, value in scope["headers"]:
        if name not in _RELEVANT_HEADERS:
            continue
        if name == b"content-length":
            length = int(value) if len(value) < 6 and value.isdigit() else SHORT + 1
        elif name == b"content-type":
            types += 1 if value == b"application/json" else 2
        elif name == b"accept":
            if value != b"*/*" and b"csv" in value.lower():
                return False
        elif name in _NAMING:
            scope[_NAMED] = True
        else:
            return False
    return types == 1 and 0 < length <= SHORT and length <= limit
