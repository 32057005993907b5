"""Training jobs over HTTP: asynchronous start, status and list."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from attrs import field, frozen
from starlette.testclient import TestClient

from housepredict.entrypoints.composition import Application
from tests.http_service import (
    LAB_HOUSE,
    FakeTrainer,
    application,
    assert_problem,
    broken,
    lab_version,
    served,
    trainable,
)

ASYNC = {"Prefer": "respond-async"}


@frozen
class BlockedTrainings:
    """A service whose training jobs block until `may_end` is set."""

    client: TestClient
    application: Application
    may_end: Event = field(factory=Event)

    def finish(self, location: str) -> dict[str, Any]:
        """Let the training job finish and return its final status."""
        self.may_end.set()
        training: dict[str, Any] = {"state": "running"}
        while training["state"] == "running":
            training = self.client.get(location).json()
        return training


@pytest.fixture
def blocked() -> Iterator[BlockedTrainings]:
    may_end = Event()
    made = trainable(application(lab_version()), FakeTrainer(may_end=may_end))
    with served(made) as client:
        yield BlockedTrainings(client, made, may_end)
        may_end.set()


class TestAsyncTraining:
    def test_async_training_is_answered_at_start(self, blocked: BlockedTrainings) -> None:
        answer = blocked.client.post("/train", headers=ASYNC)
        document = answer.json()
        assert answer.status_code == 202
        assert answer.headers["Preference-Applied"] == "respond-async"
        assert answer.headers["Location"] == f"/trainings/{document['id']}"
        assert UUID(document["id"]).version == 7
        assert (document["state"], document["source"], document["synthetic"]) == ("running", "/sales.csv", False)
        assert (document["ended_at"], document["model_version"], document["promoted"]) == (None, None, None)
        assert (
            blocked.client.post("/predict", json=LAB_HOUSE).json()["model_version"] == "lab"
        )  # while the job is running
        training = blocked.finish(answer.headers["Location"])
        assert (training["state"], training["promoted"], training["error"]) == ("succeeded", True, None)
        assert "smaller in 100.0% of the resamples" in training["reasons"][0]

    @pytest.mark.parametrize(
        ("prefer", "applied"),
        [
            ("respond-async", True),
            ("Respond-Async, wait=10", True),
            ("wait=10, respond-async; foo=bar", True),
            ("return=minimal", False),
            ("respond-asynchronously", False),
        ],
    )
    def test_prefer_header_is_parsed_as_a_list(self, prefer: str, applied: bool) -> None:
        with served(trainable(application(lab_version()), FakeTrainer())) as client:
            answer = client.post("/train", headers={"Prefer": prefer})
        assert answer.status_code == (202 if applied else 200)


class TestConcurrentTraining:
    def test_conflict_without_known_training_has_no_location(self, blocked: BlockedTrainings) -> None:
        with blocked.application.models.training():
            answer = blocked.client.post("/train")
        assert assert_problem(answer, 409, "training-in-progress")["training"] is None
        assert "Location" not in answer.headers


class TestTrainingList:
    def test_invalid_parameters_are_rejected(self, blocked: BlockedTrainings) -> None:
        problem = assert_problem(blocked.client.get("/trainings?limit=0&before=x"), 422, "invalid-query")
        assert broken(problem) == [("/limit", "type"), ("/before", "unknown")]
