"""The ASGI app as part of another service: what it opens and closes, and what it leaves alone."""

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


def test_lifespan_opens_and_closes_the_service(tmp_path: Path) -> None:
    app = asgi_app(Settings(data_dir=tmp_path / "data"))
    assert not list(tmp_path.iterdir())
    for count in (1, 2):
        with TestClient(app) as client:
            assert app.state.service.running is not None
            assert client.get("/health/live").status_code == 200
            assert (tmp_path / "data").is_dir(), count
        assert app.state.service.running is None


def test_given_application_stays_open(tmp_path: Path) -> None:
    with Application(Settings(data_dir=tmp_path, demo=True)) as made:
        for count in (1, 2):
            with served(made) as client:
                client.post("/predict", json=LAB_HOUSE)
            assert len(made.records.recent(10)) == count


def test_missing_lifespan_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    client = TestClient(asgi_app(application=application(lab_version())))
    assert_problem(client.post("/predict", json=LAB_HOUSE), 503, "not-started")
    assert "lifespan" in caplog.text


def test_startup_fails_without_storage(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(RepositoryUnavailable), TestClient(asgi_app(Settings(data_dir=tmp_path / "data"))):
        pass


def test_synthetic_model_is_logged_at_startup(caplog: pytest.LogCaptureFixture) -> None:
    with served(application(lab_version())):
        assert "synthetic" not in caplog.text
    with served(application(lab_version(location=None))):
        assert "synthetic" in caplog.text


def test_missing_model_is_logged_at_startup(caplog: pytest.LogCaptureFixture) -> None:
    with served(application()):
        assert "housepredict train" in caplog.text


@define
class BlockingModel:
    """A model whose price is its version name, and that blocks until released."""

    version: ModelVersion
    _artifact: Artifact
    began: Event = field(factory=Event)
    may_end: Event = field(factory=Event)

    def predict(self, houses: Sequence[House]) -> Valuation:
        self.began.set()
        assert self.may_end.wait(10)
        return Valuation([float(self.version.name) for _ in houses])


def test_response_has_one_version_during_a_promotion() -> None:
    made: dict[str, BlockingModel] = {}

    def load(version: ModelVersion, artifact: Artifact) -> BlockingModel:
        return made.setdefault(version.name, BlockingModel(version, artifact))

    service = application(lab_version("1"), load=load)
    service.models.add(*lab_version("2"))
    with served(service) as client, ThreadPoolExecutor(2) as executor:
        first_request = executor.submit(client.post, "/predict", json=[LAB_HOUSE] * 3)
        assert made["1"].began.wait(10)
        service.models.promote("2")
        service.live_model.look()
        service.live_model.current()
        made["2"].may_end.set()
        second_request = executor.submit(client.post, "/predict", json=[LAB_HOUSE] * 3)
        made["1"].may_end.set()
        before, late = (each.result().json()["predictions"] for each in (first_request, second_request))
    assert [(each["model_version"], each["prediction"]) for each in before] == [("1", 1.0)] * 3
    assert [(each["model_version"], each["prediction"]) for each in late] == [("2", 2.0)] * 3


def test_concurrent_requests_get_their_own_responses() -> None:
    sizes = [500 + number for number in range(200)]
    with served(application(lab_version())) as client, ThreadPoolExecutor(8) as executor:
        answers = list(
            executor.map(lambda size: client.post("/predict", json={**LAB_HOUSE, "size": size}).json(), sizes)
        )
        listed = client.get("/predictions?limit=1000").json()["predictions"]
    assert [each["input"]["size"] for each in answers] == sizes
    assert {each["id"]: each["size"] for each in listed} == {each["id"]: each["input"]["size"] for each in answers}
    ids = [each["id"] for each in listed]
    assert ids == sorted(ids, reverse=True)


def predict(app: Starlette, receive: Receive, send: Send) -> None:
    """Call the app as an ASGI server does."""

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


def test_client_disconnect_during_body_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        assert message.get("status") != 500

    predict(asgi_app(application=application(lab_version())), receive, send)
    assert not messages
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("sent_part", [b"", b"{"])
def test_unfinished_body_times_out(sent_part: bytes) -> None:
    parts = [sent_part] if sent_part else []
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
