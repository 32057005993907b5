"""Traces, as OpenTelemetry has them: the only place that knows its API and its SDK.

A span is made with the times at which it began and ended, so that the hot path is not held up by one that is under way.
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
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

Fields = Mapping[str, Any]

# never changed in place, so that one default may serve all
of_request: ContextVar[Fields] = ContextVar("of_request", default={})  # noqa: B039
"""What names the request that is served: `request_id`, and `trace_id` where it has one."""


def set_up_logging(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Log to a stream, in the format that the settings name, for the whole process."""
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def fields_of(record: logging.LogRecord) -> Fields:
    """What a line says beside its message: given as `extra={"fields": …}`, and of the request that it is about."""
    fields: Fields = getattr(record, "fields", {})
    return {**of_request.get(), **fields}


class JsonFormatter(logging.Formatter):
    """A record as a document in one line; a traceback is the text of its `exception`."""

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
    """A record to read, with its fields behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """The first line."""
        fields = [f"{name}={value}" for name, value in fields_of(record).items()]
        return " ".join([super().formatMessage(record), *fields])


SERVICE = "housepredict"
"""The name of the service, where OTEL_SERVICE_NAME gives no other."""

Step = tuple[str, float, float]
"""A part of what was done: its name, and when it began and ended, by time.perf_counter."""


@frozen(eq=False)
class Trace:
    """A request, or a training, that is under way."""

    span: Span
    traceparent: str
    """What whoever does a part of it is told, as W3C has it."""
    name: str
    shift: int
    """Nanoseconds from time.perf_counter to OpenTelemetry's time, one for all parts: they keep their order."""

    def at(self, moment: float) -> int:
        """A moment of time.perf_counter as OpenTelemetry counts time."""
        return self.shift + int(moment * 1e9)


@define(eq=False)
class Tracing:
    """Makes the spans of one app."""

    _provider: TracerProvider
    _tracer: Tracer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tracer = self._provider.get_tracer("housepredict", __version__)

    def begin(self, name: str, traceparent: str | None, started: float, *, serves: bool = True) -> Trace:
        """A span that began then, by time.perf_counter, as a part of what `traceparent` names."""
        from opentelemetry.trace import SpanKind

        kind = SpanKind.SERVER if serves else SpanKind.INTERNAL
        attributes = {"http.request.method": name} if serves else {}
        shift = time.time_ns() - time.perf_counter_ns()
        began = shift + int(started * 1e9)
        span = self._tracer.start_span(name, _context(traceparent), kind, attributes, start_time=began)
        of = span.get_span_context()
        return Trace(span, f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}", name, shift)

    def end(self, trace: Trace, route: str | None, status: int, now: float, *steps: Step) -> None:
        """End the span of a request, which had these parts; without a `route`, none was there for it."""
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
    """What sends traces to where OpenTelemetry's variables say, until the end; None if they are not wanted.

    It has a thread: a process that forks makes it afterwards. Raises MissingExtra.
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
    """A span around what is done, if there is who makes one."""
    if provider is None:
        yield
        return
    trace = Tracing(provider).begin(name, traceparent, time.perf_counter(), serves=False)
    with trace.span:
        yield


def _context(traceparent: str | None) -> Context | None:
    if traceparent is None:
        return None
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    _, trace_id, span_id, flags = traceparent.split("-")[:4]
    above = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(above))
