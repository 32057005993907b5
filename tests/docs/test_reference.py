"""The reference names what there is, all of it, and nothing that there is not."""

from __future__ import annotations

import argparse
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from attrs import fields

import housepredict
from housepredict.adapters.documents import STORED_NAMES
from housepredict.domain.evaluation.measures import Accuracy, Coverage, Evaluation, OutOfTimeEvaluation, Segment
from housepredict.domain.models import ModelVersion
from housepredict.domain.sales import RealizedSale, RecordedSale
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.training_status import TrainingOutcome, TrainingStatus
from housepredict.domain.usecases.review import AccuracyReview, Measured, RealizedSales
from housepredict.domain.validation import Rule
from housepredict.entrypoints.cli.main import EXIT_CODES, parser
from housepredict.entrypoints.http.routes.route_table import ROUTES
from housepredict.entrypoints.python import Prices
from housepredict.entrypoints.settings import PREFIX, REMOVED, variables
from tests.docs.environment import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").glob("*.md"),
    ROOT / "campaign/README.md",
]
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
# [text](target), the target in its two halves
_LINK = re.compile(r"\[[^\]]*\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
REMOVED_VARIABLES = {PREFIX + name.upper() for name in REMOVED}


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def sections(name: str) -> dict[str, str]:
    """The text below each heading."""
    _, *parts = re.split(r"^#+ ", read(name), flags=re.MULTILINE)
    return {title.strip("`"): text for title, _, text in (part.partition("\n") for part in parts)}


def first_column(text: str) -> set[str]:
    """What stands first in the rows of the tables, several names in a cell apart."""
    return {
        name for cell in re.findall(r"^\| (`.+?) \|", text, re.MULTILINE) for name in re.findall(r"`([^`]+)`", cell)
    }


def assert_same(documented: Collection[str], there: Collection[str]) -> None:
    assert there, "there should be something to document"
    assert set(documented) == set(there)


def test_every_setting_is_documented() -> None:
    assert_same(first_column(read("reference/settings.md")), {*variables(), *REMOVED_VARIABLES})


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_no_page_names_a_setting_that_is_none(path: Path) -> None:
    named = set(re.findall(r"\b(?:HOUSEPREDICT|DB)_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    # the changelog and the reference name what was removed
    known = set(variables())
    assert named <= (known | REMOVED_VARIABLES if path.name in ("CHANGELOG.md", "settings.md") else known)


def test_every_route_is_documented() -> None:
    there = {f"{method} {route.path}" for route in ROUTES for method in (route.methods or set()) - {"HEAD"}}
    documented = [title for title in sections("reference/http.md") if re.match("[A-Z]+ /", title)]
    assert_same(documented, there)


def commands() -> dict[str, argparse.ArgumentParser]:
    """The commands by name, those below another too."""

    def below(parser: argparse.ArgumentParser, *path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, command in action.choices.items():
                    yield " ".join((*path, name)), command
                    yield from below(command, *path, name)

    return dict(below(parser()))


def test_every_command_is_documented() -> None:
    titles = [title for title in sections("reference/command-line.md") if title.startswith("housepredict ")]
    assert_same(titles, [f"housepredict {name}" for name in commands()])


@pytest.mark.parametrize("name", commands())
def test_every_option_is_documented(name: str) -> None:
    page = sections("reference/command-line.md")
    documented = first_column(page[f"housepredict {name}"]) | first_column(page["Command line"]) | {"-h", "--help"}
    there = {option for action in commands()[name]._actions for option in action.option_strings}
    assert_same({each.split()[0] for each in documented}, there)


def test_every_exit_code_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", read("reference/command-line.md"), re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES


def test_every_problem_is_documented() -> None:
    there = re.findall(r"Problem(?:Type)?\(\s*\"([a-z]+(?:-[a-z]+)*)\"", SOURCE)
    assert_same(first_column(sections("reference/http.md")["Problems"]) - {"urn:housepredict:problem:…"}, there)


def test_every_rule_is_documented() -> None:
    assert_same(first_column(sections("reference/http.md")["Violations"]), list(Rule))


def test_every_warning_is_documented() -> None:
    there = re.findall(r"EstimateWarning\(\s*\"(\w+)\"", SOURCE)
    assert_same(first_column(sections("reference/http.md")["Warnings"]), there)


def test_every_public_name_is_documented() -> None:
    page = sections("reference/python.md")
    titles = {title.partition("(")[0] for title in page} - {"Python", "Errors", "Values"}
    assert_same(titles | first_column(page["Values"]) | first_column(page["Errors"]), housepredict.__all__)


def test_every_member_of_prices_is_documented() -> None:
    documented = first_column(sections("reference/python.md")["Prices"])
    there = {name for name in vars(Prices) if not name.startswith("_")}
    assert there <= {each.partition("(")[0] for each in documented}


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        (Accuracy, "explanation/accuracy.md"),
        (Coverage, "explanation/accuracy.md"),
        (Segment, "explanation/accuracy.md"),
        (Evaluation, "reference/model-versions.md"),
        (OutOfTimeEvaluation, "reference/model-versions.md"),
        (TrainingOptions, "reference/python.md"),
        (ModelVersion, "reference/model-versions.md"),
        (RecordedSale, "reference/python.md"),
        (RealizedSale, "reference/python.md"),
        (Measured, "reference/python.md"),
        (AccuracyReview, "reference/python.md"),
        (RealizedSales, "reference/python.md"),
        (TrainingStatus, "reference/python.md"),
        (TrainingOutcome, "reference/python.md"),
    ],
)
def test_every_field_is_documented(kind: type, page: str) -> None:
    names = {STORED_NAMES.get((kind, attribute.name), attribute.name) for attribute in fields(kind)}
    assert names <= set(re.findall(r"`(\w+)`", read(page)))


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target, anchor in _LINK.findall(path.read_text(encoding="utf-8")):
        found = path.parent / target if target else path
        assert found.exists(), target
        if anchor:
            assert anchor in map(slug, _HEADING.findall(found.read_text(encoding="utf-8"))), f"{target}#{anchor}"


def slug(heading: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "adr"]
    assert len(pages) > 1
    assert [str(path) for path in pages if f"({path.relative_to(ROOT)})" not in readme] == []
