"""CORS is enabled only for the configured origins."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from housepredict.domain.errors import InvalidSettings
from housepredict.entrypoints.settings import read_settings
from tests.http_service import LAB_HOUSE, application, assert_problem, lab_version, served

PAGE = {"Origin": "https://prices.example"}
PREFLIGHT = {**PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


def cors(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith("access-control-")}


def test_cors_headers_are_absent_without_origins() -> None:
    with served(application(lab_version())) as client:
        assert cors(client.post("/predict", json=LAB_HOUSE, headers=PAGE).headers) == {}
        assert cors(client.options("/predict", headers=PREFLIGHT).headers) == {}


def test_allowed_origin_may_read_answers_and_errors() -> None:
    with served(application(lab_version(), cors_origins=("https://prices.example",))) as client:
        preflight = client.options("/predict", headers=PREFLIGHT)
        assert preflight.status_code == 200
        assert preflight.headers["Access-Control-Allow-Origin"] == "https://prices.example"
        for body, status in ((LAB_HOUSE, 200), ({}, 400)):
            answer = client.post("/predict", json=body, headers=PAGE)
            assert answer.status_code == status
            assert answer.headers["Access-Control-Allow-Origin"] == "https://prices.example"
            assert "Link" in answer.headers["Access-Control-Expose-Headers"]
            assert "Origin" in answer.headers["Vary"]
        other = client.post("/predict", json=LAB_HOUSE, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
        assert client.options("/predict", headers={**PREFLIGHT, "Origin": "https://evil.example"}).status_code == 400
        # an allowed origin may read, but not write
        assert_problem(client.post("/models/rollback", headers=PAGE), 403, "forbidden")


def test_wildcard_allows_all_origins() -> None:
    with served(application(lab_version(), cors_origins=("*",))) as client:
        answer = client.get("/models", headers=PAGE)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
        assert client.options("/models", headers=PREFLIGHT).status_code == 200


def test_origins_are_read_from_a_list() -> None:
    text = "https://prices.example, http://LOCALHOST:3000 http://[::1]"
    expected = ("https://prices.example", "http://localhost:3000", "http://[::1]")
    assert read_settings({"HOUSEPREDICT_CORS_ORIGINS": text}).cors_origins == expected
    assert read_settings({"HOUSEPREDICT_CORS_ORIGINS": "*"}).cors_origins == ("*",)


@pytest.mark.parametrize("text", [",", "prices.example", "https://prices.example/", "ftp://a", "null"])
def test_invalid_origins_are_rejected(text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^HOUSEPREDICT_CORS_ORIGINS must be"):
        read_settings({"HOUSEPREDICT_CORS_ORIGINS": text})
