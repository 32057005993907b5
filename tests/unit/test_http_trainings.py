"""Trainings over HTTP: asked for without waiting, followed and cancelled."""

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
class Held:
    """A service whose trainings wait until they may end."""

    client: TestClient
    application: Application
    may_end: Event = field(factory=Event)

    def over(self, location: str) -> dict[str, Any]:
        """What is told of it at its end."""
        self.may_end.set()
        told: dict[str, Any] = {"state": "running"}
        while told["state"] == "running":
            told = self.client.get(location).json()
        return told


@pytest.fixture
def held() -> Iterator[Held]:
    may_end = Event()
    made = trainable(application(lab_version()), FakeTrainer(may_end=may_end))
    with served(made) as client:
        yield Held(client, made, may_end)
        may_end.set()


class TestNotWaiting:
    def test_is_answered_as_soon_as_it_has_begun(self, held: Held) -> None:
        answer = held.client.post("/train", headers=ASYNC)
        document = answer.json()
        assert answer.status_code == 202
        assert answer.headers["Preference-Applied"] == "respond-async"
        assert answer.headers["Location"] == f"/trainings/{document['id']}"
        assert UUID(document["id"]).version == 7
        assert (document["state"], document["source"], document["synthetic"]) == ("running", "/sales.csv", False)
        assert (document["ended_at"], document["model_version"], document["promoted"]) == (None, None, None)
        assert held.client.post("/predict", json=LAB_HOUSE).json()["model_version"] == "lab"  # meanwhile
        told = held.over(answer.headers["Location"])
        assert (told["state"], told["promoted"], told["error"]) == ("succeeded", True, None)
        assert "smaller in 100.0% of the resamples" in told["reasons"][0]

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
    def test_is_a_preference_like_any_other(self, prefer: str, applied: bool) -> None:
        with served(trainable(application(lab_version()), FakeTrainer())) as client:
            answer = client.post("/train", headers={"Prefer": prefer})
        assert answer.status_code == (202 if applied else 200)


class TestASecondTraining:
    def test_is_told_of_none_where_it_is_not_known(self, held: Held) -> None:
        with held.application.models.training():
            answer = held.client.post("/train")
        assert assert_problem(answer, 409, "training-in-progress")["training"] is None
        assert "Location" not in answer.headers


class TestFollowing:
    def test_parameters_that_are_none_are_refused(self, held: Held) -> None:
        problem = assert_problem(held.client.get("/trainings?limit=0&before=x"), 422, "invalid-query")
        assert broken(problem) == [("/limit", "type"), ("/before", "unknown")]
