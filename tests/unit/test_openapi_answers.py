"""Responses match the OpenAPI document, down to each property."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.routes.route_table import OPERATIONS
from housepredict.entrypoints.pages.assets import assets
from tests.golden.exchanges import Service
from tests.golden.http_requests import REQUESTS
from tests.golden.world import http_service
from tests.http_service import application, lab_version, served
from tests.openapi_document import assert_documented, document_of, operations

SERVICES = {
    f"{group}: {service.name}": service
    for group, services in REQUESTS.items()
    for service in services
    if service.options.get("started", True)
}


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_recorded_responses_match_document(service: Service, tmp_path: Path) -> None:
    with http_service(service.world, tmp_path, service.environment, **service.options) as client:
        document = document_of(client)
        routes = {re.sub(r"\{\w+\}", "[^/]+", route): route for route in operations(document)}
        for request in service.requests:
            line, answer = request.line.partition("?")[0], request.send(client)
            for pattern, route in routes.items():
                if re.fullmatch(pattern, line):
                    assert_documented(document, route, answer)


def test_other_responses_match_document(tmp_path: Path) -> None:
    with http_service("houses", tmp_path, {}) as client:
        document = document_of(client)
        metrics = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        assert_documented(document, "GET /metrics", metrics)
        for name in assets().files:
            assert_documented(document, "GET /assets/{digest}/{name}", client.get(f"/assets/{assets().digest}/{name}"))
        for route in ("POST /sales", "POST /models/rollback", "POST /v2/models/{name}/infer"):
            for coding, body in {"gzip": gzip.compress(b"{}"), "x-gzip": b"{}", "br": b"{}"}.items():
                headers = {"Content-Type": "application/json", "Content-Encoding": coding}
                path = route.removeprefix("POST ").replace("{name}", "housepredict")
                assert_documented(document, route, client.post(path, content=body, headers=headers))


def answers_of_all_routes(client: TestClient) -> Iterator[tuple[str, Response]]:
    """Yield the response of every route to a minimal request."""
    for route in OPERATIONS:
        method, _, path = route.partition(" ")
        yield route, client.request(method, re.sub(r"\{\w+\}", "housepredict", path))


def test_unstarted_app_matches_document() -> None:
    made = application(lab_version())
    with served(made) as client:
        document = document_of(client)
    answers = dict(answers_of_all_routes(TestClient(asgi_app(application=made))))
    for route, operation in operations(document).items():
        assert (answers[route].status_code == 503) == ("`not-started`" in unavailable_description(document, operation))


def unavailable_description(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    """Return the description of the 503 response."""
    response = operation["responses"]["503"]
    if "$ref" in response:
        response = document["components"]["responses"]["503"]
    description: str = response["description"]
    return description
