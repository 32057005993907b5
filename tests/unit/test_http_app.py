"""The app as a part of other services: what it opens and closes, and what it keeps its hands off."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import anyio
import pytest
from attrs import define, field
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.features import House
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.domain.ports import Valuation
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.settings import Settings
from tests.http_service import LAB_HOUSE, application, assert_problem, lab_version, served


def test_building_it_opens_nothing_and_its_lifespan_opens_and_closes(tmp_path: Path) -> None:
    app = asgi_app(Settings(data_dir=tmp_path / "data"))
    assert not list(tmp_path.iterdir())
    for count in (1, 2):
        with TestClient(app) as client:
            assert app.state.service.running is not None
            assert client.get("/health/live").status_code == 200
            assert (tmp_path / "data").is_dir(), count
        assert app.state.service.running is None


def test_an_application_that_was_given_stays_open(tmp_path: Path) -> None:
    with Application(Settings(data_dir=tmp_path, demo=True)) as made:
        for count in (1, 2):
            with served(made) as client:
                client.post("/predict", json=LAB_HOUSE)
            assert len(made.records.recent(10)) == count


def test_without_its_lifespan_it_says_what_is_amiss_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(asgi_app(application=application(lab_version())))
    assert_problem(client.post("/predict", json=LAB_HOUSE), 503, "not-started")
    assert "lifespan" in caplog.text


def test_it_does_not_start_on_storage_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(RepositoryUnavailable), TestClient(asgi_app(Settings(data_dir=tmp_path / "data"))):
        pass


def test_a_model_on_synthetic_sales_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with served(application(lab_version())):
        assert "synthetic" not in caplog.text
    with served(application(lab_version(location=None))):
        assert "synthetic" in caplog.text


def test_a_service_without_a_model_says_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with served(application()):
        assert "housepredict train" in caplog.text


@define
class Held:
    """A model whose every price is its own, and that can be held up while it estimates."""

    version: ModelVersion
    _artifact: Artifact
    began: Event = field(factory=Event)
    may_end: Event = field(factory=Event)

    def predict(self, houses: Sequence[House]) -> Valuation:
        self.began.set()
        assert self.may_end.wait(10)
        return Valuation([float(self.version.name) for _ in houses])


def test_an_answer_is_of_one_version_though_the_model_is_swapped_while_it_is_made() -> None:
    made: dict[str, Held] = {}

    def load(version: ModelVersion, artifact: Artifact) -> Held:
        return made.setdefault(version.name, Held(version, artifact))

    service = application(lab_version("1"), load=load)
    service.models.add(*lab_version("2"))
    with served(service) as client, ThreadPoolExecutor(2) as elsewhere:
        early = elsewhere.submit(client.post, "/predict", json=[LAB_HOUSE] * 3)
        assert made["1"].began.wait(10)
        service.models.promote("2")
        service.live_model.look()
        service.live_model.current()
        made["2"].may_end.set()
        then = elsewhere.submit(client.post, "/predict", json=[LAB_HOUSE] * 3)
        made["1"].may_end.set()
        before, late = (each.result().json()["predictions"] for each in (early, then))
    assert [(each["model_version"], each["prediction"]) for each in before] == [("1", 1.0)] * 3
    assert [(each["model_version"], each["prediction"]) for each in late] == [("2", 2.0)] * 3


def test_requests_at_once_each_get_their_own_answer() -> None:
    sizes = [500 + number for number in range(200)]
    with served(application(lab_version())) as client, ThreadPoolExecutor(8) as many:
        answers = list(many.map(lambda size: client.post("/predict", json={**LAB_HOUSE, "size": size}).json(), sizes))
        listed = client.get("/predictions?limit=1000").json()["predictions"]
    assert [each["input"]["size"] for each in answers] == sizes
    assert {each["id"]: each["size"] for each in listed} == {each["id"]: each["input"]["size"] for each in answers}
    ids = [each["id"] for each in listed]
    assert ids == sorted(ids, reverse=True)


def predict(app: Starlette, receive: Receive, send: Send) -> None:
    """Call it as a server does, whatever that server is."""

    async def call() -> None:
        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "headers": [(b"content-type", b"application/json")],
            "query_string": b"",
        }
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    anyio.run(call)


def test_a_caller_who_leaves_within_the_body_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        assert message.get("status") != 500

    predict(asgi_app(application=application(lab_version())), receive, send)
    assert not messages
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("begun", [b"", b"{"])
def test_a_caller_who_never_ends_the_body_is_told_so_whatever_the_server(begun: bytes) -> None:
    parts = [begun] if begun else []
    sent: list[Message] = []

    async def receive() -> Message:
        if not parts:
            await anyio.sleep_forever()
        return {"type": "http.request", "body": parts.pop(), "more_body": True}

    async def send(message: Message) -> None:
        sent.append(message)

    predict(asgi_app(application=application(lab_version(), client_timeout=0.01)), receive, send)
    assert sent[0]["status"] == 408
    assert b"urn:housepredict:problem:request-timeout" in sent[1]["body"]
