"""The page of a model version: well-formed, self-contained, and consistent with the manifest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from importlib.resources import files
from random import Random
from statistics import median
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation.held_out import HeldOut, Valued, evaluate, evaluate_out_of_time, held_out, valued
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import Comparison, ModelVersion, Performance, TrainingSource, Verdict
from housepredict.domain.ports import Valuation
from housepredict.domain.sales import Sale
from housepredict.entrypoints.pages import plots
from housepredict.entrypoints.pages.markup import MINUS, tag
from housepredict.entrypoints.pages.plots import coverage
from housepredict.entrypoints.pages.version_page import POLICY, version_page
from housepredict.testing.drawing import model_versions, sample_version
from tests.unit.test_held_out import held_out_sales

SALES_PLOTS = ["estimate-by-price", "ratio-by-price"]
TIME_PLOTS, MAP_PLOTS = ["error-over-time"], ["ratio-on-map"]
INTERVAL_PLOTS = ["actual-by-nominal", "coverage-by-estimate"]
SCHEMA = FeatureSchema(
    (
        Feature("lat", Kind.NUMBER, minimum=-90.0, maximum=90.0, observed=(47.0, 48.0)),
        Feature("long", Kind.NUMBER),
        Feature("size", Kind.INTEGER, unit="sq ft", minimum=0.0, observed=(400, 12345)),
        Feature("zip", Kind.CATEGORY, categories=tuple(f"Z{number}" for number in range(7)), closed=True),
    )
)
CALIBRATION = Calibration(0.24, 0.27, deviation=0.2, within_tenths=tuple(0.03 * tenth for tenth in range(1, 10)))


def sales(count: int, *, dated: bool = True, placed: bool = True) -> list[Sale]:
    draw = Random(3)
    return [
        Sale(
            House(
                {"zip": f"Z{draw.randrange(7)}"}
                | ({"lat": 47 + draw.random(), "long": -122 + draw.random()} if placed else {})
            ),
            draw.lognormvariate(13, 0.5),
            str(row),
            date(2024, 1, 1) + timedelta(draw.randrange(500)) if dated else None,
        )
        for row in range(count)
    ]


def estimated(rows: Sequence[Sale], calibration: Calibration | None = CALIBRATION) -> Sequence[Valued]:
    draw = Random(4)
    prices = [each.price * draw.lognormvariate(0, 0.15) for each in rows]
    return valued(rows, Valuation(prices, [draw.uniform(0.5, 1.5) for _ in rows]), calibration)


def version_of(rows: Sequence[Valued], calibration: Calibration | None = CALIBRATION, **changes: Any) -> ModelVersion:
    version, _ = sample_version()
    return evolve(
        version,
        schema=SCHEMA,
        evaluation=evaluate(rows, SCHEMA, 800, "the sales have no dates"),
        calibration=calibration,
        **changes,
    )


def parsed(page: str) -> ET.Element:
    """Parse the page as XML, which fails if it is not well-formed or escaped."""
    start = "<!DOCTYPE html>\n"
    assert page.startswith(start)
    return ET.fromstring(page.removeprefix(start))


def words(element: ET.Element) -> str:
    element = element if (body := element.find("body")) is None else body
    return " ".join(" ".join(element.itertext()).split())


def figures(page: str) -> list[str]:
    return [each.attrib["id"] for each in parsed(page).iter("figure")]


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_page_is_well_formed_and_self_contained(data: st.DataObject) -> None:
    version = data.draw(model_versions({"model.bin": b""}))
    held_out_data = data.draw(
        st.none() | st.builds(HeldOut, st.lists(held_out_sales, max_size=30).map(tuple), st.integers(30))
    )
    page = version_page(version, data.draw(st.none() | st.just(version.name)), held_out_data)
    document = parsed(page)
    assert not {each.tag for each in document.iter()} & {"script", "link", "img", "iframe", "image", "use", "object"}
    for element in document.iter():
        assert not element.attrib.keys() & {"src", "href", "style"}
        assert not [name for name in element.attrib if name.startswith("on")]
    assert "url(" not in page.partition("</style>")[0]
    assert "@import" not in page.partition("</style>")[0]
    assert [each.attrib.get("content") for each in document.iter("meta")][1] == POLICY


@given(st.text())
def test_texts_are_escaped(text: str) -> None:
    element = ET.fromstring(tag("p", text, class_=text))
    spaced = re.sub("\r\n?", "\n", re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text))
    assert (element.text or "") == spaced
    assert element.attrib["class"] == re.sub("[\t\n]", " ", spaced)


def test_names_that_look_like_markup_are_escaped() -> None:
    evil = "</style><script>alert(1)</script>\"'&"
    rows = estimated(sales(40))
    version = version_of(rows, source=TrainingSource(f"/{evil}.csv", "0" * 64), libraries={evil: evil})
    schema = FeatureSchema((Feature(evil, Kind.CATEGORY, unit=evil, categories=(evil,)),))
    evaluation = evolve(
        version.evaluation, category=evil, categories=(evolve(version.evaluation.price_tenths[0], name=evil),)
    )
    verdict = Verdict(promoted=False, reasons=(evil,))
    page = version_page(evolve(version, schema=schema, evaluation=evaluation, verdict=verdict), None, None)
    assert "<script" not in page
    assert words(parsed(page)).count(evil) == 10


@pytest.mark.parametrize(
    ("dated", "placed", "calibration", "expected"),
    [
        (True, True, CALIBRATION, SALES_PLOTS + TIME_PLOTS + MAP_PLOTS + INTERVAL_PLOTS),
        (False, True, CALIBRATION, SALES_PLOTS + MAP_PLOTS + INTERVAL_PLOTS),
        (True, False, CALIBRATION, SALES_PLOTS + TIME_PLOTS + INTERVAL_PLOTS),
        (True, True, None, SALES_PLOTS + TIME_PLOTS + MAP_PLOTS),
        (False, False, evolve(CALIBRATION, within_80=None, within_90=None), SALES_PLOTS),
        (False, False, evolve(CALIBRATION, within_90=None), SALES_PLOTS + INTERVAL_PLOTS),
    ],
)
def test_plots_depend_on_the_sales(
    dated: bool, placed: bool, calibration: Calibration | None, expected: list[str]
) -> None:
    rows = estimated(sales(60, dated=dated, placed=placed), calibration)
    assert figures(version_page(version_of(rows, calibration), None, held_out(rows, SCHEMA))) == expected


def test_older_version_has_no_plots_and_says_why() -> None:
    page = version_page(version_of(estimated(sales(40))), None, None)
    assert figures(page) == []
    assert "No plots (trained by an older release)" in page
    assert "No promotion decision was recorded" in page


def test_figures_are_accessible() -> None:
    rows = estimated(sales(60))
    for figure in parsed(version_page(version_of(rows), None, held_out(rows, SCHEMA))).iter("figure"):
        picture = figure.find("svg")
        assert picture is not None
        assert picture.attrib["role"] == "img"
        ids = picture.attrib["aria-labelledby"].split()
        title, description = (picture.find(name) for name in ("title", "desc"))
        assert title is not None
        assert description is not None
        assert [title.attrib["id"], description.attrib["id"]] == ids
        assert len(words(description)) > 40
        assert words(title) == words(figure[0])
        axes = [each.text or "" for each in picture.iter("text") if "axis" in each.attrib.get("class", "")]
        assert len(axes) == 2
        assert all(re.search(r"\(.+\)$|Sale date|Tenth of", each) for each in axes)
        caption = figure.find("figcaption")
        assert caption is not None
        assert words(caption).endswith(".")


def test_numbers_match_the_manifest() -> None:
    rows = estimated(sales(150))
    version, held_out_data = version_of(rows), held_out(rows, SCHEMA)
    page = words(parsed(version_page(version, version.name, held_out_data)))
    tenths = ", ".join(f"{each.median_ratio:.3f}" for each in version.evaluation.price_tenths)
    assert f"cheapest first: {tenths}." in page
    for each in version.evaluation.coverage:
        assert f"{each.level}% interval: covered {each.share:.1f}%" in page
    measured = version.evaluation.accuracy
    for text in (f"{measured.mdape:.1f}%", f"{measured.ppe5:.1f}%", f"{measured.rmse:,.0f}", f"{measured.prd:.3f}"):
        assert text in page
    for name, between in version.evaluation.bounds.items():
        digits = 1 if name in ("mdape", "ppe10", "cod") else 3
        assert f"{between.low:.{digits}f} to {between.high:.{digits}f}".replace("-", MINUS) in page
    for segment in version.evaluation.categories:
        assert f"{segment.name} {segment.n} {segment.median_ratio:.3f} {segment.mdape:.1f}%" in page


def test_coverage_matches_the_intervals() -> None:
    rows = estimated(sales(150))
    held_out_data = held_out(rows, SCHEMA)
    shares = {each.level: each.share for each in evaluate(rows, SCHEMA, 0, "the sales have no dates").coverage}
    assert shares == {80: coverage(held_out_data.sales, 0.24), 90: coverage(held_out_data.sales, 0.27)}


def test_out_of_time_measures_are_beside_overall_ones() -> None:
    rows = estimated(sales(150))
    version = version_of(rows)
    later = evaluate_out_of_time(estimated(sales(40)), date(2015, 3, 10), 700)
    version = evolve(
        version, evaluation=evolve(version.evaluation, out_of_time=later), irreproducible="it ran out of time"
    )
    page = words(parsed(version_page(version, None, None)))
    assert "trained on 700 sales before March 10, 2015 and evaluated on 40 from that day on" in page
    assert f"MdAPE {later.accuracy.mdape:.1f}% {version.evaluation.accuracy.mdape:.1f}%" in page
    for latest, all_dates in zip(later.coverage, version.evaluation.coverage, strict=True):
        assert f"{latest.level}% coverage {latest.share:.1f}% {all_dates.share:.1f}%" in page
    assert "no: it ran out of time" in page
    assert "Not available: the sales have no dates." in words(parsed(version_page(version_of(rows), None, None)))


def test_comparison_and_verdict_are_shown() -> None:
    rows = estimated(sales(40))
    version = version_of(rows)
    ours = Performance(0.1, evolve(version.evaluation.accuracy, cod=11.1), 91.5, 0.0)
    theirs = Performance(0.2, evolve(version.evaluation.accuracy, cod=22.2), None, 3.0)
    verdict = Verdict(True, ("It is closer.",), Comparison("the-champion", 40, 99.0, ours, theirs))
    page = words(parsed(version_page(evolve(version, verdict=verdict), None, None)))
    for text in ("This version was promoted", "It is closer.", "the-champion", "COD 11.1 22.2", "10.52% 22.14%"):
        assert text in page
    assert "90% coverage 91.5% -" in page


def test_large_plot_draws_a_sample_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = estimated(sales(90))
    monkeypatch.setattr(plots, "MAX_DRAWN", 50)
    [scatter, *_] = parsed(version_page(version_of(rows), None, held_out(rows, SCHEMA))).iter("figure")
    assert len(list(scatter.iter("circle"))) == 50
    assert "Shown: 50 of 90 held-out sales." in words(scatter)


def test_points_beyond_axes_are_drawn_at_edge_and_counted() -> None:
    rows = [*estimated(sales(90)), Valued(Sale(House({}), 4e5, "free"), 0.0)]
    scatter, ratios, *_ = parsed(version_page(version_of(rows), None, held_out(rows, SCHEMA))).iter("figure")
    assert re.search(r"including [1-9]\d* outside the axes, drawn at the edge", words(scatter))
    assert len(list(scatter.iter("circle"))) == 91
    heights = [float(each.attrib["cy"]) for each in ratios.iter("circle") if each.attrib["r"] == "1.8"]
    assert len(heights) == 91
    assert max(heights) == 250


def test_single_sale_can_be_drawn() -> None:
    rows = estimated(sales(1))
    assert (
        figures(version_page(version_of(rows), None, held_out(rows, SCHEMA)))
        == SALES_PLOTS + MAP_PLOTS + INTERVAL_PLOTS
    )


def test_median_of_tenth_is_drawn_at_its_values() -> None:
    rows = estimated(sales(10))
    held_out_data = held_out(rows, SCHEMA)
    _, ratios, *_ = parsed(version_page(version_of(rows), None, held_out_data)).iter("figure")
    medians = [each for each in ratios.iter("circle") if each.attrib["r"] == "4.5"]
    dots = [each for each in ratios.iter("circle") if each.attrib["r"] == "1.8"]
    # Each tenth has one sale.
    assert {(each.attrib["cx"], each.attrib["cy"]) for each in medians} == {
        (each.attrib["cx"], each.attrib["cy"]) for each in dots
    }
    assert median(sale.ratio for sale in held_out_data.sales) > 0


def colors(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6}|\.\d+);", block))


def luminance(channels: Sequence[float]) -> float:
    """Return the relative luminance as defined by WCAG 2.2."""
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def channels(color: str) -> list[float]:
    return [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colors_have_wcag_aa_contrast(scheme: int) -> None:
    style = files("housepredict.entrypoints.pages").joinpath("style.css").read_text(encoding="utf-8")
    found = colors(re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme])
    paper, card, shaded = (channels(found[name]) for name in ("paper", "card", "band"))
    for name in ("ink", "soft", "good", "bad"):
        assert contrast(channels(found[name]), paper) >= 4.5, name
    assert contrast(channels(found["ink"]), card) >= 4.5
    for name in ("far-below", "below", "near", "above", "far-above", "strong", "ink"):
        assert contrast(channels(found[name]), paper) >= 3, name
    assert contrast(channels(found["strong"]), shaded) >= 3
    density = float(found["density"])
    for ground in (paper, shaded):
        dot = [density * a + (1 - density) * b for a, b in zip(channels(found["dot"]), ground, strict=True)]
        assert contrast(dot, ground) >= 3
