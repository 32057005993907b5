"""The page at `/` of real services in a real browser: keyboard, small screens, dark mode, Content Security Policy."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from random import Random

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.pages import Opened, opened, violations
from tests.browsers import NAMES, find_browser
from tests.integration.services import finished, running

pytestmark = pytest.mark.skipif(
    find_browser() is None, reason=f"NO BROWSER: the page was not looked at; install one of {', '.join(NAMES)}"
)

HOSTILE = "<script>window.hacked = 1</script>"
LIGHT, DARK = "rgb(252, 252, 250)", "rgb(21, 22, 20)"


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("demonstration"), "--demo") as service:
        yield service.url


@pytest.fixture(scope="module")
def unusual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service whose model has features of every kind, and names that look like markup."""
    folder = tmp_path_factory.mktemp("strange")
    with (folder / "sales.csv").open("w", newline="", encoding="utf-8") as file:
        rows, draw = csv.writer(file), Random(5)
        rows.writerow(["lot & plot", "style", "street", "garden", "rebuilt", "sale_date", "price"])
        for row in range(240):
            style = (HOSTILE, "cottage", '"villa"')[row % 3]
            garden = ("true", "false")[row % 2]
            rebuilt = "" if row % 7 == 0 else f"{1950 + row % 60}-03-01"
            price = 1000 * (100 + row) + 20_000 * (row % 3) + 5_000 * (row % 2) + draw.randrange(20_000)
            day = f"2024-{1 + row % 12:02}-{1 + row % 28:02}"
            rows.writerow([100.5 + row, style, f"Street {row % 15}", garden, rebuilt, day, price])
    options = ["--price", "price", "--algorithm", "linear"]
    trained = finished(
        "-m", "housepredict", "train", str(folder / "sales.csv"), *options, HOUSEPREDICT_DATA_DIR=str(folder / "data")
    )
    assert trained.returncode == 0, trained.stderr
    with running(folder) as service:
        yield service.url


def test_estimate_works_by_keyboard(browser: Browser, demonstration: str) -> None:
    with opened(browser, demonstration) as seen:
        page, keys = seen.page, seen.page.keyboard
        for text in ("2500", "3", "10"):
            keys.press("Tab")
            keys.press("Control+A")
            keys.type(text)
        keys.press("Tab")
        expect(page.get_by_role("button", name="Estimate")).to_be_focused()
        keys.press("Space")
        expect(page.locator(".price")).to_have_text("254,206")
        expect(page.locator("#announcement[role=status]")).to_have_text("Estimate 254,206. 1 warning.")
        expect(page.locator(".moved li")).to_have_count(3)
        expect(page.locator(".moved .what").first).to_have_text("Size 2500")
        expect(page.locator("#result .note")).to_contain_text("synthetic")
        expect(page.locator("#recent tbody tr")).to_have_count(1)
        expect(page.locator("#recent")).to_contain_text("254,206")
        expect(page.locator("#accuracy")).to_contain_text("Nothing to measure yet")
        expect(page.locator("#drift")).to_contain_text("drift can't be measured")


def test_violations_are_shown_beside_fields_and_first_is_focused(browser: Browser, demonstration: str) -> None:
    with opened(browser, demonstration) as seen:
        page = seen.page
        size, bedrooms, age = (page.get_by_label(each) for each in ("Size", "Bedrooms", "Age"))
        bedrooms.fill("three")
        age.fill("")
        age.press("Enter")
        expect(bedrooms).to_be_focused()
        expect(bedrooms).to_have_attribute("aria-invalid", "true")
        expect(bedrooms).to_have_accessible_description("1 to 5 Must be a number, not text")
        expect(age).to_have_accessible_description("0 to 49 Required")
        expect(size).not_to_have_attribute("aria-invalid", "true")
        assert violations(page) == []
        bedrooms.fill("3")
        age.fill("10")
        seen.estimate()
        expect(page.locator("[aria-invalid]")).to_have_count(0)
        expect(page.locator(".error:visible")).to_have_count(0)


def test_violation_without_field_is_shown_above_form(browser: Browser, demonstration: str) -> None:
    with opened(browser, demonstration) as seen:
        page = seen.page
        page.locator("[data-feature=age]").evaluate("field => field.dataset.feature = 'storeys'")
        page.get_by_role("button", name="Estimate").click()
        expect(page.get_by_role("alert")).to_contain_text("age: required")
        expect(page.get_by_role("alert")).to_contain_text("reload the page")


def test_names_and_categories_are_escaped(browser: Browser, unusual: str) -> None:
    with opened(browser, unusual) as seen:
        page = seen.page
        style = page.get_by_label("Style")
        style.select_option(HOSTILE)
        page.get_by_label("Street").fill("<img src=x onerror='window.hacked = 1'>")
        page.get_by_label("Lot & plot").fill("250")
        seen.estimate()
        expect(page.locator(".moved")).to_contain_text([HOSTILE])
        expect(page.locator("#result .note")).to_contain_text("<img src=x onerror")
        expect(page.locator("#recent")).to_contain_text(HOSTILE)
        assert page.evaluate("window.hacked") is None
        assert page.locator("main script, main img").count() == 0


