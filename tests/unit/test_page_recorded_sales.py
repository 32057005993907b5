"""The recorded sales section of a version's page."""

from __future__ import annotations

from datetime import date
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve

from housepredict.domain.evaluation.held_out import Valued, held_out, measure
from housepredict.domain.features import House
from housepredict.domain.sales import Sale
from housepredict.entrypoints.pages import plots
from housepredict.entrypoints.pages.markup import number
from housepredict.entrypoints.pages.version_page import version_page
from tests.unit.test_version_page import SCHEMA, estimated, figures, parsed, sales, version_of, words

TITLE, PLOT = "Recorded sales", "ratio-over-time"


def page_of(recorded: list[Valued]) -> str:
    rows = estimated(sales(60))
    return version_page(version_of(rows), None, held_out(rows, SCHEMA), recorded)


def plot(page: str) -> ET.Element:
    return next(each for each in parsed(page).iter("figure") if each.attrib["id"] == PLOT)


def dots(figure: ET.Element, class_: str) -> int:
    return sum(len(list(each)) for each in figure.iter("g") if each.attrib.get("class") == class_)


def test_section_is_absent_without_recorded_sales() -> None:
    page = page_of([])
    assert TITLE not in words(parsed(page))
    assert PLOT not in figures(page)


def test_measures_are_shown_beside_held_out_sales() -> None:
    recorded = list(estimated(sales(90)))
    held, back = measure(estimated(sales(60))), measure(recorded)
    page = words(parsed(page_of(recorded)))
    assert "90 recorded sales from " in page
    assert f"Sales 90 {version_of(estimated(sales(60))).evaluation.held_out}" in page
    measures = page[page.index("Measures, with 95% bounds") :]
    assert f"median ratio {number(back.median_ratio, 3)}" in measures
    assert measures.index(number(back.median_ratio, 3)) < measures.index(number(held.median_ratio, 3))
    assert "90% coverage" in measures


def test_plot_draws_sales_and_enough_medians() -> None:
    figure = plot(page_of(list(estimated(sales(90)))))
    assert (dots(figure, "sale"), dots(figure, "median")) == (90, 10)
    assert "By tenth, by sale date: " in words(figure)
    few = plot(page_of(list(estimated(sales(19)))))
    assert (dots(few, "sale"), dots(few, "median")) == (19, 0)
    assert "tenth" not in words(few)


@pytest.mark.parametrize("estimate", [0.0, 1.0, 200_000.0, 1e12])
def test_plot_of_single_sale_accepts_any_estimate(estimate: float) -> None:
    sold = Valued(Sale(House({}), 200_000.0, "a", date(2025, 6, 2)), estimate)
    page = page_of([sold])
    assert "1 recorded sale on June 2, 2025 of houses" in words(parsed(page))
    assert dots(plot(page), "sale") == 1
    assert "nan" not in page


def test_plot_samples_many_sales_and_says_so() -> None:
    recorded = list(estimated(sales(plots.MAX_DRAWN + 1)))
    figure = plot(page_of(recorded))
    assert dots(figure, "sale") == plots.MAX_DRAWN
    assert "Shown: 2,000 of 2,001 sales" in words(figure)


def test_plot_has_title_and_description() -> None:
    recorded = [evolve(each, estimate=2 * each.sale.price) for each in estimated(sales(30))]
    picture = plot(page_of(recorded)).find("svg")
    assert picture is not None
    title, description = (picture.find(name) for name in ("title", "desc"))
    assert title is not None
    assert description is not None
    assert picture.attrib["aria-labelledby"].split() == [title.attrib["id"], description.attrib["id"]]
    assert "Scatter plot of 30 sales" in words(description)
    assert "Median ratio: 2.000" in words(description)
