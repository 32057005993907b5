"""The express lane: `POST /predict` answered where its bytes arrive, below ASGI.

A task, two calls of `send` and a router cost a request more than its estimate, validation and record together. So
uvicorn's protocol hands requests of the usual form to the estimator by itself, and writes what comes of them. Whatever
is not of that form goes the ordinary way, through the app.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from starlette.applications import Starlette
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import Prediction
from housepredict.entrypoints.http.predict import HEADERS, SHORT, Estimator, read, written
from housepredict.entrypoints.http.problems import answer

_PATH = "/predict"
_HEAD = b"".join(b"%b: %b\r\n" % each for each in HEADERS)


class ExpressProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the express lane, for an app that is not mounted in another."""

    _boarding: RequestResponseCycle | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        estimator = self._estimator()
        if (
            estimator is None
            or app is not self.app
            or self.flow.write_paused
            or not _is_usual(cycle.scope, estimator.max_body)
        ):
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._boarding = cycle
        else:
            self._estimate(cycle, estimator)

    def on_message_complete(self) -> None:
        """Estimate what was read."""
        super().on_message_complete()
        cycle, self._boarding = self._boarding, None
        estimator = self._estimator()
        if cycle and estimator:
            self._estimate(cycle, estimator)

    def _estimator(self) -> Estimator | None:
        app = self.config.app
        assert isinstance(app, Starlette)  # noqa: S101  # for the type checker: serve() gave it
        estimator: Estimator | None = app.state.estimator
        return estimator

    def _estimate(self, cycle: RequestResponseCycle, estimator: Estimator) -> None:
        body = bytes(cycle.body)
        try:
            given, job = read(estimator, body)
            estimator.submit(job, _Passenger(self, cycle, given, body))
        except Exception as error:  # noqa: BLE001  # every failure has its problem document
            self.fail(cycle, error)

    def fail(self, cycle: RequestResponseCycle, error: Exception) -> None:
        """Answer with a problem document."""

        async def app(scope: Any, receive: Any, send: Any) -> None:
            response = await answer(Request(scope, receive), error)
            await response(scope, receive, send)

        super()._start_asgi_task(cycle, app)

    def answer(self, cycle: RequestResponseCycle, content: bytes) -> None:
        """Answer with an estimate: what `send` would write, at once."""
        head = [b"HTTP/1.1 200 OK\r\n", *(b"%b: %b\r\n" % each for each in self.server_state.default_headers), _HEAD]
        close = b"" if cycle.keep_alive else b"connection: close\r\n"
        self.transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (b"".join(head), close, len(content), content))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()


@frozen(eq=False)
class _Passenger:
    """A request that waits for its estimate; to the coalescer, an outcome."""

    _protocol: ExpressProtocol
    _cycle: RequestResponseCycle
    _given: object
    _body: bytes

    def done(self) -> bool:
        return self._cycle.disconnected

    def set_result(self, predictions: Sequence[Prediction], /) -> None:
        try:
            content = written(predictions, self._given, self._body)
        except Exception as error:  # noqa: BLE001  # others of its batch wait to be told
            self._protocol.fail(self._cycle, error)
        else:
            self._protocol.answer(self._cycle, content)

    def set_exception(self, error: Exception, /) -> None:
        if isinstance(error, InvalidHouses) and not isinstance(self._given, list):
            error = error.alone()
        self._protocol.fail(self._cycle, error)


def _is_usual(scope: Mapping[str, Any], limit: int) -> bool:
    """Whether a request is one to `/predict` whose short JSON body comes in one piece."""
    if scope["path"] != _PATH or scope["method"] != "POST":
        return False
    length, types = 0, 0
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value) if len(value) < 6 and value.isdigit() else SHORT + 1
        elif name == b"content-type":
            types += 1 if value == b"application/json" else 2
        elif name in (b"transfer-encoding", b"expect", b"upgrade"):
            return False
    return types == 1 and 0 < length <= min(SHORT, limit)
