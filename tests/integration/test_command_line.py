"""The command line as a user sees it: output, exit codes, and the state that the next command finds."""

from __future__ import annotations

import re

import pytest

from housepredict.entrypoints.cli.main import EXIT_CODES
from tests.integration.command_line import Run

LAB_HOUSE = ("size=2500", "bedrooms=3", "age=10")


def test_log_price_contributions_are_shown_as_percentages(run: Run, sales: str) -> None:
    run("train", sales, "--algorithm", "ridge")
    house = ("sqft=2000", "zip=98101", "pool=true")
    explained = run("predict", "--explain", *house)
    assert explained.code == 0
    assert explained.out.count("%\n") == 4
    explanation = run("predict", "--explain", "--json", *house).document["explanation"]
    assert explanation["unit"] == "log_price"
    price = explanation["base_price"]
    for each in explanation["contributions"]:
        price *= 1 + each["percent"] / 100
    assert price == pytest.approx(float(explained.out.splitlines()[0]), rel=1e-3)


def test_estimates_follow_the_schema_of_the_trained_file(run: Run, sales: str) -> None:
    run("train", sales)
    assert run("predict", "sqft=2000", "zip=98101", "pool=true").code == 0
    refused = run("predict", *LAB_HOUSE)
    assert refused.code == 3
    for violation in ("sqft: required", "zip: required", "size: not a feature", "age: not a feature"):
        assert violation in refused.err


@pytest.mark.parametrize(
    ("pair", "violation"),
    [
        ("size=abc", "size: must be a number, not text"),
        ("size=NaN", "size: must be a finite number"),
        ("size=1e999", "size: must be a finite number"),
        ("size=-1", "size: must be at least 0"),
        ("size=true", "size: must be a number, not a boolean"),
        ('size="2500"', "size: must be a number, not text"),
        ("size=" + "9" * 5000, "size:"),
        ("bedrooms=2.5", "bedrooms: must be a whole number"),
        ("colour=red", "colour: not a feature of this model"),
    ],
)
def test_predict_names_each_violation(run: Run, pair: str, violation: str) -> None:
    house = {text.partition("=")[0]: text for text in (*LAB_HOUSE, pair)}
    refused = run("predict", "--demo", *house.values())
    assert (refused.code, refused.out) == (3, "")
    assert violation in refused.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("predict",),
        ("predict", "size"),
        ("predict", "=3"),
        ("train",),
        ("train", "sales.csv", "--synthetic"),
        ("train", "--synthetic", "--from-sales"),
        ("train", "sales.csv", "--type", "zip=colour"),
        ("train", "sales.csv", "--promote", "perhaps"),
        ("models", "show"),
        ("models", "demote"),
        ("predictions", "--limit", "0"),
        ("predictions", "--before", "yesterday"),
        ("serve", "--port", "70000"),
    ],
)
def test_invalid_command_line_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


def test_help_explains_each_command_and_exit_code(run: Run) -> None:
    shown = run("--help").out
    assert all(meaning in shown for meaning in EXIT_CODES.values())
    (estimate,) = re.findall(r"^  housepredict (predict .*?)  ", shown, re.MULTILINE)
    assert run(*estimate.split()).code == 0
    for command in ("serve", "train", "predict", "models", "predictions"):
        assert command in shown
        assert run(command, "--help").code == 0
    assert run("models", "rollback", "--help").code == 0


def test_unknown_option_is_rejected_with_the_closest_one(run: Run) -> None:
    refused = run("train", "sales.csv", "--prise", "price")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("usage: housepredict train ")
    assert "unrecognized arguments: --prise price (did you mean --price?)" in refused.err
