"""Logs and traces. This is the only module that imports OpenTelemetry.

The spans of a request's steps are created after it has ended, from measured times, to keep them off the hot path.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from attrs import define, field, frozen

from housepredict.domain.errors import MissingExtra
from housepredict.entrypoints.settings import Settings
from housepredict.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

Fields = Mapping[str, Any]

# the default is shared, and never modified
request_fields: ContextVar[Fields] = ContextVar("request_fields", default={})  # noqa: B039
"""The `request_id` of the current request, and its `trace_id` if it has one."""


def set_up_logging(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Configure logging for the process: to a stream, with the level and format in the settings."""
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def fields_of(record: logging.LogRecord) -> Fields:
    """Return the additional fields of a record: those of the request, and those passed as `extra={"fields": …}`."""
    fields: Fields = getattr(record, "fields", {})
    return {**request_fields.get(), **fields}


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON document on one line. `exception` holds the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as text, with the additional fields after the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """Return the first line."""
        fields = [f"{name}={value}" for name, value in fields_of(record).items()]
        return " ".join([super().formatMessage(record), *fields])


SERVICE = "housepredict"
"""The default of OTEL_SERVICE_NAME."""

Step = tuple[str, float, float]
"""A step of a request: its name, its start and its end, both from time.perf_counter()."""


@frozen(eq=False)
class Trace:
    """The open span of a request or a training."""

    span: Span
    traceparent: str
    """The span's W3C `traceparent`, to pass to other services and processes."""
    name: str
    shift: int
    """Nanoseconds from time.perf_counter() to Unix time. A single value for all steps preserves their order."""

    def at(self, moment: float) -> int:
        """Convert a time of time.perf_counter(), in seconds, to Unix time in nanoseconds."""
        return self.shift + int(moment * 1e9)


@define(eq=False)
class Tracing:
    """Creates the spans of an app."""

    _provider: TracerProvider
    _tracer: Tracer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tracer = self._provider.get_tracer("housepredict", __version__)

    def begin(self, name: str, traceparent: str | None, started: float, *, serves: bool = True) -> Trace:
        """Begin the span of a request (its `name` is the HTTP method) or another span, below `traceparent` if any.

        `started` is from time.perf_counter().
        """
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = traceparent and TraceContextTextMapPropagator().extract({"traceparent": traceparent})
        kind = SpanKind.SERVER if serves else SpanKind.INTERNAL
        attributes = {"http.request.method": name} if serves else {}
        shift = time.time_ns() - time.perf_counter_ns()
        began = shift + int(started * 1e9)
        span = self._tracer.start_span(name, parent or None, kind, attributes, start_time=began)
        context = span.get_span_context()
        traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        return Trace(span, traceparent, name, shift)

    def end(self, trace: Trace, route: str | None, status: int, now: float, *steps: Step) -> None:
        """End the span of a request with these steps. `route` is None if no route matched."""
        from opentelemetry.trace import StatusCode, set_span_in_context

        span = trace.span
        for name, began, ended in steps:
            step = self._tracer.start_span(name, set_span_in_context(span), start_time=trace.at(began))
            step.end(trace.at(ended))
        span.set_attribute("http.response.status_code", status)
        if route is not None:
            span.update_name(f"{trace.name} {route}")
            span.set_attribute("http.route", route)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(trace.at(now))


@contextmanager
def configured(wanted: bool) -> Iterator[SdkTracerProvider | None]:
    """Export traces, as OpenTelemetry's variables configure it, until the context exits. Yields None if not `wanted`.

    The exporter runs a thread, so a process has to fork before it enters this context.

    Raises:
        MissingExtra: without OpenTelemetry's SDK.
    """
    if not wanted:
        yield None
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtra.named("otel", "Sending traces") from error
    resource = Resource.create()
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield provider
    finally:
        provider.shutdown()


@contextmanager
def traced(provider: TracerProvider | None, name: str, traceparent: str | None) -> Iterator[None]:
    """Record a span for the body of the context, if there is a provider."""
    if provider is None:
        yield
        return
    trace = Tracing(provider).begin(name, traceparent, time.perf_counter(), serves=False)
    with trace.span:
        yield
