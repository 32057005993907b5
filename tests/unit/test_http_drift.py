"""`GET /drift`: how far recent houses have drifted from the training data."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import UUID

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from tests.http_service import Faulty, application, assert_problem, served, version_with_snapshot


def test_drift_reports_stable_and_drifted_houses() -> None:
    houses = [{"size": 1000 + 2 * row, "bedrooms": 1 + row % 5, "age": row % 50} for row in range(0, 1000, 9)]
    with served(application(version_with_snapshot())) as client:
        client.post("/predict", json=houses)
        stable = client.get("/drift").json()
        client.post("/predict", json=[house | {"size": 2 * house["size"]} for house in houses * 2])
        drifted = client.get("/drift").json()
    assert (stable["model_version"], stable["examined"], stable["n"]) == ("lab", 112, 112)
    assert stable["since"]
    assert stable["features"].keys() == {"size", "bedrooms", "age"}
    assert {each["movement"] for each in (stable["estimates"], *stable["features"].values())} == {"stable"}
    assert stable["out_of_range"] == 0
    assert drifted["features"]["size"]["movement"] == drifted["estimates"]["movement"] == "drifted"
    assert drifted["features"]["bedrooms"]["movement"] == "stable"
    assert drifted["features"]["size"]["out_of_range"] == drifted["out_of_range"] > 20
    assert sum(each["actual"] for each in drifted["features"]["size"]["bins"]) > 99.9


def test_drift_with_unavailable_storage_is_a_problem() -> None:
    made = application(version_with_snapshot())
    predictions = made.storage.predictions = UnreadablePredictions()
    with served(made) as client:
        predictions.fault = RepositoryUnavailable("at db.internal")
        problem = assert_problem(client.get("/drift"), 503, "storage-unavailable")
    assert "db.internal" not in str(problem)


def test_drift_reviews_run_one_at_a_time() -> None:
    made = application(version_with_snapshot())
    predictions = made.storage.predictions = CountingPredictions()
    with served(made) as client, ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(client.get, "/drift") for _ in range(8)]
    assert {each.result().status_code for each in answers} == {200}
    assert predictions.most == 1


class CountingPredictions(InMemoryPredictions):
    """Records how many threads read it at once, and waits so that others can."""

    now, most = 0, 0

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        self.now += 1
        self.most = max(self.most, self.now)
        Event().wait(0.01)
        self.now -= 1
        return super().recent(limit, before)


class UnreadablePredictions(Faulty):
    """A faulty repository whose reads fail, too."""

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        self.check()
        return super().recent(limit, before)
