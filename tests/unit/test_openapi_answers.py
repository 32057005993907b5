"""What is answered is what the OpenAPI document says, to the last property."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.openapi.document import OPERATIONS
from housepredict.entrypoints.pages.assets import assets
from tests.http_service import (
    LAB_HOUSE,
    FakeTrainer,
    application,
    lab_version,
    post,
    remembering_version,
    served,
    sure_version,
    trainable,
)
from tests.openapi_document import assert_told, document_of, operations

V2 = "/v2/models/{name}"
INPUTS = [{"name": name, "datatype": "INT64", "shape": [1], "data": [value]} for name, value in LAB_HOUSE.items()]


@pytest.fixture
def client() -> Iterator[TestClient]:
    with served(application(sure_version(), remembering_version())) as made:
        yield made


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/ready", "/models", "/drift", "/accuracy"])
def test_of_routes_without_parameters(client: TestClient, path: str) -> None:
    post(client, json.dumps([LAB_HOUSE] * 3))
    answer = client.get(path)
    assert answer.status_code == 200
    assert_told(document_of(client), f"GET {path}", answer)


def test_of_a_service_that_is_not_ready() -> None:
    with served(application()) as client:
        assert_told(document_of(client), "GET /health/ready", client.get("/health/ready"))
        assert_told(document_of(client), "POST /predict", client.post("/predict", json={}))


@pytest.mark.parametrize(
    "body",
    [LAB_HOUSE, [LAB_HOUSE], {**LAB_HOUSE, "size": 10**9}, {}, [], {"size": "big"}, {**LAB_HOUSE, "colour": "red"}],
    ids=repr,
)
def test_to_estimates(body: object) -> None:
    with served(application(sure_version())) as client:
        assert_told(document_of(client), "POST /predict", client.post("/predict", json=body))


@pytest.mark.parametrize("explain", ["true", "perhaps"])
def test_to_explanations(explain: str) -> None:
    with served(application(lab_version())) as client:
        answer = client.post(f"/predict?explain={explain}", json=LAB_HOUSE)
        assert_told(document_of(client), "POST /predict", answer)


def test_of_what_was_estimated(client: TestClient) -> None:
    client.post("/predict", json=LAB_HOUSE)
    assert_told(document_of(client), "GET /predictions", client.get("/predictions"))


def test_of_versions_and_their_promotions(client: TestClient) -> None:
    document = document_of(client)
    for name in ("sure", "none"):
        assert_told(document, "GET /models/{name}", client.get(f"/models/{name}"))
        assert_told(document, "POST /models/{name}/promote", client.post(f"/models/{name}/promote"))
    assert_told(document, "POST /models/rollback", client.post("/models/rollback"))


def test_of_sales(client: TestClient) -> None:
    document, known = document_of(client), client.post("/predict", json=LAB_HOUSE).json()["id"]
    for prediction in (known, str(uuid4())):
        path, sale = f"/predictions/{prediction}/sale", {"price": 250_000, "date": "2024-06-01"}
        assert_told(document, "GET /predictions/{id}/sale", client.get(path))
        assert_told(document, "POST /predictions/{id}/sale", client.post(path, json=sale))
        assert_told(document, "GET /predictions/{id}/sale", client.get(path))
        for body in (sale | {"prediction": prediction}, [sale | {"prediction": prediction}], {}):
            assert_told(document, "POST /sales", client.post("/sales", json=body))


def test_of_trainings() -> None:
    with served(trainable(application(lab_version()), FakeTrainer())) as client:
        document = document_of(client)
        assert_told(document, "POST /train", client.post("/train"))
        later = client.post("/train", headers={"Prefer": "respond-async"})
        assert later.status_code == 202
        assert_told(document, "POST /train", later)
        assert_told(document, "POST /train", client.post("/train?effort=much"))
        assert_told(document, "GET /trainings", client.get("/trainings"))
        for path in (later.headers["Location"], f"/trainings/{uuid4()}"):
            assert_told(document, "GET /trainings/{id}", client.get(path))
            assert_told(document, "DELETE /trainings/{id}", client.delete(path))


def test_to_tables_of_houses(client: TestClient) -> None:
    document, csv = document_of(client), {"Content-Type": "text/csv"}
    for table in ("size,bedrooms,age\n2500,3,10\n", "size\n2500\n", "size,colour\n1,red\n"):
        for accept in ("*/*", "text/csv"):
            answer = client.post("/predict", content=table, headers={**csv, "Accept": accept})
            assert_told(document, "POST /predict", answer)
    assert_told(document, "GET /predictions", client.get("/predictions", headers={"Accept": "text/csv"}))


@pytest.mark.parametrize("route", ["POST /predict", "POST /sales", "POST /models/rollback", f"POST {V2}/infer"])
def test_to_bodies_in_gzip(client: TestClient, route: str) -> None:
    document, path = document_of(client), route.removeprefix("POST ").replace("{name}", "housepredict")
    for coding, body in {"gzip": gzip.compress(b"{}"), "x-gzip": b"{}", "br": b"{}"}.items():
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        assert_told(document, route, client.post(path, content=body, headers=headers))


def test_of_a_prediction_that_is_erased(client: TestClient) -> None:
    document, known = document_of(client), client.post("/predict", json=LAB_HOUSE).json()["id"]
    sale, key = {"price": 250_000, "date": "2024-06-01"}, {"Idempotency-Key": "a-key"}
    client.post(f"/predictions/{known}/sale", json=sale, headers=key)
    for method in ("GET", "DELETE", "GET"):
        assert_told(document, f"{method} /predictions/{{id}}", client.request(method, f"/predictions/{known}"))
    for id_ in (uuid4(), "7"):
        assert_told(document, "DELETE /predictions/{id}", client.delete(f"/predictions/{id_}"))
    again = client.post(f"/predictions/{known}/sale", json=sale, headers=key)
    assert again.status_code == 410
    assert_told(document, "POST /predictions/{id}/sale", again)


def test_of_pages_and_what_they_load(client: TestClient) -> None:
    document, browser = document_of(client), {"Accept": "text/html"}
    assert_told(document, "GET /", client.get("/", headers=browser))
    assert_told(document, "GET /docs", client.get("/docs"))
    for name in ("lab", "none"):
        assert_told(document, "GET /models/{name}", client.get(f"/models/{name}", headers=browser))
    for name in (*assets().files, "none.js"):
        assert_told(document, "GET /assets/{digest}/{name}", client.get(f"/assets/{assets().digest}/{name}"))


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text; version=1.0.0"])
def test_of_metrics(client: TestClient, accept: str) -> None:
    assert_told(document_of(client), "GET /metrics", client.get("/metrics", headers={"Accept": accept}))


@pytest.mark.parametrize("path", [V2, f"{V2}/versions/{{version}}"])
def test_of_inferences(client: TestClient, path: str) -> None:
    document = document_of(client)
    for name, version in (("none", "lab"), ("housepredict", "none"), ("housepredict", "lab")):
        there = path.replace("{name}", name).replace("{version}", version)
        assert_told(document, f"GET {path}", client.get(there))
        assert_told(document, f"GET {path}/ready", client.get(f"{there}/ready"))
        for binary in (False, True):
            body = {"id": "1", "inputs": INPUTS, "parameters": {"binary_data_output": binary}}
            assert_told(document, f"POST {path}/infer", client.post(f"{there}/infer", json=body))
        for content in (b"", b"{}", b" " * 2_000_000):
            assert_told(document, f"POST {path}/infer", client.post(f"{there}/infer", content=content))


@pytest.mark.parametrize("versions", [[], [lab_version()]], ids=["no model", "a model"])
def test_of_servers_of_inferences(versions: list[Any]) -> None:
    with served(application(*versions)) as client:
        document = document_of(client)
        for path in ("/v2", "/v2/health/live", "/v2/health/ready"):
            assert_told(document, f"GET {path}", client.get(path))
        assert_told(document, f"GET {V2}", client.get("/v2/models/housepredict"))
        assert_told(document, f"GET {V2}/ready", client.get("/v2/models/housepredict/ready"))


def each_answer(client: TestClient) -> Iterator[tuple[str, Response]]:
    """What every route answers to a request that makes little sense."""
    for route in OPERATIONS:
        method, _, path = route.partition(" ")
        yield route, client.request(method, re.sub(r"\{\w+\}", "housepredict", path))


def test_of_an_app_that_was_not_started() -> None:
    made = application(lab_version())
    with served(made) as client:
        document = document_of(client)
    answers = dict(each_answer(TestClient(asgi_app(application=made))))
    for route, operation in operations(document).items():
        assert (answers[route].status_code == 503) == ("`not-started`" in unavailable(document, operation))


def unavailable(document: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    """What is said of 503."""
    told = operation["responses"]["503"]
    if "$ref" in told:
        told = document["components"]["responses"]["503"]
    words: str = told["description"]
    return words
