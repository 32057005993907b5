"""The campaign's report: the figures of all trials and the page made from them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from attrs import evolve

from campaign import report
from campaign.attacks import ATTACKS
from campaign.checker import Rule
from campaign.trials import Attack, Result, Trial
from tests.docs.environment import ROOT


def nothing(_trial: Trial) -> None:
    raise NotImplementedError


TRIES = Attack("tries", "Tries", "attempts", full=25, quick=3, each=10, must_hold="none lost", run=nothing, p95=5.0)
OTHERS = evolve(TRIES, name="others", title="Others")
PASSED = Result("tries", 0, "one", 10, 60.04, {"estimate: 200": 1500, "kills": 10}, {"ready": [1.0, 2.0, 3.0]})
SLOW = Result("tries", 1, "two", 10, 60.0, {"estimate: 200": 500}, {"ready": [9.0]})
FAILED = evolve(PASSED, number=2, seed="three", failure="FAILED with seed three: Broken: lost")


def figures(results: Mapping[str, Sequence[Result]], path: Path = Path("none"), code: str = "abc") -> object:
    return report.merge(path, code, results, [TRIES, OTHERS])


def page_of(*results: Result) -> str:
    return report.page(figures({"tries": results}), [TRIES, OTHERS])


def test_figures_sum_over_trials() -> None:
    assert figures({"tries": [PASSED, SLOW], "others": []}) == {
        "code": "abc",
        "attacks": {
            "tries": {
                "trials": 2,
                "units": 20,
                "took": 120.0,
                "first_seed": "one",
                "last_seed": "two",
                "other_seeds": ["two"],
                "failures": [],
                "unavailable": [],
                "counts": {"estimate: 200": 2000, "kills": 10},
                "seconds": {"ready": {"times": 4, "median": 2.5, "p95": pytest.approx(8.1), "longest": 9.0}},
            }
        },
    }


def test_figures_of_same_code_are_preserved(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    others = evolve(PASSED, attack="others")
    report.write(figures({"tries": [PASSED], "others": [others]}), [TRIES, OTHERS], path)
    merged = figures({"tries": [PASSED, SLOW]}, path)
    assert isinstance(merged, dict)
    assert {name: row["trials"] for name, row in merged["attacks"].items()} == {"tries": 2, "others": 1}


def test_figures_of_other_code_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    report.write(figures({"others": [PASSED]}), [TRIES, OTHERS], path)
    merged = figures({"tries": [PASSED]}, path, code="def")
    assert isinstance(merged, dict)
    assert (merged["code"], list(merged["attacks"])) == ("def", ["tries"])


def test_unavailable_trials_count_as_not_run() -> None:
    page = page_of(evolve(PASSED, counts={}, seconds={}, unavailable="no disks"))
    assert "| 0 of 25 attempts |" in page
    assert "Could not run: no disks." in page


@pytest.mark.parametrize(
    ("results", "row"),
    [
        ([], "| Others | not run | none lost | | |"),
        ([PASSED], "| [Tries](#tries) | 10 of 25 attempts | none lost | none | 1,500 |"),
        ([PASSED, SLOW], "| [Tries](#tries) | 20 of 25 attempts | none lost | too slow | 2,000 |"),
        ([PASSED, SLOW, FAILED], "| [Tries](#tries) | 30 of 25 attempts | none lost | 1 | 3,500 |"),
    ],
)
def test_page_has_a_row_for_each_attack(results: list[Result], row: str) -> None:
    assert row in page_of(*results).splitlines()


def test_page_shows_times_counts_and_failures() -> None:
    lines = page_of(PASSED, FAILED).splitlines()
    assert "| ready | 6 | 2.00 | 3.00 | 3.00 |" in lines
    assert "Counts: requests 3,000; kills 20." in lines
    assert "- FAILED with seed three: Broken: lost" in lines


def test_a_page_shares_beginnings_of_times_and_adds_up_counts() -> None:
    counts = {"find: 200": 1000, "list: no answer": 9, "cuts: before": 2, "cuts: after": 1, "late: LOST": 4}
    seconds = {"until ready after a kill": [1.0], "until ready after a cut": [2.0]}
    lines = page_of(evolve(PASSED, counts=counts, seconds=seconds)).splitlines()
    assert "| Seconds until ready after a | Times | Median | 95% | Longest |" in lines
    assert "| cut | 1 | 2.00 | 2.00 | 2.00 |" in lines
    assert "Counts: cuts 3; requests 1,009; late: LOST 4." in lines


@pytest.mark.parametrize(("result", "fast"), [(PASSED, True), (SLOW, False), (evolve(SLOW, seconds={}), True)])
def test_attack_is_fast_enough_up_to_its_limit(result: Result, fast: bool) -> None:
    merged = figures({"tries": [result]})
    assert isinstance(merged, dict)
    assert report.is_fast_enough(TRIES, merged["attacks"]["tries"]) is fast
    assert report.is_fast_enough(evolve(TRIES, p95=None), merged["attacks"]["tries"])


def test_documentation_page_matches_figures() -> None:
    """Regenerate the page with `.venv/bin/python -m campaign --report`."""
    figures = json.loads((ROOT / report.FIGURES).read_text(encoding="utf-8"))
    assert (ROOT / report.PAGE).read_text(encoding="utf-8") == report.page(figures, ATTACKS)


def test_attack_names_are_unique() -> None:
    assert len({each.name for each in ATTACKS}) == len(ATTACKS)


def test_readme_lists_every_attack_and_rule() -> None:
    readme = (ROOT / "campaign/README.md").read_text(encoding="utf-8")
    assert {each.name for each in ATTACKS} | {each.name for each in Rule} == set(
        re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)
    )
