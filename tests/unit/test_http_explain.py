"""`POST /predict?explain=true`: the same answer with what moved the estimate, by a way of its own."""

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
    """Explains every version, or raises what it is told to."""

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


def test_an_explained_answer_is_the_usual_one_and_its_explanation(client: TestClient) -> None:
    usual = client.post("/predict", json=LAB_HOUSE).json()
    answer = client.post("/predict?explain=true", json=LAB_HOUSE)
    assert answer.status_code == 200
    document = answer.json()
    assert document.pop("explanation") == EXPLANATION
    assert document.pop("id") > usual.pop("id")
    assert document == usual


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
def test_every_violation_of_a_query_is_named(client: TestClient, query: str, violations: list[tuple[str, str]]) -> None:
    answer = client.post(f"/predict?{query}", json=LAB_HOUSE)
    assert broken(assert_problem(answer, 422, "invalid-query")) == violations


def test_what_is_wrong_with_a_house_is_said_as_usual(client: TestClient) -> None:
    problem = assert_problem(client.post("/predict?explain=true", json={"size": 1, "age": 1}), 400, "missing-feature")
    assert broken(problem) == [("/bedrooms", "missing")]


def test_a_version_that_cannot_explain_says_to_train_again_and_nothing_is_recorded() -> None:
    with served(explaining(Explainers(NoExplanation()))) as client:
        problem = assert_problem(client.post("/predict?explain=true", json=LAB_HOUSE), 409, "no-explanation")
        assert "Retrain" in problem["detail"]
        assert client.get("/predictions").json()["predictions"] == []
        assert client.post("/predict", json=LAB_HOUSE).status_code == 200


def test_what_cannot_be_recorded_is_not_answered() -> None:
    made = application(lab_version())
    made.storage.predictions = Faulty()
    made.explain = Explain(made.predict, Explainers())
    with served(made) as client:
        made.storage.predictions.fault = ZeroDivisionError()
        assert_problem(client.post("/predict?explain=true", json=LAB_HOUSE), 500, "internal-error")
