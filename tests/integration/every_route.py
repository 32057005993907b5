"""Call every route of a running service, with values that session settings could alter, and restart the service."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from attrs import define, field

from housepredict.entrypoints.http.routes.route_table import ROUTES
from housepredict.entrypoints.http.v2.inference_answers import MODEL
from tests.integration.load import caught_up
from tests.integration.services import Service, running
from tests.integration.test_training_jobs import QUICK, columns

HOUSE = {"sqft": 2512.375, "age": 10, "town": "Łódź"}
"""A number with more than six digits, and letters outside ASCII and LATIN1."""
SALE = {"price": 250_000.25, "date": "2025-06-02"}
_PAIRS = {(route.path, method) for route in ROUTES for method in (route.methods or ())} - {
    (route.path, "HEAD") for route in ROUTES
}


@define
class _Client:
    client: httpx2.Client
    requested: set[tuple[str, str]] = field(factory=set)

    def ask(self, method: str, route: str, status: int = 200, query: str = "", /, **options: Any) -> httpx2.Response:
        """Send a request to `route`. Options named like `{id}` fill the route's parameters."""
        path = re.sub(r"\{\w+\}", lambda name: str(options.pop(name[0])), route)
        answer = self.client.request(method, path + query, timeout=600, **options)
        assert answer.status_code == status, f"{method} {path}: {answer.text}"
        self.requested.add((route, method))
        return answer

    def get(self, route: str, **options: Any) -> Any:
        return self.ask("GET", route, **options).json()


def check_every_route(folder: Path, **variables: str) -> None:
    """Check that every route works and that stored data reads the same after a restart."""
    with _running_client(folder, **variables) as client:
        before = _drive(client)
        assert client.requested == _PAIRS
    with _running_client(folder, **variables) as client:
        assert client.get("/predictions")["predictions"] == before
        assert client.get("/health")["model_loaded"] is True
        assert client.ask("POST", "/predict", json=HOUSE).json()["prediction"] == before[0]["predicted_price"]
        assert [each["state"] for each in client.get("/trainings")["trainings"]] == ["succeeded"] * 2


@contextmanager
def _running_client(folder: Path, **variables: str) -> Iterator[_Client]:
    with running(folder, **variables) as service, httpx2.Client(base_url=service.url) as client:
        yield _Client(client)
        assert _stops(service)


def _stops(service: Service) -> bool:
    caught_up(service)
    return service.stop() == 0


def _sales(rows: int) -> str:
    table = columns(rows)
    towns = ("Köln", "Łódź", "Brno")
    lines = [
        f"{price},{sqft + 0.375},{age},{towns[row % 3]}"
        for row, (price, sqft, age) in enumerate(zip(table["price"], table["sqft"], table["age"], strict=True))
    ]
    return "\n".join(["price,sqft,age,town", *lines])


def _trained_on(client: _Client, rows: int) -> str:
    content, headers = _sales(rows).encode(), {"Content-Type": "text/csv"}
    trained = client.ask("POST", "/train", 200, f"?{QUICK}", content=content, headers=headers).json()
    return str(trained["model_version"])


def _drive(client: _Client) -> list[dict[str, Any]]:
    began = datetime.now(UTC)
    name = [_trained_on(client, rows) for rows in (200, 210)][-1]
    newest, first = client.get("/trainings")["trainings"]
    assert (newest["state"], newest["model_version"], first["state"]) == ("succeeded", name, "succeeded")
    _assert_recent(newest["started_at"], began)
    assert client.get("/trainings/{id}", **{"{id}": newest["id"]}) == newest
    client.ask("DELETE", "/trainings/{id}", 409, **{"{id}": newest["id"]})

    estimate = client.ask("POST", "/predict", json=HOUSE, headers={"Idempotency-Key": "Łódź".encode().hex()}).json()
    again = client.ask("POST", "/predict", json=HOUSE, headers={"Idempotency-Key": "Łódź".encode().hex()}).json()
    assert again == estimate
    others = client.ask("POST", "/predict", json=[HOUSE, {**HOUSE, "town": "Köln"}]).json()["predictions"]
    id_ = {"{id}": estimate["id"]}
    prediction = client.get("/predictions/{id}", **id_)
    assert {**prediction, **HOUSE, "predicted_price": estimate["prediction"]} == prediction
    _assert_recent(prediction["created_at"], began)
    assert prediction in client.get("/predictions")["predictions"]

    client.ask("POST", "/predictions/{id}/sale", 201, json=SALE, **id_)
    sale = client.get("/predictions/{id}/sale", **id_)
    assert (sale["price"], sale["date"]) == (SALE["price"], SALE["date"])
    _assert_recent(sale["recorded_at"], began)
    client.ask("POST", "/sales", 201, json=[{"prediction": others[0]["id"], **SALE}])
    assert client.get("/accuracy")["sales"] == 2

    assert name in json.dumps(client.get("/models"))
    client.get("/models/{name}", **{"{name}": name})
    client.ask("POST", "/models/{name}/promote", **{"{name}": first["model_version"]})
    client.ask("POST", "/models/rollback")
    client.get("/drift")

    for route in ("/openapi.json", "/health", "/health/live", "/health/ready", "/v2", "/v2/health/live"):
        client.get(route)
    for route in ("/docs", "/metrics", "/v2/health/ready"):
        client.ask("GET", route)
    page = client.ask("GET", "/", headers={"Accept": "text/html"}).text
    digest, asset = re.findall(r"assets/([^/\"]+)/([^\"]+)", page)[0]
    client.ask("GET", "/assets/{digest}/{name}", **{"{digest}": digest, "{name}": asset})

    tensors = [
        {"name": "sqft", "shape": [1], "datatype": "FP64", "data": [HOUSE["sqft"]]},
        {"name": "age", "shape": [1], "datatype": "INT64", "data": [HOUSE["age"]]},
        {"name": "town", "shape": [1], "datatype": "BYTES", "data": [HOUSE["town"]]},
    ]
    for route in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        place = {key: value for key, value in {"{name}": MODEL, "{version}": name}.items() if key in route}
        client.get(route, **place)
        client.ask("GET", f"{route}/ready", **place)
        client.ask("POST", f"{route}/infer", json={"inputs": tensors}, **place)

    client.ask("DELETE", "/predictions/{id}", 204, **{"{id}": others[1]["id"]})
    predictions: list[dict[str, Any]] = client.get("/predictions")["predictions"]
    return predictions


def _assert_recent(text: str, began: datetime) -> None:
    assert timedelta(minutes=-1) < datetime.fromisoformat(text) - began < timedelta(minutes=10)
