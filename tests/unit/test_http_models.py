"""Routes for model versions: listing, promotion and rollback."""

from __future__ import annotations

from typing import Any

import pytest

from housepredict.domain.errors import RefusedModel
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.domain.ports import PredictorLoader
from housepredict.domain.usecases.train import Promote
from housepredict.entrypoints.composition import Application
from tests.http_service import LAB_HOUSE, LabModel, application, assert_problem, lab_version, served


def two_versions(load: PredictorLoader = LabModel, **settings: Any) -> Application:
    made = application(lab_version("one"), lab_version("two"), **settings)
    made.promote = Promote(load, made.models)
    return made


def load_all_but_one(version: ModelVersion, artifact: Artifact) -> LabModel:
    if version.name == "one":
        raise RefusedModel("its digest is wrong")
    return LabModel(version)


def test_model_list_names_promoted_and_omits_sales_paths() -> None:
    with served(two_versions()) as client:
        document = client.get("/models").json()
    assert [(each["model_version"], each["promoted"]) for each in document["models"]] == [("one", False), ("two", True)]
    assert (document["promoted"], document["generation"]) == ("two", 2)
    assert document["models"][0]["evaluation"]["trained_on"]
    assert "sales.csv" not in str(document)


def test_version_shows_manifest_without_sales_path() -> None:
    with served(two_versions()) as client:
        document = client.get("/models/one").json()
        assert (document["model_version"], document["promoted"]) == ("one", False)
        assert {"options", "digests", "self_test"} <= document.keys()
        assert "sales.csv" not in str(document)
        assert_problem(client.get("/models/three"), 404, "unknown-version")
        assert_problem(client.get("/models/demonstration"), 404, "unknown-version")


def test_demo_model_is_a_version() -> None:
    with served(application(demo=True)) as client:
        assert client.get("/models/demonstration").json()["model_version"] == "demonstration"


def test_promotion_and_rollback_take_effect_on_next_request() -> None:
    with served(two_versions()) as client:
        answer = client.post("/models/one/promote").json()
        assert (answer["model_version"], answer["promoted"], answer["generation"]) == ("one", True, 3)
        estimate = client.post("/predict", json=LAB_HOUSE).json()
        assert (estimate["model_version"], estimate["generation"]) == ("one", 3)
        answer = client.post("/models/rollback").json()
        assert (answer["model_version"], answer["generation"]) == ("two", 4)
        estimate = client.post("/predict", json=LAB_HOUSE).json()
        assert (estimate["model_version"], estimate["generation"]) == ("two", 4)


def test_failed_promotion_keeps_promoted_version() -> None:
    with served(two_versions(load_all_but_one)) as client:
        problem = assert_problem(client.post("/models/one/promote"), 409, "refused-version")
        assert "its digest is wrong" in problem["detail"]
        assert_problem(client.post("/models/three/promote"), 404, "unknown-version")
        assert_problem(client.post("/models/rollback"), 409, "refused-version")
        assert client.get("/models").json()["promoted"] == "two"


def test_rollback_without_earlier_promotion_is_a_problem() -> None:
    with served(application(lab_version())) as client:
        problem = assert_problem(client.post("/models/rollback"), 404, "unknown-version")
    assert "no other version was promoted before" in problem["detail"]


@pytest.mark.parametrize("path", ["/models/one/promote", "/models/rollback"])
def test_unexpected_body_is_rejected(path: str) -> None:
    with served(two_versions(max_body=2000)) as client:
        before = client.get("/models").json()["promoted"]
        for content in (b"{", b'{"version": "one"}', b"version=one"):
            assert_problem(client.post(path, content=content), 415, "unsupported-media-type")
        assert_problem(client.post(path, content=b" " * 2001), 413, "body-too-large")
        assert client.get("/models").json()["promoted"] == before
        assert client.post("/models/one/promote", json={}).status_code == 200