def test_fields_match_kinds_and_start_with_typical_house(browser: Browser, unusual: str) -> None:
    with opened(browser, unusual) as seen:
        page = seen.page
        kinds = page.locator("[data-feature]").evaluate_all("all => all.map(e => [e.dataset.feature, e.type])")
        assert dict(kinds) == {
            "lot & plot": "text",
            "style": "select-one",
            "street": "text",
            "garden": "checkbox",
            "rebuilt": "date",
            "sale_date": "date",
        }
        assert page.locator("datalist option").count() == 15
        expect(page.get_by_label("Sale date")).to_have_value("")
        assert 200 < float(page.get_by_label("Lot & plot").input_value()) < 240
        assert "2024" in page.locator("#f5-hint").inner_text()
        before = seen.estimate().inner_text()
        page.get_by_label("Lot & plot").fill("330.5")
        seen.estimate()
        expect(page.locator(".price")).not_to_have_text(before)
        expect(page.locator(".intervals .span")).to_have_count(2)


@pytest.mark.parametrize(("dark", "ground"), [(False, LIGHT), (True, DARK)], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_page_fits_and_is_accessible(browser: Browser, unusual: str, width: int, dark: bool, ground: str) -> None:
    with opened(browser, unusual, width, dark=dark) as seen:
        page = seen.page
        for _ in ("before", "after"):
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert violations(page) == []
            seen.estimate()
            page.locator("#recent table").wait_for()


def test_checks_detect_faults(browser: Browser, demonstration: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    seen = Opened(page)
    page.on("console", lambda message: seen.console.append(message.text))
    page.goto(demonstration, wait_until="networkidle")
    assert (violations(page), seen.refused()) == ([], [])
    page.evaluate("""() => {
        const wide = document.createElement("div");
        wide.style.width = "900px";
        wide.style.color = "var(--grid)";
        wide.textContent = "Too faint to read";
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1";
        document.querySelector("header").append(wide, script);
    }""")
    assert page.evaluate("document.documentElement.scrollWidth") >= 900
    assert page.evaluate("window.hacked") is None
    assert [each for each in violations(page) if each.startswith("color-contrast")]
    assert seen.refused()
    page.close()


EXPLAINED = {
    "id": "01970000-0000-7000-8000-000000000001",
    "prediction": 500_000.0,
    "input": {"size": 12_500, "bedrooms": 3, "age": 10},
    "interval": {"80": {"low": 450_000.0, "high": 560_000.0}, "90": {"low": 430_000.0, "high": 590_000.0}},
    "model_version": "lab",
    "valued_on": "2025-05-27",
    "warnings": [],
    "explanation": {
        "unit": "log_price",
        "base": 13.0,
        "base_price": 442_413.39,
        "contributions": [
            {"features": ["bedrooms"], "contribution": -0.05, "percent": -4.88},
            {"features": ["size", "age"], "contribution": 0.2, "percent": 22.14},
            *({"features": [f"less_{at}"], "contribution": 0.001, "percent": 0.1} for at in range(10)),
        ],
    },
}
MEASURED = {
    "sales": 52,
    "unmatched": 2,
    "estimated_after_sale": 0,
    "overall": {
        "n": 50,
        "mdape": 8.234,
        "ppe10": 58.0,
        "cod": 17.1,
        "bounds": {"mdape": {"low": 7.1, "high": 9.4}},
        "coverage": [{"level": 80, "share": 82.0, "width": 1.2}, {"level": 90, "share": 92.0, "width": 1.3}],
        "out_of_range": ["cod"],
    },
}
MOVED = {
    "n": 300,
    "estimates": {"psi": 0.04, "chance": 0.17, "movement": "stable"},
    "features": {
        "age": {"psi": 0.15, "chance": 0.098, "movement": "moving"},
        "size": {"psi": 1.274, "chance": 0.098, "movement": "drifted"},
        "bedrooms": {"psi": 0.01, "chance": 0.1, "movement": "stable"},
    },
}


def test_explanation_accuracy_and_drift_are_shown(browser: Browser, demonstration: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    for path, document in (("predict?explain=true", EXPLAINED), ("accuracy", MEASURED), ("drift", MOVED)):
        page.route(f"{demonstration}/{path}", lambda route, _, answer=document: route.fulfill(json=answer))
    page.goto(demonstration, wait_until="networkidle")
    page.get_by_role("button", name="Estimate").click()
    expect(page.locator("#announcement")).to_have_text("Estimate 500,000; 80% interval 450,000 to 560,000.")
    rows = page.locator(".moved li:visible")
    expect(rows).to_have_count(8)
    expect(rows.nth(0)).to_have_text(re.compile(r"Size, Age 12,500, 10\s*\+22.1%"))
    expect(rows.nth(1)).to_have_text(re.compile(r"Bedrooms 3\s*\u22124.9%"))
    up, down = rows.nth(0).locator("rect"), rows.nth(1).locator("rect")
    assert (up.get_attribute("class"), down.get_attribute("class")) == ("up", "down")
    assert (
        up.get_attribute("x") == down.evaluate("bar => String(bar.x.baseVal.value + bar.width.baseVal.value)") == "20"
    )
    page.get_by_text("4 smaller contributions").click()
    expect(rows).to_have_count(12)
    expect(page.locator("#accuracy")).to_contain_text("8.2% median error (95% bounds: 7.1 to 9.4)")
    expect(page.locator("#accuracy .badge")).to_have_text("out of range")
    expect(page.locator("#accuracy li").filter(has_text="17.1")).to_contain_text("out of range")
    expect(page.locator("#accuracy")).to_contain_text("Skipped: 2 sales with an unknown prediction id.")
    expect(page.locator("#drift tbody tr")).to_have_text([re.compile("Sizedrifted1.27"), re.compile("Agemoving0.15")])
    assert violations(page) == []
    page.close()
