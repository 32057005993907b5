"""The command line, as whoever types it sees it: output, exit codes, and what the next command finds."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from housepredict.entrypoints.cli import EXIT_CODES, main

LAB_HOUSE = ("size=2500", "bedrooms=3", "age=10")


class Outcome:
    """What a command printed, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run housepredict in a folder of its own, with nothing set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".housepredict").mkdir()

    def run(*arguments: str) -> Outcome:
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Outcome(code, out, err)

    return run


@pytest.fixture
def sales(tmp_path: Path) -> str:
    """A small file of sales, with two rows that are none."""
    draw = random.Random(1)
    with (tmp_path / "sales.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["parcel_id", "sold", "price", "sqft", "zip", "pool"])
        for row in range(200):
            sqft, pool = draw.randint(600, 4000), draw.random() < 0.2
            price = round(sqft * 150 + 40000 * pool + draw.gauss(0, 9000))
            month, town = row % 12 + 1, draw.choice(["98101", "98102"])
            rows.writerow([7000 + row * 13, f"2024-{month:02}-03", price, sqft, town, pool])
        rows.writerow([1, "2024-01-01", "", 1000, "98101", False])
        rows.writerow([2, "2024-01-01", "unknown", 1000, "98101", False])
    return "sales.csv"


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


def test_training_says_what_it_decided_and_how_good_the_model_is(run: Run, sales: str) -> None:
    trained = run("train", sales)
    assert trained.code == 0, trained.err
    for said in ("parcel_id", "house id", "sale date", "2 rows rejected", "MdAPE", "COD", "Promoted"):
        assert said in trained.out
    assert "*" in run("models").out


def test_training_and_the_version_tell_how_it_does_on_the_latest_sales(run: Run, sales: str) -> None:
    trained = run("train", sales, "--algorithm", "linear")
    told = "On the latest sales (32 since 2024-11-03, the same recipe having learned from 168 before): MdAPE"
    assert told in trained.out
    (model,) = run("models", "--json").document["models"]
    assert told in run("models", "show", model["model_version"]).out
    later = model["evaluation"]["later"]
    assert (later["since"], later["trained_on"], later["held_out"]) == ("2024-11-03", 168, 32)
    assert later["mdape"] < 20
    assert [each["level"] for each in later["coverage"]] == [80, 90]
    undated = run("train", sales, "--exclude", "sold", "--algorithm", "linear")
    assert "Not evaluated on the latest sales: they have no dates." in undated.out


def test_a_search_that_a_time_limit_ended_is_told_of(run: Run, sales: str) -> None:
    ended = run("train", sales, "--time-limit", "0.000001", "--promote", "never")
    why = "the time limit of 1e-06 s ended the search with 1 of 4 recipes compared"
    assert f"Training again may make another model: {why}." in ended.out
    assert "(ridge)" in ended.out
    (model,) = run("models", "--json").document["models"]
    assert (model["reproducible"], model["irreproducible"]) == (False, why)
    shown = run("models", "show", model["model_version"]).out
    assert f"no: {why}" in shown
    assert "time_limit=1e-06" in shown
    enough = run("train", sales, "--json", "--time-limit", "1e6", "--algorithm", "ridge").document
    assert (enough["reproducible"], enough["irreproducible"]) == (True, None)


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_is_a_number_of_seconds(run: Run, sales: str, limit: str) -> None:
    refused = run("train", sales, f"--time-limit={limit}")
    assert (refused.code, "seconds above 0" in refused.err) == (2, True)


def test_a_training_as_json_has_its_measures_as_numbers(run: Run, sales: str) -> None:
    document = run("train", sales, "--json").document
    measures = ("mdape", "ppe10", "cod", "prd", "prb", "r2")
    assert all(isinstance(document["evaluation"][name], float) for name in measures)
    assert document["evaluation"]["trained_on"] + document["evaluation"]["held_out"] == 200
    assert sum(document["rejected_rows"].values()) == 2
    (model,) = run("models", "--json").document["models"]
    assert (model["model_version"], model["promoted"]) == (document["model_version"], True)


def test_a_version_replaces_the_promoted_one_if_it_is_better_or_if_one_says_so(run: Run, sales: str) -> None:
    first = run("train", sales, "--json", "--seed", "1").document
    assert (first["promoted"], first["reasons"], first["comparison"]) == (
        True,
        ["No version was promoted before."],
        None,
    )
    same = run("train", sales, "--json", "--seed", "1").document
    assert (same["promoted"], "identical" in same["reasons"][0]) == (False, True)
    kept = run("train", sales, "--seed", "2", "--promote", "never")
    assert "Kept, and not promoted" in kept.out
    compared = run("train", sales, "--json", "--seed", "3", "--algorithm", "boosting").document
    assert compared["comparison"]["champion"] == first["model_version"]
    assert compared["comparison"]["sales"] == compared["evaluation"]["held_out"]
    assert not compared["promoted"] or compared["comparison"]["better"] >= 95
    assert run("train", sales, "--json", "--seed", "4", "--promote", "always").document["promoted"]
    assert [each["promoted"] for each in run("models", "--json").document["models"]] == [False] * 4 + [True]


def test_a_version_of_other_features_is_promoted_and_says_that_it_was_compared_on_nothing(run: Run, sales: str) -> None:
    run("train", sales)
    other = run("train", sales, "--exclude", "pool")
    assert "can be compared on no house" in other.out
    assert "\nPromoted" in other.out


def test_a_version_can_be_shown_promoted_and_taken_back(run: Run, sales: str) -> None:
    names = [run("train", sales, "--json", "--exclude", each).document["model_version"] for each in ("pool", "zip")]
    shown = run("models", "show", names[0])
    for said in (names[0], "SHA-256", "exclude=('pool',)", "sqft", "95 % bounds", "in 90 % interval", "zip", "98101"):
        assert said in shown.out
    document = run("models", "show", names[0], "--json").document
    assert (document["model_version"], document["promoted"]) == (names[0], False)
    assert document["options"]["exclude"] == ["pool"]
    low, high = (document["evaluation"]["bounds"]["mdape"][name] for name in ("low", "high"))
    assert low <= document["evaluation"]["mdape"] <= high
    assert [each["name"] for each in document["evaluation"]["categories"]]

    assert names[0] in run("models", "promote", names[0]).out
    assert run("models", "rollback", "--json").document["model_version"] == names[1]
    assert run("models", "rollback", "--json").document["model_version"] == names[0]
    assert run("models", "--json", "show", names[0]).document["promoted"]
    refused = run("models", "rollback")
    assert refused.code == 4
    assert "nothing to go back to" in refused.err


def test_a_version_can_be_shown_as_a_page(run: Run, sales: str, tmp_path: Path) -> None:
    trained = run("train", sales, "--json").document
    name = trained["model_version"]
    assert f"models show {name} --html FILE" in run("models", "show", name).out
    shown = run("models", "show", name, "--html", "page.html")
    assert (shown.code, shown.out, shown.err) == (0, "", "housepredict: wrote page.html\n")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for said in (name, "No version was promoted before.", "sqft", "98101", "estimate-by-price", "error-over-time"):
        assert said in page
    assert "ratio-on-map" not in page
    both = run("models", "show", name, "--json", "--html", "again.html")
    assert both.document["digests"].keys() >= {"estimator.joblib", "held-out.json", "serving.npz"}
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page
    refused = run("models", "show", name, "--html", "nosuch/page.html")
    assert refused.code == 5
    assert "nosuch" in refused.err


def test_a_folder_is_taken_before_the_command_below_models_and_after_it(run: Run, sales: str) -> None:
    name = run("train", sales, "--json", "--data-dir", "other").document["model_version"]
    assert run("models", "show", name).code == 4
    assert run("models", "show", name, "--data-dir", "other").code == 0
    assert run("models", "--data-dir", "other", "show", name).code == 0


def test_a_version_that_is_damaged_is_not_promoted(run: Run, sales: str, tmp_path: Path) -> None:
    names = [run("train", sales, "--json", "--exclude", each).document["model_version"] for each in ("pool", "zip")]
    (serving,) = (tmp_path / ".housepredict" / "models" / "versions" / names[0]).glob("serving.npz")
    serving.write_bytes(serving.read_bytes()[:-1])
    for refused in (run("models", "promote", names[0]), run("models", "rollback")):
        assert refused.code == 4
        assert "damaged" in refused.err
    assert [each["promoted"] for each in run("models", "--json").document["models"]] == [False, True]
    assert run("models", "promote", "nosuch").code == 4


def test_trainings_are_listed_for_people_and_for_programs(run: Run, sales: str) -> None:
    assert run("trainings").out == "Nothing was trained yet.\n"
    run("train", sales, "--algorithm", "linear")
    assert run("train", sales, "--price", "nosuch").code == 3
    newest, oldest = run("trainings", "--json").document["trainings"]
    assert (newest["state"], oldest["state"], oldest["promoted"]) == ("failed", "succeeded", True)
    assert oldest["model_version"] in run("models").out
    text = run("trainings").out
    assert f"{oldest['model_version']}, promoted" in text
    assert newest["error"] in text
    assert run("trainings", "--limit", "1").out.count("failed") == 1
    assert oldest["id"] not in run("trainings", "--limit", "1").out


def test_only_a_training_that_runs_can_be_cancelled(run: Run) -> None:
    run("train", "--synthetic")
    (ended,) = run("trainings", "--json").document["trainings"]
    refused = run("trainings", "cancel", ended["id"])
    assert refused.code == 1
    assert "too late" in refused.err
    unknown = run("trainings", "cancel", "0197249f-0000-7000-8000-000000000000")
    assert unknown.code == 4
    assert "no training" in unknown.err


def test_estimates_follow_the_schema_of_the_trained_file(run: Run, sales: str) -> None:
    run("train", sales)
    assert run("predict", "sqft=2000", "zip=98101", "pool=true").code == 0
    refused = run("predict", *LAB_HOUSE)
    assert refused.code == 3
    for violation in ("/sqft: is missing", "/zip: is missing", "/size: is no feature", "/age: is no feature"):
        assert violation in refused.err


def test_columns_can_be_excluded_typed_named_and_closed(run: Run, sales: str) -> None:
    options = ("--exclude", "zip", "--exclude", "sold", "--type", "pool=category", "--closed", "pool")
    document = run("train", sales, "--json", *options).document
    assert {each["name"]: each["kind"] for each in document["features"]} == {"sqft": "number", "pool": "category"}
    assert run("predict", "sqft=2000", "pool=maybe").code == 3
    only = run("train", sales, "--json", "--feature", "sqft", "--algorithm", "linear").document
    assert "pool" not in [each["name"] for each in only["features"]]


def test_a_column_that_gives_the_price_away_is_left_out_unless_it_is_allowed(
    run: Run, sales: str, tmp_path: Path
) -> None:
    header, *lines = Path(sales).read_text().splitlines()
    place = header.split(",").index("price")
    leaking = tmp_path / "leaking.csv"
    leaking.write_text("\n".join([f"{header},quote", *(f"{line},{line.split(',')[place]}" for line in lines)]))
    assert "gives the price away: rank correlation 1.000; allow it with --allow quote" in run("train", str(leaking)).out
    document = run("train", str(leaking), "--json", "--allow", "quote").document
    assert "quote" in [each["name"] for each in document["features"]]
    refused = run("train", str(leaking), "--allow", "quota")
    assert (refused.code, "did you mean 'quote'?" in refused.err) == (3, True)


def test_synthetic_sales_give_the_tutorials_error(run: Run) -> None:
    assert "MSE: 89841841.26" in run("train", "--synthetic").out
    assert run("predict", *LAB_HOUSE).out == "254206.02\n"


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
    ("content", "said"),
    [
        (None, "nosuch.csv"),
        (b"", "empty"),
        (b"price,sqft\n", "no"),
        (b"size,sqft\n1,2\n", "--price"),
        (b"price,sqft\n1,2\n2,9\n3,4\n", "at least 30"),
        (b"price,sqft\n" + b"100000,900\n" * 40, "no column is left"),
    ],
)
def test_sales_that_no_model_can_be_trained_on_are_refused_with_advice(
    run: Run, tmp_path: Path, content: bytes | None, said: str
) -> None:
    name = "nosuch.csv"
    if content is not None:
        name = "sales.csv"
        (tmp_path / name).write_bytes(content)
    refused = run("train", name)
    assert refused.code == 3
    assert said in refused.err


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
    for command in ("serve", "train", "predict", "models", "predictions"):
        assert command in shown
        assert run(command, "--help").code == 0
    assert run("models", "rollback", "--help").code == 0
