"""The app mounted in Starlette and FastAPI, and behind a proxy that adds a path prefix."""

from __future__ import annotations

import asyncio
import gc
import locale
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.registry import REGISTRY
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from housepredict.entrypoints.http.app import asgi_app
from housepredict.entrypoints.settings import IN_MEMORY, Settings
from tests.http_service import LAB_HOUSE, LAB_PRICE, FakeTrainer, application, assert_problem, lab_version, trainable

TOKEN = "a token for these tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
Host = Callable[..., Starlette]


def host_in_starlette(prices: Starlette, **options: Any) -> Starlette:
    return Starlette(routes=[Mount("/prices", prices)], **options)


def host_in_fastapi(prices: Starlette, **options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/own")
    def own() -> str:
        return "theirs"

    app.mount("/prices", prices)
    return app


HOSTS = pytest.mark.parametrize("host", [host_in_starlette, host_in_fastapi])


def entering_lifespan(prices: Starlette) -> Any:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with prices.router.lifespan_context(prices):
            yield

    return lifespan


def app_lifespan(prices: Starlette) -> Any:
    return prices.router.lifespan_context


@HOSTS
@pytest.mark.parametrize("lifespan", [entering_lifespan, app_lifespan])
def test_mounted_app_serves_within_host_lifespan(host: Host, lifespan: Callable[..., Any]) -> None:
    prices = asgi_app(application=application(lab_version()))
    with TestClient(host(prices, lifespan=lifespan(prices))) as client:
        assert client.post("/prices/predict", json=LAB_HOUSE).json()["prediction"] == LAB_PRICE
        assert client.get("/prices/health/ready").json()["status"] == "ready"
        assert client.get("/prices/predictions").json()["predictions"][0]["size"] == LAB_HOUSE["size"]
        assert_problem(client.get("/prices/nowhere"), 404, "not-found")
        assert_problem(client.get("/prices/predict"), 405, "wrong-method")


@HOSTS
@pytest.mark.parametrize("path", ["/prices/predict", "/prices/predict?explain=true", "/prices/train", "/prices/sales"])
def test_unstarted_app_names_missing_lifespan_line(host: Host, path: str) -> None:
    client = TestClient(host(asgi_app(application=application(lab_version()))))
    problem = assert_problem(client.post(path, json=LAB_HOUSE), 503, "not-started")
    assert "lifespan=prices.router.lifespan_context" in problem["detail"]


def test_stopped_app_answers_not_started() -> None:
    app = asgi_app(application=application(lab_version()))
    with TestClient(app) as client:
        assert client.get("/health").status_code == 200
    assert_problem(client.get("/health"), 503, "not-started")
    assert client.get("/health/live").status_code == 200


def test_two_apps_with_different_settings_coexist(tmp_path: Path) -> None:
    first = asgi_app(Settings(data_dir=tmp_path / "a", demo=True, max_batch=1))
    second = asgi_app(Settings(data_dir=tmp_path / "b", demo=True, database_url=IN_MEMORY, token=TOKEN))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with first.router.lifespan_context(first), second.router.lifespan_context(second):
            yield

    with TestClient(Starlette(routes=[Mount("/a", first), Mount("/b", second)], lifespan=lifespan)) as client:
        assert_problem(client.post("/a/predict", json=[LAB_HOUSE] * 2), 422, "invalid-houses")
        assert len(client.post("/b/predict", json=[LAB_HOUSE] * 2).json()["predictions"]) == 2
        assert client.get("/a/predictions").json() == {"predictions": []}
        assert len(client.get("/b/predictions").json()["predictions"]) == 2
        assert_problem(client.get("/a/trainings"), 403, "forbidden")
        assert client.get("/b/trainings", headers=BEARER).status_code == 200
        assert "housepredict_model_info" in client.get("/a/metrics").text
        assert "housepredict_model_info" in client.get("/b/metrics").text


def next_link(response: httpx2.Response) -> str:
    return response.headers["Link"].partition(">")[0].removeprefix("<")


@HOSTS
def test_links_and_locations_include_mount_path(host: Host) -> None:
    made = trainable(application(lab_version(), token=TOKEN), FakeTrainer())
    prices = asgi_app(application=made)
    with TestClient(host(prices, lifespan=app_lifespan(prices))) as client:
        client.post("/prices/predict", json=[LAB_HOUSE] * 2)
        newest = client.get("/prices/predictions?limit=1")
        assert next_link(newest).startswith("/prices/predictions?")
        assert client.get(next_link(newest)).json() != newest.json()
        begun = client.post("/prices/train", headers={**BEARER, "Prefer": "respond-async"})
        assert begun.headers["Location"].startswith("/prices/trainings/")
        assert client.get(begun.headers["Location"], headers=BEARER).json()["id"] == begun.json()["id"]


# In ASGI, the path includes the root path, but some servers pass the path as the proxy sent it.
@pytest.mark.parametrize(("mounted", "in_path"), [("", True), ("/prices", True), ("", False)])
def test_links_include_prefix_stripped_by_proxy(mounted: str, in_path: bool) -> None:
    made = application(lab_version())
    prices = asgi_app(application=made)
    app = host_in_fastapi(prices) if mounted else prices
    made.predict([LAB_HOUSE] * 2)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def call() -> None:
        path = f"{mounted}/predictions"
        scope: Scope = {
            "type": "http",
            "method": "GET",
            "root_path": "/a b",
            "path": f"/a b{path}" if in_path else path,
            "headers": [],
            "query_string": b"limit=1",
        }
        async with prices.router.lifespan_context(prices):
            await app(scope, receive, send)

    anyio.run(call)
    assert sent[0]["status"] == 200
    assert f"</a%20b{mounted}/predictions?".encode() in dict(sent[0]["headers"])[b"link"]


def process_state() -> dict[str, object]:
    """Return the process-wide state that a library must not change."""
    known = [None, "housepredict", "uvicorn", "asyncio", "starlette"]
    return {
        "signals": [signal.getsignal(each) for each in signal.valid_signals()],
        "environment": dict(os.environ),
        "logs": [(list(log.handlers), log.level, log.propagate) for log in map(logging.getLogger, known)],
        "disabled logs": logging.root.manager.disable,
        "metrics": dict(REGISTRY._names_to_collectors),
        "switch interval": sys.getswitchinterval(),
        "collector": (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled(), list(gc.callbacks)),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook),
        "import path": (list(sys.path), list(sys.meta_path)),
        "warnings": list(warnings.filters),
        "loop policy": type(asyncio.get_event_loop_policy()),
        "recursion": sys.getrecursionlimit(),
        "locale": locale.setlocale(locale.LC_ALL),
        "folder": Path.cwd(),
        "umask": _umask(),
    }


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def test_process_state_is_not_changed(tmp_path: Path) -> None:
    before, threads = process_state(), set(threading.enumerate())
    prices = asgi_app(Settings(data_dir=tmp_path, demo=True))
    assert process_state() == before
    with TestClient(host_in_starlette(prices, lifespan=app_lifespan(prices))) as client:
        client.post("/prices/predict", json=LAB_HOUSE)
        client.post("/prices/predict?explain=true", json=LAB_HOUSE)
        assert client.get("/prices/metrics").status_code == 200
        assert process_state() == before
    assert process_state() == before
    assert [each for each in set(threading.enumerate()) - threads if "AnyIO" not in each.name] == []


def test_process_state_check_detects_changes() -> None:
    before = process_state()
    sys.setswitchinterval(0.001)
    assert process_state() != before
    sys.setswitchinterval(0.005)
    assert process_state() == before
