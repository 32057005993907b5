"""Training and model versions on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import pytest

from tests.integration.command_line import Run


def test_train_reports_decisions_and_accuracy(run: Run, sales: str) -> None:
    trained = run("train", sales)
    assert trained.code == 0, trained.err
    for text in ("parcel_id", "house id", "sale date", "2 rows skipped", "MdAPE", "COD", "Promoted"):
        assert text in trained.out
    assert "*" in run("models").out


def test_train_and_show_report_out_of_time_evaluation(run: Run, sales: str) -> None:
    trained = run("train", sales, "--algorithm", "linear")
    summary = "Out-of-time evaluation (32 sales since 2024-11-03, trained on 168 earlier): MdAPE"
    assert summary in trained.out
    (model,) = run("models", "--json").document["models"]
    assert summary in run("models", "show", model["model_version"]).out
    later = model["evaluation"]["out_of_time"]
    assert (later["since"], later["trained_on"], later["held_out"]) == ("2024-11-03", 168, 32)
    assert later["mdape"] < 20
    assert [each["level"] for each in later["coverage"]] == [80, 90]
    undated = run("train", sales, "--exclude", "sold", "--algorithm", "linear")
    assert "No out-of-time evaluation: the sales have no dates." in undated.out


def test_train_reports_search_ended_by_time_limit(run: Run, sales: str) -> None:
    ended = run("train", sales, "--time-limit", "0.000001", "--promote", "never")
    why = "the time limit of 1e-06 s ended the search with 1 of 4 candidates compared"
    assert f"Not reproducible: {why}." in ended.out
    assert "(ridge)" in ended.out
    (model,) = run("models", "--json").document["models"]
    assert (model["reproducible"], model["irreproducible"]) == (False, why)
    shown = run("models", "show", model["model_version"]).out
    assert f"no: {why}" in shown
    assert "time_limit=1e-06" in shown
    enough = run("train", sales, "--json", "--time-limit", "1e6", "--algorithm", "ridge").document
    assert (enough["reproducible"], enough["irreproducible"]) == (True, None)


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf", "soon"])
def test_train_rejects_invalid_time_limit(run: Run, sales: str, limit: str) -> None:
    refused = run("train", sales, f"--time-limit={limit}")
    assert (refused.code, "seconds above 0" in refused.err) == (2, True)


def test_train_promotes_better_or_forced_version(run: Run, sales: str) -> None:
    first = run("train", sales, "--json", "--seed", "1").document
    assert (first["promoted"], first["reasons"], first["comparison"]) == (
        True,
        ["No version is promoted yet."],
        None,
    )
    same = run("train", sales, "--json", "--seed", "1").document
    assert (same["promoted"], "Identical" in same["reasons"][0]) == (False, True)
    unpromoted = run("train", sales, "--seed", "2", "--promote", "never")
    assert "Stored, but not promoted" in unpromoted.out
    compared = run("train", sales, "--json", "--seed", "3", "--algorithm", "boosting").document
    assert compared["comparison"]["champion"] == first["model_version"]
    assert compared["comparison"]["sales"] == compared["evaluation"]["held_out"]
    assert not compared["promoted"] or compared["comparison"]["better"] >= 95
    assert run("train", sales, "--json", "--seed", "4", "--promote", "always").document["promoted"]
    assert [each["promoted"] for each in run("models", "--json").document["models"]] == [False] * 4 + [True]


def test_train_promotes_version_with_other_features(run: Run, sales: str) -> None:
    run("train", sales)
    other = run("train", sales, "--exclude", "pool")
    assert "different features" in other.out
    assert "\nPromoted" in other.out


def test_models_show_writes_html_page(run: Run, sales: str, tmp_path: Path) -> None:
    trained = run("train", sales, "--json").document
    name = trained["model_version"]
    assert f"models show {name} --html FILE" in run("models", "show", name).out
    shown = run("models", "show", name, "--html", "page.html")
    assert (shown.code, shown.out, shown.err) == (0, "", "housepredict: wrote page.html\n")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (name, "No version is promoted yet.", "sqft", "98101", "estimate-by-price", "error-over-time"):
        assert text in page
    assert "ratio-on-map" not in page
    both = run("models", "show", name, "--json", "--html", "again.html")
    assert both.document["digests"].keys() >= {"estimator.joblib", "held-out.json", "serving.npz"}
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page
    refused = run("models", "show", name, "--html", "nosuch/page.html")
    assert refused.code == 5
    assert "nosuch" in refused.err


def test_data_dir_option_works_before_and_after_subcommand(run: Run, sales: str) -> None:
    name = run("train", sales, "--json", "--data-dir", "other").document["model_version"]
    assert run("models", "show", name).code == 4
    assert run("models", "show", name, "--data-dir", "other").code == 0
    assert run("models", "--data-dir", "other", "show", name).code == 0


def test_train_options_exclude_type_and_close_columns(run: Run, sales: str) -> None:
    options = ("--exclude", "zip", "--exclude", "sold", "--type", "pool=category", "--closed", "pool")
    document = run("train", sales, "--json", *options).document
    assert {each["name"]: each["kind"] for each in document["features"]} == {"sqft": "number", "pool": "category"}
    assert run("predict", "sqft=2000", "pool=maybe").code == 3
    only = run("train", sales, "--json", "--feature", "sqft", "--algorithm", "linear").document
    assert "pool" not in [each["name"] for each in only["features"]]


def test_leaking_column_is_excluded_unless_allowed(run: Run, sales: str, tmp_path: Path) -> None:
    header, *lines = Path(sales).read_text().splitlines()
    place = header.split(",").index("price")
    leaking = tmp_path / "leaking.csv"
    leaking.write_text("\n".join([f"{header},quote", *(f"{line},{line.split(',')[place]}" for line in lines)]))
    assert "leaks the price: rank correlation 1.000; add it to `allow`" in run("train", str(leaking)).out
    document = run("train", str(leaking), "--json", "--allow", "quote").document
    assert "quote" in [each["name"] for each in document["features"]]
    refused = run("train", str(leaking), "--allow", "quota")
    assert (refused.code, "did you mean `quote`?" in refused.err) == (3, True)


def test_synthetic_training_matches_tutorial_error(run: Run) -> None:
    assert "MSE: 89841841.26" in run("train", "--synthetic").out
    assert run("predict", "size=2500", "bedrooms=3", "age=10").out == "254206.02\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "nosuch.csv"),
        (b"", "empty"),
        (b"price,sqft\n", "no"),
        (b"size,sqft\n1,2\n", "set `price`"),
        (b"price,sqft\n1,2\n2,9\n3,4\n", "at least 30"),
        (b"price,sqft\n" + b"100000,900\n" * 40, "no column can be used"),
    ],
)
def test_unusable_sales_are_rejected_with_advice(run: Run, tmp_path: Path, content: bytes | None, message: str) -> None:
    name = "nosuch.csv"
    if content is not None:
        name = "sales.csv"
        (tmp_path / name).write_bytes(content)
    refused = run("train", name)
    assert refused.code == 3
    assert message in refused.err


TOWNS = ("海淀", "朝阳", "Milton")


def sales_in(folder: Path, encoding: str, towns: Sequence[str] = TOWNS, size: str = "sqft") -> Path:
    rows = [f"{towns[row % 3]},{900 + 7 * row},{150_000 + 1400 * row + row * 53 % 29 * 4000}" for row in range(150)]
    file = folder / "sales.csv"
    file.write_bytes("\n".join([f"town,{size},price", *rows]).encode(encoding))
    return file


def test_guessed_encoding_is_reported_and_can_be_overridden(run: Run, tmp_path: Path) -> None:
    file = str(sales_in(tmp_path, "gb18030"))
    note = "read as GB18030 (guessed; set `encoding` to overrule)"
    trained = run("train", file, "--algorithm", "ridge", "--effort", "low")
    assert (trained.code, f"File: {note}" in trained.out) == (0, True), trained.err
    guessed = run("train", file, "--algorithm", "ridge", "--effort", "low", "--json").document
    named = run("train", file, "--algorithm", "ridge", "--effort", "low", "--json", "--encoding", "GBK").document
    assert (guessed["notes"], named["notes"]) == ([note], [])
    assert run("predict", "town=朝阳", "sqft=1000").err == ""
    assert run("train", file, "--encoding", "utf-9").code == 2
    prices = str(tmp_path / "prices.csv")
    estimated = run("predict", file, "-o", prices)
    assert f"housepredict: {file}: {note}" in estimated.err
    assert note not in run("predict", file, "-o", prices, "--encoding", "gb18030").err
    assert "朝阳" in Path(prices).read_text(encoding="utf-8")


def test_decomposed_unicode_names_match_composed_input(run: Run, tmp_path: Path) -> None:
    towns = [normalize("NFD", town) for town in ("Málaga", "Köln", "Zürich")]
    trained = run("train", str(sales_in(tmp_path, "utf-8", towns, normalize("NFD", "Größe"))), "--effort", "low")
    assert trained.code == 0, trained.err
    prices = set()
    for form in "NFC", "NFD":
        house = [normalize(form, text) for text in ("Größe=1000", "town= Málaga ")]
        estimated = run("predict", *house)
        assert (estimated.code, estimated.err) == (0, "")
        prices.add(estimated.out)
    assert len(prices) == 1


def test_future_sale_is_rejected(run: Run, tmp_path: Path) -> None:
    lines = sales_in(tmp_path, "utf-8").read_text(encoding="utf-8").splitlines()
    dated = [
        "sold," + lines[0],
        *(f"2015-{1 + row % 12:02}-{1 + row % 28:02},{line}" for row, line in enumerate(lines[1:])),
    ]
    for day in "2105-06-01", "2025-06-01":
        (tmp_path / "dated.csv").write_text("\n".join([*dated, f"{day},Milton,999,150000"]), encoding="utf-8")
        trained = run("train", str(tmp_path / "dated.csv"), "--algorithm", "ridge", "--effort", "low")
        assert "1 row skipped: sold: " in trained.out
        assert "Estimates are as of 2015-12-28, the latest training sale," in trained.out
        late = run("predict", "sold=2017-01-01", "town=Milton", "sqft=1000")
        assert (late.code, "more than a year after the last training sale" in late.err) == (0, True)
