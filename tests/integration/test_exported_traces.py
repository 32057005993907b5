"""Traces that a service, including its express lane, sends to an OTLP receiver over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from tests.integration.services import LAB_HOUSE, post, running, send

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@contextmanager
def receiver() -> Iterator[tuple[str, Queue[ExportTraceServiceRequest]]]:
    received: Queue[ExportTraceServiceRequest] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # name required by http.server
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            received.put(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


def test_traces_are_sent_to_configured_endpoint(tmp_path: Path) -> None:
    with receiver() as (url, received):
        with running(tmp_path, "--demo", OTEL_EXPORTER_OTLP_ENDPOINT=url) as service:
            named = f"traceparent: {PARENT}\r\nHost".encode()
            assert send(service, post(LAB_HOUSE).replace(b"Host", named)).status == 200
            assert service.stop() == 0  # stopping sends the remaining traces
        resources: list[ResourceSpans] = []
        while not received.empty():
            resources += received.get().resource_spans
    attributes = [each for of in resources for each in of.resource.attributes]
    assert {each.value.string_value for each in attributes if each.key == "service.name"} == {"housepredict"}
    spans = {each.name: each for of in resources for scope in of.scope_spans for each in scope.spans}
    request = spans["POST /predict"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, SPAN)
    assert spans["commit"].parent_span_id == spans["estimate"].parent_span_id == request.span_id


def test_unreachable_trace_receiver_does_not_affect_service(tmp_path: Path) -> None:
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with running(tmp_path, "--demo", **where) as service:
        assert send(service, post(LAB_HOUSE)).status == 200
        assert service.stop() == 0
