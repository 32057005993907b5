"""Tracing: the spans that OpenTelemetry gets for requests."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import pytest
from attrs import frozen
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.testclient import TestClient

from housepredict.domain.errors import MissingExtra
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.telemetry import configured, traced
from tests.http_service import LAB_HOUSE, Faulty, application, lab_version

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@frozen
class Traced:
    client: TestClient
    exporter: InMemorySpanExporter

    def spans(self) -> Mapping[str, ReadableSpan]:
        return {each.name: each for each in self.exporter.get_finished_spans()}


def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


def app(made: Application) -> Iterator[Traced]:
    exporter = InMemorySpanExporter()
    with TestClient(asgi_app(application=made, tracer_provider=provider(exporter))) as client:
        yield Traced(client, exporter)


@pytest.fixture
def service() -> Iterator[Traced]:
    yield from app(application(lab_version()))


def parent_of(span: ReadableSpan) -> tuple[str, str]:
    assert span.parent
    return f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}"


def ids_of(span: ReadableSpan) -> tuple[str, str]:
    context = span.get_span_context()
    assert context
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def test_request_span_has_estimate_and_commit_children(service: Traced) -> None:
    service.client.post("/predict", json=LAB_HOUSE, headers={"traceparent": PARENT})
    spans = service.spans()
    assert spans.keys() == {"POST /predict", "estimate", "commit"}
    request = spans["POST /predict"]
    assert parent_of(request) == (TRACE, SPAN)
    assert request.kind is SpanKind.SERVER
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
    }
    times = []
    for each in (spans["estimate"], spans["commit"]):
        assert parent_of(each) == ids_of(request)
        times += [each.start_time or 0, each.end_time or 0]
    assert times == sorted(times)


def test_request_without_parent_starts_trace(service: Traced) -> None:
    service.client.get("/models/lab", headers={"traceparent": "nonsense"})
    assert service.spans()["GET /models/{name}"].parent is None


def test_unsampled_request_has_no_span(service: Traced) -> None:
    service.client.get("/health", headers={"traceparent": PARENT[:-2] + "00"})
    assert service.spans() == {}


def test_unknown_path_is_not_in_span(service: Traced) -> None:
    service.client.get("/private/street")
    span = service.spans()["GET"]
    assert "private" not in span.to_json()
    assert span.status.status_code is StatusCode.UNSET


def test_failure_sets_span_status() -> None:
    made = application(lab_version())
    made.storage.predictions = Faulty(fault=ZeroDivisionError())
    made.storage.predictions.fault = None
    for service in app(made):
        made.storage.predictions.fault = ZeroDivisionError()
        service.client.post("/predict", json=LAB_HOUSE)
        assert service.spans()["POST /predict"].status.status_code is StatusCode.ERROR


def test_access_log_names_trace(service: Traced, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "housepredict.access")
    service.client.get("/health")
    trace_id, span_id = ids_of(service.spans()["GET /health"])
    [fields] = [vars(each)["fields"] for each in caplog.records if each.name == "housepredict.access"]
    assert fields["trace_id"] == trace_id
    assert fields["traceparent"].startswith(f"00-{trace_id}-{span_id}-")


def test_training_span_is_child_of_request() -> None:
    exporter = InMemorySpanExporter()
    with traced(provider(exporter), "train", PARENT):
        pass
    [span] = exporter.get_finished_spans()
    assert (span.name, parent_of(span)) == ("train", (TRACE, SPAN))


def test_opentelemetry_is_not_loaded_without_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with configured(False) as nothing, traced(nothing, "train", PARENT):
        assert nothing is None
    with pytest.raises(MissingExtra, match=r"housepredict\[otel\]"), configured(True):
        pass
