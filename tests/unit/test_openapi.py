"""The OpenAPI document: it tells of every route, and what it tells is so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from httpx2 import Response
from jsonschema import Draft202012Validator, FormatChecker
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

import housepredict
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.openapi.document import OPERATIONS
from housepredict.entrypoints.http.openapi.problems import PROBLEMS
from housepredict.entrypoints.http.routes import ROUTES
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

SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in Path(housepredict.__file__).parent.rglob("*.py"))
TOKEN = "an-example-of-a-token"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with served(application(sure_version(), remembering_version())) as made:
        yield made


def document_of(client: TestClient) -> dict[str, Any]:
    answer = client.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    document: dict[str, Any] = answer.json()
    return document


def operations(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{method.upper()} {path}": each
        for path, methods in document["paths"].items()
        for method, each in methods.items()
        if method != "parameters"  # of all methods
    }


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from references(each)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def closed(part: Any) -> Any:
    """Schemas that allow no property which they do not name."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {name: closed(each) for name, each in part.items()}
    if "properties" in made and "required" in made:
        made.setdefault("additionalProperties", False)
    return made


def assert_told(document: Mapping[str, Any], route: str, response: Response) -> None:
    """The response is one that the document tells of, to the last property."""
    answer = operations(document)[route]["responses"][str(response.status_code)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    media_type = response.headers["Content-Type"].partition(";")[0]
    schemas = closed(document["components"]["schemas"])
    schemas["RecordedPrediction"]["additionalProperties"] = True  # the features stand among the fields
    schema = closed(answer["content"][media_type]["schema"]) | {"components": {"schemas": schemas}}
    errors = Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(response.json())
    assert [f"{each.json_path}: {each.message}" for each in errors] == []
    if media_type == "application/problem+json":
        assert response.json()["type"] in answer["x-problem-types"]
    for name, header in answer["headers"].items():
        assert name in response.headers or not header.get("required")
    assert "X-Request-Id" in response.headers


class TestTheDocument:
    def test_tells_of_every_route_and_of_nothing_else(self, client: TestClient) -> None:
        there = {f"{method} {route.path}" for route in ROUTES for method in (route.methods or set()) - {"HEAD"}}
        assert OPERATIONS.keys() == there
        assert operations(document_of(client)).keys() == there

    def test_tells_of_every_problem_under_its_own_status(self) -> None:
        raised = re.findall(r"(?:Problem|_Kind)\(\s*\"([a-z]+(?:-[a-z]+)*)\",\s*(\d+)", SOURCE)
        raised += [("invalid-sales", "422"), ("invalid-houses", "422"), ("missing-feature", "400")]
        assert {(name, str(each.status)) for name, each in PROBLEMS.items()} == set(raised)

    def test_tells_of_every_problem_somewhere(self, client: TestClient) -> None:
        document = document_of(client)
        responses = json.dumps([*operations(document).values(), document["components"]["responses"]])
        named = set(re.findall("urn:housepredict:problem:([a-z-]+)", responses))
        # what has no route has no place to be told of; and this service has no token
        assert set(PROBLEMS) - named == {"wrong-method", "unauthorized"}

    def test_holds_together(self, client: TestClient) -> None:
        document = document_of(client)
        for reference in references(document):
            part: Any = document
            for step in reference.removeprefix("#/").split("/"):
                part = part[step]
        for schema in document["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)
        by_id = {each["operationId"]: each for each in operations(document).values()}
        assert len(by_id) == len(OPERATIONS)
        for each in by_id.values():
            for response in each["responses"].values():
                for link in response.get("links", {}).values():
                    known = {one["name"] for one in by_id[link["operationId"]]["parameters"]}
                    assert link["parameters"].keys() <= known

    def test_names_every_parameter_of_a_path(self, client: TestClient) -> None:
        for route, each in operations(document_of(client)).items():
            named = {one["name"] for one in each.get("parameters", ()) if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", route))

    def test_shows_a_house_and_a_batch_that_are_estimated(self, client: TestClient) -> None:
        body = document_of(client)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        for each in body["examples"].values():
            assert client.post("/predict", json=each["value"]).status_code == 200
        assert body["examples"]["house"]["value"] == LAB_HOUSE

    def test_knows_how_many_houses_a_batch_may_hold(self) -> None:
        with served(application(lab_version(), max_batch=7)) as client:
            assert document_of(client)["components"]["schemas"]["Houses"]["maxItems"] == 7

    def test_demands_a_token_where_there_is_one(self) -> None:
        with served(application(lab_version(), token=TOKEN)) as client:
            document = document_of(client)
        assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        for route, each in operations(document).items():
            assert ("401" in each["responses"]) == OPERATIONS[route].protected
            assert each.get("security") == ([{"token": []}] if OPERATIONS[route].protected else None)

    def test_demands_none_where_there_is_none(self, client: TestClient) -> None:
        for route, each in operations(document_of(client)).items():
            assert ("403" in each["responses"]) == OPERATIONS[route].protected
            assert not each.get("security")

    def test_is_there_without_a_model(self) -> None:
        with served(application()) as client:
            document = document_of(client)
        house = document["components"]["schemas"]["House"]
        assert house["type"] == "object"
        assert "properties" not in house

    def test_follows_the_model_in_service(self) -> None:
        made = application(lab_version("first"))
        schema = FeatureSchema((Feature("zip", Kind.CATEGORY, categories=("98178",), closed=True),))
        with served(made) as client:
            before = client.get("/openapi.json")
            version, artefact = lab_version("second", schema=schema)
            made.models.add(version, artefact)
            made.models.promote("second")
            made.live_model.look()
            after = client.get("/openapi.json", headers={"If-None-Match": before.headers["ETag"]})
        assert after.status_code == 200
        house = after.json()["components"]["schemas"]["House"]
        assert house["properties"] == {"zip": {"enum": ["98178", 98178]}}

    def test_says_where_the_app_is_mounted(self) -> None:
        prices = asgi_app(application=application(lab_version()))
        app = Starlette(routes=[Mount("/prices", prices)])
        with TestClient(prices), TestClient(app) as client:  # a mounted app's lifespan is not run
            assert client.get("/prices/openapi.json").json()["servers"] == [{"url": "/prices"}]
            assert 'href="/prices/openapi.json"' in client.get("/prices/docs").text

    def test_stands_at_the_root_of_a_service_of_its_own(self, client: TestClient) -> None:
        assert document_of(client)["servers"] == [{"url": "/"}]


class TestCaching:
    @pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
    def test_nothing_is_sent_to_who_has_it(self, client: TestClient, path: str) -> None:
        tag = client.get(path).headers["ETag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = client.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (tag, "no-cache")

    @pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
    def test_it_is_sent_to_who_has_another(self, client: TestClient, path: str) -> None:
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


class TestAnswers:
    """What is answered is what the document says, to the last property."""

    @pytest.mark.parametrize(
        "path", ["/", "/health", "/health/live", "/health/ready", "/models", "/drift", "/accuracy"]
    )
    def test_of_routes_without_parameters(self, client: TestClient, path: str) -> None:
        post(client, json.dumps([LAB_HOUSE] * 3))
        answer = client.get(path)
        assert answer.status_code == 200
        assert_told(document_of(client), f"GET {path}", answer)

    def test_of_a_service_that_is_not_ready(self) -> None:
        with served(application()) as client:
            assert_told(document_of(client), "GET /health/ready", client.get("/health/ready"))
            assert_told(document_of(client), "POST /predict", client.post("/predict", json={}))

    @pytest.mark.parametrize(
        "body",
        [LAB_HOUSE, [LAB_HOUSE], {**LAB_HOUSE, "size": 10**9}, {}, [], {"size": "big"}, {**LAB_HOUSE, "colour": "red"}],
        ids=repr,
    )
    def test_to_estimates(self, body: object) -> None:
        with served(application(sure_version())) as client:
            assert_told(document_of(client), "POST /predict", client.post("/predict", json=body))

    @pytest.mark.parametrize("explain", ["true", "perhaps"])
    def test_to_explanations(self, explain: str) -> None:
        with served(application(lab_version())) as client:
            answer = client.post(f"/predict?explain={explain}", json=LAB_HOUSE)
            assert_told(document_of(client), "POST /predict", answer)

    def test_of_what_was_estimated(self, client: TestClient) -> None:
        client.post("/predict", json=LAB_HOUSE)
        assert_told(document_of(client), "GET /predictions", client.get("/predictions"))

    def test_of_versions_and_their_promotions(self, client: TestClient) -> None:
        document = document_of(client)
        for name in ("sure", "none"):
            assert_told(document, "GET /models/{name}", client.get(f"/models/{name}"))
            assert_told(document, "POST /models/{name}/promote", client.post(f"/models/{name}/promote"))
        assert_told(document, "POST /models/rollback", client.post("/models/rollback"))

    def test_of_sales(self, client: TestClient) -> None:
        document, known = document_of(client), client.post("/predict", json=LAB_HOUSE).json()["id"]
        for prediction in (known, str(uuid4())):
            path, sale = f"/predictions/{prediction}/sale", {"price": 250_000, "date": "2024-06-01"}
            assert_told(document, "GET /predictions/{id}/sale", client.get(path))
            assert_told(document, "POST /predictions/{id}/sale", client.post(path, json=sale))
            assert_told(document, "GET /predictions/{id}/sale", client.get(path))
            for body in (sale | {"prediction": prediction}, [sale | {"prediction": prediction}], {}):
                assert_told(document, "POST /sales", client.post("/sales", json=body))

    def test_of_trainings(self) -> None:
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
