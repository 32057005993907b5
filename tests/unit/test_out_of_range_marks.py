"""Marks of measures out of range, in the terminal, on pages and in JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve

from housepredict.domain.evaluation.measures import Coverage, OutOfTimeEvaluation
from housepredict.domain.models import ModelVersion, Pointer
from housepredict.domain.usecases.review import AccuracyReview, Measured, RealizedSales
from housepredict.entrypoints.answers import AccuracyAnswer, EvaluationAnswer
from housepredict.entrypoints.cli.model_commands import evaluation_text, models_text
from housepredict.entrypoints.cli.sale_commands import accuracy_text
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.pages.home import home_page
from housepredict.entrypoints.pages.version_page import key_figures, version_page
from housepredict.testing.drawing import sample_version

SOUND = {"n": 200, "cod": 10.0, "prd": 1.0, "prb": 0.0, "median_ratio": 1.0}


def version_with(shares: Mapping[int, float], **measures: Any) -> ModelVersion:
    """Return a version with these measures and coverage, both held-out and out-of-time."""
    version, _ = sample_version()
    accuracy = evolve(version.evaluation.accuracy, **{**SOUND, **measures})
    coverage = tuple(Coverage(level, share, 1.2) for level, share in shares.items())
    later = OutOfTimeEvaluation(date(2025, 5, 1), 800, 200, accuracy, coverage)
    return evolve(
        version, evaluation=evolve(version.evaluation, accuracy=accuracy, coverage=coverage, out_of_time=later)
    )


GOOD = version_with({80: 80.5, 90: 90.5})
BAD = version_with({80: 16.1, 90: 20.2}, cod=239_429.7, prd=1.04)
NAMES = ("cod", "prd", "coverage_80", "coverage_90")


def marked_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "OUT OF RANGE" in line]


def test_terminal_marks_each_measure_out_of_range() -> None:
    assert marked_lines(evaluation_text(GOOD.evaluation)) == []
    cod, prd, narrow, wide, later = marked_lines(evaluation_text(BAD.evaluation))
    assert re.match(r"COD +239,429.7 +OUT OF RANGE: .*acceptable: 5 to 15", cod)
    assert re.match(r"PRD +1.040 +OUT OF RANGE: .*acceptable: 0.98 to 1.03", prd)
    assert narrow.startswith("OUT OF RANGE: 80% interval: covered 16.1% of sale prices; typically -17% to +20%")
    assert narrow.endswith("; acceptable: 70.5% to 88.5%")
    assert wide.startswith("OUT OF RANGE: 90% interval: covered 20.2% of sale prices")
    assert later.count("OUT OF RANGE") == 2
    assert "80% coverage 16.1% (OUT OF RANGE)" in later


def test_json_names_measures_out_of_range() -> None:
    good, bad = (document(each.evaluation, EvaluationAnswer) for each in (GOOD, BAD))
    assert good["out_of_range"] == good["out_of_time"]["out_of_range"] == ()
    assert bad["out_of_range"] == bad["out_of_time"]["out_of_range"] == NAMES


def test_model_list_names_measures_out_of_range() -> None:
    good, bad = (models_text([each], Pointer()) for each in (GOOD, BAD))
    assert "coverage" not in good
    assert ", ".join(NAMES) in bad


def badges(page: str) -> list[str]:
    """Return the texts of the rows and figures that are marked."""
    tree = ET.fromstring(page.removeprefix("<!DOCTYPE html>"))
    return [
        " ".join("".join(row.itertext()).split())
        for row in tree.iter()
        if row.tag in ("tr", "li", "p") and any(each.text == "out of range" for each in row.iter("span"))
    ]


@pytest.mark.parametrize(
    "page",
    [lambda it: version_page(it, None, None), lambda it: home_page(it, {"size": 1})],
    ids=["version page", "home page"],
)
def test_page_marks_each_key_figure_out_of_range(page: Any) -> None:
    assert badges(page(GOOD)) == []
    found = badges(page(BAD))
    assert any(each.startswith("239,429.7 coefficient of dispersion (COD) out of range") for each in found)
    assert any(each.startswith("20.2% of sale prices in the 90% interval out of range") for each in found)
    assert any(each == "out of range PRD, 80% coverage" for each in found)


def test_key_figures_mark_only_measures_out_of_range() -> None:
    figures = key_figures(version_with({90: 20.2}).evaluation)
    assert figures.count("out of range") == 1


def test_version_page_tables_mark_measures() -> None:
    found = badges(version_page(BAD, None, None))
    assert sum(each.startswith("COD") for each in found) == 2  # held-out and latest sales
    assert sum(each.startswith("80% coverage") for each in found) == 1
    assert any("80% interval: covered 16.1% of sale prices" in each for each in found)


@pytest.mark.parametrize(("version", "names"), [(GOOD, ()), (BAD, NAMES)])
def test_recorded_sales_accuracy_is_marked(version: ModelVersion, names: tuple[str, ...]) -> None:
    measured = Measured(version.evaluation.accuracy, {}, version.evaluation.coverage, names)
    review = AccuracyReview(RealizedSales(200, 0, 0, False, {}), measured, {"a": measured})
    assert document(review, AccuracyAnswer, since=None, until=None)["overall"]["out_of_range"] == names
    assert accuracy_text(review).count(", ".join(names) or "coverage_") == (2 if names else 0)
