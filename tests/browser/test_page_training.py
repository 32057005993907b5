"""The page of a mounted service with a token: training jobs are started, followed, and cancelled on it."""

from __future__ import annotations

import gzip
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
import uvicorn
from attrs import define, evolve
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from housepredict.entrypoints.http.app import asgi_app
from tests.browser.pages import opened, violations
from tests.browsers import NAMES, find_browser
from tests.http_service import FakeTrainer, application, lab_version, trainable

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason=f"NO BROWSER: the page was not looked at; install one of {', '.join(NAMES)}"
)

TOKEN = "an-example-of-a-token"


@define
class Mounted:
    url: str
    trainer: FakeTrainer
    may_end: Event

    def began(self) -> None:
        assert self.trainer.began.wait(10)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    """The service mounted below a path, with a token and a trainer that blocks until `may_end` is set."""
    may_end = Event()
    trainer = FakeTrainer(may_end=may_end)
    made = trainable(application(lab_version(), token=TOKEN), trainer)
    made.settings = evolve(made.settings, data_dir=tmp_path)
    prices = asgi_app(application=made)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with prices.router.lifespan_context(prices):
            yield

    with serving(Starlette(routes=[Mount("/deep/prices", prices)], lifespan=lifespan)) as url:
        yield Mounted(f"{url}/deep/prices/", trainer, may_end)
        may_end.set()


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_page_works_when_mounted_below_a_path(browser: Browser, mounted: Mounted) -> None:
    with opened(browser, mounted.url) as seen:
        page = seen.page
        expect(page.locator(".moved")).to_have_count(0)
        expect(seen.estimate()).to_have_text("254,206")  # The model has no explanations.
        expect(page.locator("#recent tbody tr")).to_have_count(1)
        page.get_by_role("link", name="Details and plots").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("lab")


def test_token_unlocks_training_with_progress(browser: Browser, mounted: Mounted) -> None:
    with opened(browser, mounted.url) as seen:
        page = seen.page
        expect(page.locator("#closed")).to_contain_text("Enter the service token")
        expect(page.get_by_role("button", name="Train")).to_be_hidden()
        page.get_by_label("Token").fill("no-example-of-any")
        page.get_by_role("button", name="Use token").click()
        expect(page.locator("#token-error")).to_have_text("Wrong token.")
        page.get_by_label("Token").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#access")).to_be_hidden()
        page.get_by_role("button", name="Train").click()
        expect(page.get_by_role("progressbar")).to_be_visible()
        assert violations(page) == []
        mounted.began()
        mounted.may_end.set()
        expect(page.locator("#progress")).to_contain_text("Training succeeded.")
        expect(page.locator("#trainings tbody tr")).to_have_count(1)
        page.reload(wait_until="networkidle")
        expect(page.locator("#closed")).to_contain_text("Enter the service token")  # The token is not stored.
        assert page.context.storage_state() == {"cookies": [], "origins": []}


def enter_token(page: Page) -> None:
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Train")).to_be_visible()


def test_cancelled_training_stores_no_version(browser: Browser, mounted: Mounted) -> None:
    with opened(browser, mounted.url) as seen:
        page = seen.page
        enter_token(page)
        page.get_by_role("button", name="Train").dblclick()
        mounted.began()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#progress")).to_contain_text("cancelling")
        assert violations(page) == []
        mounted.may_end.set()
        expect(page.locator("#progress")).to_have_text("Training cancelled. ")
        expect(page.locator("#trainings tbody tr")).to_contain_text("cancelled")
        expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


@pytest.mark.parametrize("name", ["sales.csv", "SALES.CSV.GZ"])
def test_uploaded_sales_file_is_trained_on(browser: Browser, mounted: Mounted, tmp_path: Path, name: str) -> None:
    rows = "\n".join(f"{100 * row},{row % 4},{15_000 * row}" for row in range(1, 60))
    content = f"size,rooms,paid\n{rows}\n".encode()
    content = gzip.compress(content) if name.endswith("GZ") else content
    with opened(browser, mounted.url, 390, dark=True) as seen:
        page = seen.page
        enter_token(page)
        page.get_by_label("Sales CSV").set_input_files({"name": name, "mimeType": "", "buffer": content})
        page.get_by_label("Price column").fill("paid")
        page.get_by_role("button", name="Train").click()
        mounted.began()
        (upload,) = (tmp_path / "uploads").iterdir()
        assert upload.read_bytes() == content
        assert upload.name.endswith(name.lower().removeprefix("sales"))
        assert mounted.trainer.options
        assert mounted.trainer.options.price == "paid"
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        mounted.may_end.set()
        expect(page.locator("#progress")).to_contain_text("Training succeeded.")
        expect(page.locator("#progress")).to_contain_text("The new version was stored, but not promoted")
        expect(page.locator("#progress")).to_contain_text("housepredict models promote")
        expect(page.locator("#trainings tbody tr")).to_contain_text("stored but not promoted")


def test_unusable_file_is_reported_on_page(browser: Browser, mounted: Mounted) -> None:
    with opened(browser, mounted.url, 390) as seen:
        page = seen.page
        enter_token(page)
        page.get_by_label("Price column").fill("paid")
        page.get_by_role("button", name="Train").click()
        expect(page.locator("#progress")).to_contain_text("Choose a sales file")
        page.get_by_label("Sales CSV").set_input_files({"name": "sales.csv", "mimeType": "", "buffer": b"\n"})
        page.get_by_role("button", name="Train").click()
        expect(page.locator("#progress")).to_have_text("Training failed. The file is empty ")
        expect(page.locator("#trainings tbody tr")).to_contain_text("The file is empty")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
