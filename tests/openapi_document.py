"""The OpenAPI document of a service, and checks of responses against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from httpx2 import Response
from jsonschema import Draft202012Validator, FormatChecker
from starlette.testclient import TestClient


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
        if method != "parameters"  # shared by all methods
    }


def closed(part: Any) -> Any:
    """Return schemas that allow no additional properties."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {name: closed(each) for name, each in part.items()}
    if "properties" in made and "required" in made:
        made.setdefault("additionalProperties", False)
    return made


def assert_documented(document: Mapping[str, Any], route: str, response: Response) -> None:
    """Assert that the response matches the document, without undocumented properties."""
    answer = operations(document)[route]["responses"][str(response.status_code)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    for name, header in answer["headers"].items():
        assert name in response.headers or not header.get("required")
    assert "X-Request-Id" in response.headers
    media_type = response.headers.get("Content-Type", "").partition(";")[0]
    if "json" not in media_type:
        assert media_type in answer.get("content", {"": None})
        return
    schemas = closed(document["components"]["schemas"])
    schemas["RecordedPrediction"]["additionalProperties"] = True  # Features are properties, too.
    schema = closed(answer["content"][media_type]["schema"]) | {"components": {"schemas": schemas}}
    errors = Draft202012Validator(schema, format_checker=FormatChecker()).iter_errors(response.json())
    assert [f"{each.json_path}: {each.message}" for each in errors] == []
    if media_type == "application/problem+json":
        assert response.json()["type"] in answer["x-problem-types"]
