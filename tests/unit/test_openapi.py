"""The OpenAPI document: it tells of every route, and what it tells is so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

import housepredict
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.http.problems import PROBLEM_TYPES, PROBLEMS
from housepredict.entrypoints.http.routes.route_table import OPERATIONS, ROUTES
from tests.http_service import (
    LAB_HOUSE,
    application,
    calibrated_version,
    lab_version,
    served,
    version_with_snapshot,
)
from tests.openapi_document import document_of, operations

SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in Path(housepredict.__file__).parent.rglob("*.py"))
TOKEN = "an-example-of-a-token"


@pytest.fixture
def client() -> Iterator[TestClient]:
    with served(application(calibrated_version(), version_with_snapshot())) as made:
        yield made


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from references(each)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


class TestTheDocument:
    def test_tells_of_every_route_and_of_nothing_else(self, client: TestClient) -> None:
        there = {f"{method} {route.path}" for route in ROUTES for method in (route.methods or set()) - {"HEAD"}}
        assert OPERATIONS.keys() == there
        assert operations(document_of(client)).keys() == there

    def test_has_a_type_for_every_problem_and_no_other(self) -> None:
        raised = re.findall(r"\bProblem\(\s*\"([a-z]+(?:-[a-z]+)*)\"", SOURCE)
        assert PROBLEMS.keys() == {kind.name for kind in PROBLEM_TYPES.values()} | set(raised)

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
            version, artifact = lab_version("second", schema=schema)
            made.models.add(version, artifact)
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
