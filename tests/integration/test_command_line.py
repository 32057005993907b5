"""The command line, as whoever types it sees it: output, exit codes, and what the next command finds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from housepredict.entrypoints.cli import EXIT_CODES
from tests.integration.command_line import Run

LAB_HOUSE = ("size=2500", "bedrooms=3", "age=10")


def test_an_estimate_is_printed_and_remembered(run: Run) -> None:
    predicted = run("predict", "--demo", *LAB_HOUSE)
    assert (predicted.code, predicted.out) == (0, "254206.02\n")
    assert "synthetic" in predicted.err
    (remembered,) = run("predictions", "--json").document["predictions"]
    assert remembered["prediction"] == 254206.02
    assert remembered["input"] == {"size": 2500, "bedrooms": 3, "age": 10}
    assert "254,206.02" in run("predictions").out


def test_an_estimate_as_json_is_one_document(run: Run) -> None:
    document = run("predict", "--demo", "--json", *LAB_HOUSE).document
    assert document["prediction"] == 254206.02
    assert document["model_version"] == "demonstration"
    assert [each["code"] for each in document["warnings"]] == ["demonstration"]
    assert {"interval", "fsd"} <= document.keys()
    assert "explanation" not in document


def test_an_estimate_is_explained_for_people_and_for_programs(run: Run) -> None:
    explained = run("predict", "--demo", "--explain", *LAB_HOUSE)
    price, _, _, *rows = explained.out.splitlines()
    assert price == "254206.02"
    # the largest first, in the currency of the price: the model is a line
    assert [row.split()[0] for row in rows] == ["(base)", "size", "age", "bedrooms"]
    amounts = [float(row.split()[1].replace(",", "")) for row in rows]
    assert sum(amounts) == pytest.approx(254206.02, abs=0.03)
    explanation = run("predict", "--demo", "--explain", "--json", *LAB_HOUSE).document["explanation"]
    assert explanation["unit"] == "price"
    assert explanation["base"] + sum(each["contribution"] for each in explanation["contributions"]) == pytest.approx(
        254206.02, abs=0.005
    )
    assert {each["percent"] for each in explanation["contributions"]} == {None}


def test_contributions_to_a_logarithm_are_told_in_percent(run: Run, sales: str) -> None:
    run("train", sales, "--algorithm", "ridge")
    house = ("sqft=2000", "zip=98101", "pool=true")
    explained = run("predict", "--explain", *house)
    assert explained.code == 0
    assert explained.out.count(" %\n") == 4
    explanation = run("predict", "--explain", "--json", *house).document["explanation"]
    assert explanation["unit"] == "log_price"
    price = explanation["base_price"]
    for each in explanation["contributions"]:
        price *= 1 + each["percent"] / 100
    assert price == pytest.approx(float(explained.out.splitlines()[0]), rel=1e-3)


def test_a_version_without_an_explanation_estimates_and_does_not_explain(run: Run, tmp_path: Path) -> None:
    run("train", "--synthetic")
    (folder,) = (tmp_path / ".housepredict/models/versions").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["digests"]["explanation.npz"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "explanation.npz").unlink()
    assert run("predict", *LAB_HOUSE).out == "254206.02\n"
    refused = run("predict", "--explain", *LAB_HOUSE)
    assert (refused.code, refused.out) == (4, "")
    assert "Train again" in refused.err
    assert len(run("predictions", "--json").document["predictions"]) == 1


def test_predictions_can_be_paged(run: Run) -> None:
    for size in (1000, 1100, 1200):
        run("predict", "--demo", f"size={size}", "bedrooms=3", "age=10")
    first = run("predictions", "--json", "--limit", "2").document["predictions"]
    rest = run("predictions", "--json", "--before", first[-1]["id"]).document["predictions"]
    assert [each["input"]["size"] for each in first + rest] == [1200, 1100, 1000]


def test_estimates_follow_the_schema_of_the_trained_file(run: Run, sales: str) -> None:
    run("train", sales)
    assert run("predict", "sqft=2000", "zip=98101", "pool=true").code == 0
    refused = run("predict", *LAB_HOUSE)
    assert refused.code == 3
    for violation in ("/sqft: is missing", "/zip: is missing", "/size: is no feature", "/age: is no feature"):
        assert violation in refused.err


@pytest.mark.parametrize(
    ("given", "violation"),
    [
        ("size=abc", "/size: must be a number, not text"),
        ("size=NaN", "/size: must be a finite number"),
        ("size=1e999", "/size: must be a finite number"),
        ("size=-1", "/size: must be at least 0"),
        ("size=true", "/size: must be a number, not a boolean"),
        ('size="2500"', "/size: must be a number, not text"),
        ("size=" + "9" * 5000, "/size:"),
        ("bedrooms=2.5", "/bedrooms: must be a whole number"),
        ("colour=red", "/colour: is no feature of this model"),
    ],
)
def test_each_violation_is_named(run: Run, given: str, violation: str) -> None:
    house = {pair.partition("=")[0]: pair for pair in (*LAB_HOUSE, given)}
    refused = run("predict", "--demo", *house.values())
    assert (refused.code, refused.out) == (3, "")
    assert violation in refused.err


def test_a_feature_that_is_given_twice_is_refused(run: Run) -> None:
    refused = run("predict", "--demo", *LAB_HOUSE, "age=11")
    assert refused.code == 3
    assert "/age: is given more than once" in refused.err


def test_without_a_model_it_says_how_to_get_one(run: Run) -> None:
    refused = run("predict", *LAB_HOUSE)
    assert refused.code == 4
    assert "housepredict train" in refused.err
    assert "housepredict train" in run("models").out
    assert "Nothing" in run("predictions").out


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
def test_a_command_line_that_cannot_be_read_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


def test_a_setting_that_cannot_be_read_ends_with_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSEPREDICT_MAX_BATCH", "none")
    refused = run("models")
    assert refused.code == 2
    assert "HOUSEPREDICT_MAX_BATCH" in refused.err


def test_storage_that_cannot_be_reached_ends_with_5(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".housepredict" / "predictions.sqlite").mkdir()
    refused = run("predict", "--demo", *LAB_HOUSE)
    assert (refused.code, refused.out) == (5, "")


def test_a_damaged_model_ends_with_4(run: Run, sales: str, tmp_path: Path) -> None:
    run("train", sales)
    (serving,) = (tmp_path / ".housepredict").rglob("serving.npz")
    serving.write_bytes(serving.read_bytes()[:-1])
    assert run("predict", "sqft=2000", "zip=98101", "pool=true").code == 4


def test_help_explains_each_command_and_exit_code(run: Run) -> None:
    shown = run("--help").out
    assert all(meaning in shown for meaning in EXIT_CODES.values())
    (estimate,) = re.findall(r"^  housepredict (predict .*?)  ", shown, re.MULTILINE)
    assert run(*estimate.split()).code == 0
    for command in ("serve", "train", "predict", "models", "predictions"):
        assert command in shown
        assert run(command, "--help").code == 0
    assert run("models", "rollback", "--help").code == 0
