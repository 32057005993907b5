"""Configure logs, and create traces. This is the only module that imports OpenTelemetry.

To keep the request path fast, spans for the steps of a request are created from measured times after the request ends.
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

# the default is shared but never modified
request_fields: ContextVar[Fields] = ContextVar("request_fields", default={})  # noqa: B039
"""Log fields for the current request: its `request_id`, and its `trace_id` if it is traced."""


def set_up_logging(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Configure this process to log to a stream, with the level and format from the settings."""
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def fields_of(record: logging.LogRecord) -> Fields:
    """Return a record's additional fields: those of the request, and those passed as `extra={"fields": …}`."""
    fields: Fields = getattr(record, "fields", {})
    return {**request_fields.get(), **fields}


class JsonFormatter(logging.Formatter):
    """Formats a record as a one-line JSON document. A traceback is written to the field `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of JSON."""
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
    """Formats a record as text. Additional fields follow the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """Return the first line, which contains the message and the additional fields."""
        fields = [f"{name}={value}" for name, value in fields_of(record).items()]
        return " ".join([super().formatMessage(record), *fields])


SERVICE = "housepredict"
"""The service name in traces unless OTEL_SERVICE_NAME is set."""

Step = tuple[str, float, float]
"""A step in handling a request: its name, start time and end time. Times are from time.perf_counter()."""


@frozen(eq=False)
class Trace:
    """The open span of a request or a training run."""

    span: Span
    traceparent: str
    """The W3C `traceparent` that identifies the span, to pass to other services and processes."""
    name: str
    shift: int
    """Nanoseconds to add to time.perf_counter_ns() to get Unix time. The same value for all steps keeps their order."""

    def at(self, moment: float) -> int:
        """Convert a time from time.perf_counter(), in seconds, to Unix time in nanoseconds."""
        return self.shift + int(moment * 1e9)


@define(eq=False)
class Tracing:
    """Creates OpenTelemetry spans for requests and training runs."""

    _provider: TracerProvider
    _tracer: Tracer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tracer = self._provider.get_tracer("housepredict", __version__)

    def begin(self, name: str, traceparent: str | None, started: float, *, serves: bool = True) -> Trace:
        """Begin a span.

        Args:
            name: the name of the span. For a request, this is the HTTP method.
            traceparent: the W3C `traceparent` of the parent span, or None if there is no parent.
            started: the start time from time.perf_counter().
            serves: whether the span is for a request.
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
        """End the span of a request, and create a child span for each step.

        Args:
            trace: the open span.
            route: the route that handled the request, or None if no route matched.
            status: the HTTP status code of the response.
            now: the end time from time.perf_counter().
            *steps: the steps.
        """
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
    """If traces are `wanted`, export them until the context exits.

    Yields the tracer provider, or None if traces aren't wanted. OpenTelemetry's environment variables configure the
    export. The exporter starts a thread, so a process that forks must do so before entering this context.

    Raises:
        MissingExtra: if OpenTelemetry's SDK isn't installed.
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
    """Record a span that covers the body of the context. Without a provider, nothing is recorded.

    `traceparent` is the W3C `traceparent` of the parent span, or None if there is no parent.
    """
    if provider is None:
        yield
        return
    trace = Tracing(provider).begin(name, traceparent, time.perf_counter(), serves=False)
    with trace.span:
        yield
