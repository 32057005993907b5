"""Logs and traces: the only module that knows OpenTelemetry's API and its SDK.

The spans of steps are made once the request has ended, from measured times, so that they don't slow down the hot path.
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

# never changed in place, so that one default may serve all
of_request: ContextVar[Fields] = ContextVar("of_request", default={})  # noqa: B039
"""The `request_id` of the request being served, and its `trace_id` if it has one."""


def set_up_logging(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Log to a stream, in the format that the settings name, for the whole process."""
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def fields_of(record: logging.LogRecord) -> Fields:
    """The fields of a line beside its message: those given as `extra={"fields": …}`, and those of the request."""
    fields: Fields = getattr(record, "fields", {})
    return {**of_request.get(), **fields}


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON document in one line, with a traceback as the text of `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
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
    """Formats a record as text, with its fields after the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """The first line."""
        fields = [f"{name}={value}" for name, value in fields_of(record).items()]
        return " ".join([super().formatMessage(record), *fields])


SERVICE = "housepredict"
"""The service's name unless OTEL_SERVICE_NAME gives another."""

Step = tuple[str, float, float]
"""A step of a request: its name, its start and its end, by time.perf_counter."""


@frozen(eq=False)
class Trace:
    """The open span of a request or a training."""

    span: Span
    traceparent: str
    """The span's W3C `traceparent`, to pass on to other services and processes."""
    name: str
    shift: int
    """Nanoseconds from time.perf_counter to OpenTelemetry's time, the same for all steps: they keep their order."""

    def at(self, moment: float) -> int:
        """A time of time.perf_counter in OpenTelemetry's nanoseconds."""
        return self.shift + int(moment * 1e9)


@define(eq=False)
class Tracing:
    """Makes the spans of an app."""

    _provider: TracerProvider
    _tracer: Tracer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tracer = self._provider.get_tracer("housepredict", __version__)

    def begin(self, name: str, traceparent: str | None, started: float, *, serves: bool = True) -> Trace:
        """Begin a span that started at a time of time.perf_counter, below the span that `traceparent` names."""
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
        """End the span of a request that had these steps; `route` is None where no route matched."""
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
    """Send traces where OpenTelemetry's variables say until the context is left; None if they are not wanted.

    The exporter has a thread: a process that forks enters this context afterwards. Raises MissingExtra.
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
    """A span around the body of the context, if there is a provider."""
    if provider is None:
        yield
        return
    trace = Tracing(provider).begin(name, traceparent, time.perf_counter(), serves=False)
    with trace.span:
        yield
