"""`POST /predict` with an `Idempotency-Key`, over in-memory storage."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from attrs import evolve
from httpx2 import Response
from starlette.testclient import TestClient

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.entrypoints.composition import Application
from tests.http_service import LAB_HOUSE, LAB_SCHEMA, Faulty, application, assert_problem, broken, lab_version, served

BODY = json.dumps(LAB_HOUSE).encode()
CSV = b"size,bedrooms,age\n2500,3,10\n900,1,5\n"


@pytest.fixture
def app() -> Application:
    return application(lab_version())


@pytest.fixture
def client(app: Application) -> Iterator[TestClient]:
    with served(app) as client:
        yield client


def send(client: TestClient, body: bytes = BODY, key: str = "deed-4711", **headers: str) -> Response:
    base_headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    return client.post(
        "/predict", content=body, headers=base_headers | {k.replace("_", "-"): v for k, v in headers.items()}
    )


@pytest.mark.parametrize(
    ("body", "headers", "houses"),
    [
        (BODY, {}, 1),
        (b"[%b,%b]" % (BODY, BODY), {}, 2),
        (CSV, {"Content_Type": "text/csv"}, 2),
        (CSV, {"Content_Type": "text/csv", "Accept": "text/csv"}, 2),
        (BODY, {"Accept": "text/csv"}, 1),
    ],
)
def test_repeated_request_gets_the_same_response(
    client: TestClient, app: Application, body: bytes, headers: dict[str, str], houses: int
) -> None:
    first, repeated = send(client, body, **headers), send(client, body, **headers)
    assert (first.status_code, first.content) == (repeated.status_code, repeated.content) == (200, repeated.content)
    assert len(app.storage.predictions.recent(10)) == houses


@pytest.mark.parametrize("has_model", [True, False], ids=["another model", "no model"])
def test_repeated_csv_is_replayed_after_model_change(client: TestClient, app: Application, has_model: bool) -> None:
    first = send(client, CSV, Content_Type="text/csv")
    other_app = application(
        *([lab_version(schema=evolve(LAB_SCHEMA, features=LAB_SCHEMA.features[:2]))] if has_model else [])
    )
    other_app.storage.predictions, other_app.storage.prediction_keys = (
        app.storage.predictions,
        app.storage.prediction_keys,
    )
    with served(other_app) as later:
        repeated = send(later, CSV, Content_Type="text/csv")
    assert (first.status_code, first.content) == (repeated.status_code, repeated.content) == (200, repeated.content)


def test_keys_of_sales_and_predictions_are_separate(client: TestClient) -> None:
    sale = {"prediction": send(client).json()["id"], "price": 200_000, "date": "2025-06-02"}
    assert client.post("/sales", json=sale, headers={"Idempotency-Key": "deed-4711"}).status_code == 201


def test_violations_point_into_the_body(client: TestClient) -> None:
    wrong = {**LAB_HOUSE, "size": -1}
    alone, among = send(client, json.dumps(wrong).encode()), send(client, json.dumps([LAB_HOUSE, wrong]).encode())
    assert broken(assert_problem(alone, 422, "invalid-houses")) == [("/size", "bounds")]
    assert broken(assert_problem(among, 422, "invalid-houses")) == [("/1/size", "bounds")]


@pytest.mark.parametrize("key", ["", "two words", "x" * 256])
def test_invalid_key_is_rejected(client: TestClient, key: str) -> None:
    assert broken(assert_problem(send(client, key=key), 422, "invalid-houses")) == [("", "text")]


def test_repeated_key_header_is_rejected(client: TestClient) -> None:
    headers = [("Content-Type", "application/json"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = client.post("/predict", content=BODY, headers=headers)
    assert broken(assert_problem(answer, 422, "invalid-houses")) == [("", "duplicate")]


def test_request_can_be_repeated_after_storage_failure() -> None:
    app = application(lab_version())
    app.storage.predictions = repository = Faulty(fault=RepositoryUnavailable())
    with served(app) as client:
        assert_problem(send(client), 503, "storage-unavailable")
        repository.fault = None
        assert send(client).status_code == 200
    assert len(repository.recent(10)) == 1
