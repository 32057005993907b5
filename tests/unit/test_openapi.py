"""The OpenAPI document covers every route and matches the service."""

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


class TestDocument:
    def test_document_covers_exactly_all_routes(self, client: TestClient) -> None:
        there = {f"{method} {route.path}" for route in ROUTES for method in (route.methods or set()) - {"HEAD"}}
        assert OPERATIONS.keys() == there
        assert operations(document_of(client)).keys() == there

    def test_problem_types_match_source(self) -> None:
        raised = re.findall(r"\bProblem\(\s*\"([a-z]+(?:-[a-z]+)*)\"", SOURCE)
        assert PROBLEMS.keys() == {kind.name for kind in PROBLEM_TYPES.values()} | set(raised)

    def test_document_mentions_every_problem(self, client: TestClient) -> None:
        document = document_of(client)
        responses = json.dumps([*operations(document).values(), document["components"]["responses"]])
        named = set(re.findall("urn:housepredict:problem:([a-z-]+)", responses))
        # `wrong-method` belongs to no route, and `unauthorized` needs a token, which this service lacks.
        assert set(PROBLEMS) - named == {"wrong-method", "unauthorized"}

    def test_document_is_consistent(self, client: TestClient) -> None:
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

    def test_path_parameters_are_documented(self, client: TestClient) -> None:
        for route, each in operations(document_of(client)).items():
            named = {one["name"] for one in each.get("parameters", ()) if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", route))

    def test_examples_are_estimated(self, client: TestClient) -> None:
        body = document_of(client)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
        for each in body["examples"].values():
            assert client.post("/predict", json=each["value"]).status_code == 200
        assert body["examples"]["house"]["value"] == LAB_HOUSE

    def test_document_states_batch_limit(self) -> None:
        with served(application(lab_version(), max_batch=7)) as client:
            assert document_of(client)["components"]["schemas"]["Houses"]["maxItems"] == 7

    def test_document_requires_token_if_set(self) -> None:
        with served(application(lab_version(), token=TOKEN)) as client:
            document = document_of(client)
        assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
        for route, each in operations(document).items():
            assert ("401" in each["responses"]) == OPERATIONS[route].protected
            assert each.get("security") == ([{"token": []}] if OPERATIONS[route].protected else None)

    def test_document_requires_no_token_if_unset(self, client: TestClient) -> None:
        for route, each in operations(document_of(client)).items():
            assert ("403" in each["responses"]) == OPERATIONS[route].protected
            assert not each.get("security")

    def test_document_exists_without_model(self) -> None:
        with served(application()) as client:
            document = document_of(client)
        house = document["components"]["schemas"]["House"]
        assert house["type"] == "object"
        assert "properties" not in house

    def test_document_follows_model_in_service(self) -> None:
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

    def test_document_server_is_mount_path(self) -> None:
        prices = asgi_app(application=application(lab_version()))
        app = Starlette(routes=[Mount("/prices", prices)])
        with TestClient(prices), TestClient(app) as client:  # a mounted app's lifespan is not run
            assert client.get("/prices/openapi.json").json()["servers"] == [{"url": "/prices"}]
            assert 'href="/prices/openapi.json"' in client.get("/prices/docs").text

    def test_document_server_is_root_if_unmounted(self, client: TestClient) -> None:
        assert document_of(client)["servers"] == [{"url": "/"}]


class TestCaching:
    @pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
    def test_matching_etag_gets_not_modified(self, client: TestClient, path: str) -> None:
        tag = client.get(path).headers["ETag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = client.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b"")
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == (tag, "no-cache")

    @pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
    def test_other_etag_gets_document(self, client: TestClient, path: str) -> None:
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
