"""The in-memory application and the background server, which users build their tests on."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from threading import Event

import httpx2
import pytest
from attrs import define, field

from housepredict import Prices
from housepredict.adapters.serving.demonstration import read_demonstration
from housepredict.domain.errors import NoModel
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.models import Artifact, ModelVersion
from housepredict.domain.ports import Predictor, Valuation
from housepredict.entrypoints.http.server.background_server import serving
from housepredict.entrypoints.in_memory import in_memory
from housepredict.testing.doubles import NOON, FixedModel, FrozenClock, fixed_version
from tests.http_service import LAB_HOUSE, LAB_PRICE

FIXED_PRICE = 100 * 2500 + 5000 * 3 - 1000 * 10
QUIET = """
import sys
seen = []
WATCHED = ("socket.bind", "socket.connect", "sqlite3.connect", "subprocess.Popen", "os.mkdir", "os.rename", "os.remove")
def watch(event, arguments):
    if event in WATCHED or (event == "open" and (set(arguments[1] or "") & set("wax+"))):
        seen.append((event, arguments[:2]))
sys.addaudithook(watch)
from starlette.testclient import TestClient
import housepredict
from housepredict.entrypoints.in_memory import in_memory
from housepredict.testing.doubles import FixedModel
with TestClient(housepredict.asgi_app(application=in_memory(FixedModel(), token="t" * 16))) as client:
    made = client.post("/predict", json={"size": 2500, "bedrooms": 3, "age": 10}).json()
    assert client.get("/predictions").json()["predictions"][0]["id"] == made["id"]
    sale = {"price": 250000, "date": "2025-06-02"}
    bearer = {"Authorization": "Bearer " + "t" * 16}
    assert client.post(f"/predictions/{made['id']}/sale", json=sale, headers=bearer).is_success
    assert client.get("/models").json()["models"]
    assert client.get("/trainings", headers=bearer).is_success
assert not seen, seen
assert "numpy" not in sys.modules
open("seen", "w").close()
assert len(seen) == 1
"""


def test_in_memory_model_serves_and_stores_predictions() -> None:
    clock = FrozenClock()
    with Prices(in_memory(FixedModel(), clock)) as prices:
        first = prices.predict(LAB_HOUSE)
        clock.move(timedelta(hours=1))
        second = prices.predict(LAB_HOUSE)
        assert (first.price, first.created_at) == (FIXED_PRICE, NOON)
        assert second.created_at == NOON + timedelta(hours=1)
        assert list(prices.predictions()) == [second, first]
        assert [each.name for each in prices.models()] == ["fixed"]
        assert [each.level for each in first.estimate.intervals] == [80, 90]
        assert first.estimate.warnings == ()


def test_fixed_model_accepts_other_features() -> None:
    schema = FeatureSchema((Feature("area", Kind.NUMBER),))
    with Prices(in_memory(FixedModel(lambda area: 3000 * area, fixed_version(schema)))) as prices:
        assert prices.predict({"area": 70}).price == 210_000


def test_application_without_model_raises_no_model() -> None:
    with Prices(in_memory()) as prices, pytest.raises(NoModel):
        prices.predict(LAB_HOUSE)


def test_other_versions_load_normally() -> None:
    with Prices(in_memory(FixedModel())) as prices:
        version, artifact = read_demonstration()
        prices._application.models.add(version, artifact)
        prices.promote(version.name)
        assert prices.predict(LAB_HOUSE).price == LAB_PRICE
        prices.rollback()
        assert prices.predict(LAB_HOUSE).price == FIXED_PRICE


@pytest.mark.slow
def test_in_memory_service_opens_no_file_or_connection(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-B", "-c", QUIET], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_background_server_answers_and_stops() -> None:
    logs = [logging.getLogger(name) for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")]
    before = [(log.level, list(log.handlers), log.propagate) for log in logs]
    with serving(in_memory(FixedModel())) as url, serving(in_memory(FixedModel(lambda **_: 7.0))) as other:
        assert httpx2.post(f"{url}/predict", json=LAB_HOUSE).json()["prediction"] == FIXED_PRICE
        assert httpx2.post(f"{other}/predict?explain=false", json=LAB_HOUSE).json()["prediction"] == 7.0
        assert httpx2.get(f"{url}/health/ready").json()["status"] == "ready"
    for each in (url, other):
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{each}/health/live")
    assert "housepredict" not in [each.name for each in threading.enumerate()]
    assert [(log.level, list(log.handlers), log.propagate) for log in logs] == before


@define
class BlockedModel(FixedModel):
    began: Event = field(factory=Event)
    may_end: Event = field(factory=Event)

    def predict(self, houses: object) -> Valuation:
        self.began.set()
        assert self.may_end.wait(10)
        return Valuation([1.0])


def test_accepted_request_is_answered_before_stop() -> None:
    model = BlockedModel()
    service = ExitStack()
    url = service.enter_context(serving(in_memory(model)))
    with ThreadPoolExecutor(2) as elsewhere:
        answer = elsewhere.submit(httpx2.post, f"{url}/predict", json=LAB_HOUSE)
        assert model.began.wait(10)
        stopped = elsewhere.submit(service.close)
        model.may_end.set()
        assert answer.result().json()["prediction"] == 1.0
        stopped.result()


def test_failed_start_raises_and_leaves_no_threads() -> None:
    def load(version: ModelVersion, artifact: Artifact) -> Predictor:
        raise OSError("broken")

    made = in_memory(FixedModel())
    made.load_predictor = load
    before = threading.enumerate()
    with pytest.raises(RuntimeError, match="failed to start"), serving(made):
        pass
    left = [each for each in threading.enumerate() if each not in before]
    for each in left:  # threads of the event loop end shortly after it
        each.join(10)
    assert not [each for each in left if each.is_alive()]


def test_background_server_listens_on_loopback_only() -> None:
    with serving(in_memory(FixedModel())) as url:
        address = url.removeprefix("http://").split(":")
        assert address[0] == "127.0.0.1"
        with socket.create_connection((address[0], int(address[1]))):
            pass
