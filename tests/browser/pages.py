"""Pages in a browser, with its console messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from attrs import define, field
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect


@define
class Opened:
    """A page, and the console messages of the browser."""

    page: Page
    console: list[str] = field(factory=list)

    def refused(self) -> list[str]:
        return [each for each in self.console if "Content Security Policy" in each or "Error:" in each]

    def estimate(self) -> Locator:
        self.page.get_by_role("button", name="Estimate").click()
        price = self.page.locator(".price")
        expect(price).to_be_visible()
        return price


@contextmanager
def opened(browser: Browser, url: str, width: int = 1280, *, dark: bool = False) -> Iterator[Opened]:
    page = browser.new_page(color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900})
    made = Opened(page)
    page.on("console", lambda message: made.console.append(message.text))
    page.on("pageerror", lambda error: made.console.append(f"Error: {error}"))
    page.on("dialog", lambda dialog: made.console.append("Error: a dialog"))
    try:
        page.goto(url, wait_until="networkidle")
        yield made
        assert made.refused() == []
    finally:
        page.close()


def violations(page: Page) -> list[str]:
    """Return the violations that axe-core finds, with their elements."""
    found = cast(dict[str, Any], Axe().run(page).response)["violations"]
    return [f"{each['id']}: {each['help']}: {node['html']}" for each in found for node in each["nodes"]]
