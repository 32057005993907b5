"""Request ids, request metrics, the access log and traces."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from housepredict.entrypoints.http.batching import JOB, EstimateJob
from housepredict.entrypoints.http.problems import CLIENT_CLOSED_REQUEST, PROBLEM, Problem
from housepredict.entrypoints.http.request_metrics import SECONDS, Meter, Row
from housepredict.entrypoints.telemetry import request_fields

if TYPE_CHECKING:
    from housepredict.entrypoints.telemetry import Step, Tracing

_log = logging.getLogger("housepredict.access")

SLOW_S = 1.0
"""A request is slow if it takes at least this long, in seconds."""

SAMPLING_INTERVAL_S = 1.0
"""The minimum time in seconds between log lines in `sampled` mode. Slow requests and errors are always logged."""


@define(eq=False)
class AccessLog:
    """The access log. Settings.access_log describes its modes. Not thread-safe."""

    _mode: str
    _next: float = field(default=0.0, init=False)  # the time of the next sample
    _passed: int = field(default=0, init=False)  # requests since the last sample

    def stands_for(self, is_error: bool, seconds: float, now: float) -> int:
        """Count a request, and decide whether to log it. `seconds` is its duration, and `now` is the current time.

        Returns:
            The number of requests that the log line represents: this request, and the unlogged requests before it. If
            the number is 0, don't log this request.
        """
        if is_error or seconds >= SLOW_S or self._mode == "all":
            return int(self._mode != "none")
        self._passed += 1
        if self._mode != "sampled" or now < self._next:
            return 0
        self._next, passed, self._passed = now + SAMPLING_INTERVAL_S, self._passed, 0
        return passed

    def write(self, method: str, route: str, status: int, seconds: float, stands_for: int, **more: Any) -> None:
        """Log a request. The line contains the route template instead of the path, and no client data.

        `stands_for` is the number of requests that this line represents, and `more` contains additional fields.
        """
        fields = {
            **{name: value for name, value in more.items() if value is not None},
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
            "stands_for": stands_for,
        }
        level = logging.WARNING if status >= 500 else logging.INFO
        _log.log(level, "%s %s %d", method, route, status, extra={"fields": fields})


UNKNOWN = "unknown"
"""The route shown in metrics and logs for a request that matches no route."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
_OTHER = "_OTHER"  # OpenTelemetry's name for unknown methods
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")
# W3C Trace Context: ids must not be all zeros, and only versions after 00 may have more fields.
_TRACE_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?P<more>-.*)?")

Headers = Iterable[tuple[bytes, bytes]]


@frozen
class RequestNames:
    """The `X-Request-Id` and `traceparent` headers of a request. Each is None if missing or malformed."""

    id: bytes | None = None
    traceparent: str | None = None

    @classmethod
    def of(cls, headers: Headers) -> RequestNames:
        """Parse the headers of a request."""
        id_ = traceparent = None
        for name, value in headers:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                id_ = value
            elif name == b"traceparent":
                traceparent = _traceparent(value)
        return cls(id_, traceparent)


UNNAMED = RequestNames()


def _traceparent(value: bytes) -> str | None:
    match = _TRACE_PARENT.fullmatch(value)
    return None if not match or (match["more"] and value.startswith(b"00")) else value.decode("latin-1")


@define(eq=False)
class Observer:
    """Counts, logs and traces an app's requests. Use it only in the app's event loop."""

    meter: Meter
    _access_log: AccessLog
    tracing: Tracing | None = None
    _routes: Mapping[object, str] = field(factory=dict)
    _ids: Callable[[], int] = field(factory=lambda: count().__next__, init=False)
    # A prefix and a counter are unique enough, and a microsecond faster than a random id.
    _prefix: bytes = field(factory=lambda: secrets.token_hex(8).encode(), init=False)
    _estimated: Row = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._estimated = self.meter.request("POST", "/predict", 200)

    @classmethod
    def of(cls, routes: Sequence[BaseRoute], meter: Meter, access_log: str, tracing: Tracing | None) -> Observer:
        """Create an observer for an app with these routes."""
        paths: dict[object, str] = {route.endpoint: route.path for route in routes if isinstance(route, Route)}
        return cls(meter, AccessLog(access_log), tracing, paths)

    def request_id(self, names: RequestNames) -> bytes:
        """Return the request id that the client sent, or a new one."""
        return names.id or b"%b%08x" % (self._prefix, self._ids())

    def observe_estimate(self, names: RequestNames, started: float, job: EstimateJob) -> bytes:
        """Count, log and trace a `POST /predict` request that bypasses ASGI, and return its request id.

        Call this just before the response is sent. The module `express` explains why such requests bypass ASGI.

        `started` is the time.perf_counter() at which the request started.
        """
        now = time.perf_counter()
        seconds = now - started
        self._estimated.observe(SECONDS, seconds)
        id_ = self.request_id(names)
        trace = self.tracing and self.tracing.begin("POST", names.traceparent, started)
        if self.tracing and trace:
            self.tracing.end(trace, "/predict", 200, now, *_steps(job))
        stands_for = self._access_log.stands_for(False, seconds, now)
        if stands_for:
            fields = _fields(id_, trace.traceparent if trace else names.traceparent)
            version = job.serving.version.name
            self._access_log.write("POST", "/predict", 200, seconds, stands_for, **fields, model_version=version)
        return id_

    async def observe(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, started: float) -> None:
        """Run an app for a request, and count, log and trace the request.

        `started` is the time.perf_counter() at which the request started.
        """
        names, status = RequestNames.of(scope["headers"]), 500  # if the app doesn't respond
        id_, method = self.request_id(names), scope["method"] if scope["method"] in _METHODS else _OTHER
        trace = self.tracing and self.tracing.begin(method, names.traceparent, started)
        fields = _fields(id_, trace.traceparent if trace else names.traceparent)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", id_)]}
            await send(message)

        token = request_fields.set(fields)
        try:
            await app(scope, receive, answer)
        finally:
            request_fields.reset(token)
            now, route = time.perf_counter(), self._routes.get(scope.get("endpoint"), UNKNOWN)
            self.meter.request(method, route, status).observe(SECONDS, now - started)
            problem: Problem | None = scope.get(PROBLEM)
            job: EstimateJob | None = scope.get(JOB)
            if problem:
                self.meter.count_refusal(problem.name, [violation.rule for violation in problem.violations])
            if self.tracing and trace:
                self.tracing.end(trace, None if route == UNKNOWN else route, status, now, *(_steps(job) if job else ()))
            is_error = status >= 400 and status != CLIENT_CLOSED_REQUEST
            stands_for = self._access_log.stands_for(is_error, now - started, now)
            if stands_for:
                more = {"problem": problem and problem.name, "model_version": job and job.serving.version.name}
                self._access_log.write(method, route, status, now - started, stands_for, **fields, **more)


def _steps(job: EstimateJob) -> Sequence[Step]:
    """Return the steps of a job for its trace, or none if the times of the steps were not recorded."""
    if job.steps is None:
        return ()
    began, commit, committed = job.steps
    return ("estimate", began, commit), ("commit", commit, committed)


def _fields(id_: bytes, traceparent: str | None) -> dict[str, str]:
    fields = {"request_id": id_.decode()}
    if traceparent:
        fields |= {"traceparent": traceparent, "trace_id": traceparent[3:35]}
    return fields
