"""`POST /predict?explain=true`: the usual response with an explanation of the estimate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define
from starlette.testclient import TestClient

from housepredict.domain.errors import NoExplanation
from housepredict.domain.models import ModelVersion
from housepredict.domain.usecases.predict import Explain
from housepredict.entrypoints.composition import Application
from tests.explaining import ExplainedBySize
from tests.http_service import (
    LAB_HOUSE,
    Faulty,
    application,
    assert_problem,
    broken,
    lab_version,
    served,
)


@define
class Explainers:
    """Explains every version, or raises `fault`."""

    fault: Exception | None = None

    def __call__(self, version: ModelVersion) -> ExplainedBySize:
        if self.fault:
            raise self.fault
        return ExplainedBySize(version)


def explaining(explainers: Explainers | None = None, **settings: Any) -> Application:
    made = application(lab_version(), max_batch=20, **settings)
    made.explain = Explain(made.predict, explainers or Explainers())
    return made


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with served(explaining()) as made:
        yield made


EXPLANATION = {
    "unit": "price",
    "base": 0.0,
    "base_price": 0.0,
    "contributions": [{"features": ["size"], "contribution": 2_500_000.0, "percent": None}],
}


def test_explained_response_adds_the_explanation(client: TestClient) -> None:
    plain = client.post("/predict", json=LAB_HOUSE).json()
    answer = client.post("/predict?explain=true", json=LAB_HOUSE)
    assert answer.status_code == 200
    document = answer.json()
    assert document.pop("explanation") == EXPLANATION
    assert document.pop("id") > plain.pop("id")
    assert document == plain


@pytest.mark.parametrize(
    ("query", "violations"),
    [
        ("explain=yes", [("/explain", "type")]),
        ("explain=", [("/explain", "type")]),
        ("explain=True", [("/explain", "type")]),
        ("explain=true&explain=true", [("/explain", "duplicate")]),
        ("expalin=true", [("/expalin", "unknown")]),
        ("limit=1&explain=1", [("/limit", "unknown"), ("/explain", "type")]),
    ],
)
def test_query_violations_are_named(client: TestClient, query: str, violations: list[tuple[str, str]]) -> None:
    answer = client.post(f"/predict?{query}", json=LAB_HOUSE)
    assert broken(assert_problem(answer, 422, "invalid-query")) == violations


def test_invalid_house_is_rejected_with_explain(client: TestClient) -> None:
    problem = assert_problem(client.post("/predict?explain=true", json={"size": 1, "age": 1}), 400, "missing-feature")
    assert broken(problem) == [("/bedrooms", "missing")]


def test_version_without_explainer_is_rejected_and_nothing_stored() -> None:
    with served(explaining(Explainers(NoExplanation()))) as client:
        problem = assert_problem(client.post("/predict?explain=true", json=LAB_HOUSE), 409, "no-explanation")
        assert "Retrain" in problem["detail"]
        assert client.get("/predictions").json()["predictions"] == []
        assert client.post("/predict", json=LAB_HOUSE).status_code == 200


def test_prediction_that_cannot_be_stored_is_not_returned() -> None:
    made = application(lab_version())
    made.storage.predictions = Faulty()
    made.explain = Explain(made.predict, Explainers())
    with served(made) as client:
        made.storage.predictions.fault = ZeroDivisionError()
        assert_problem(client.post("/predict?explain=true", json=LAB_HOUSE), 500, "internal-error")
