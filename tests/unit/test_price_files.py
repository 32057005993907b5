"""House files: read like sales files, estimated row by row and written with prices."""

from __future__ import annotations

import csv
import gzip
import io
import os
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from housepredict.adapters.files.price_file import PRICE_COLUMNS
from housepredict.domain.errors import InvalidHouses, InvalidSettings, RepositoryUnavailable, UnreadableFile
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.schema_inference.columns import read_column
from housepredict.domain.usecases.estimate_table import MAX_REJECTIONS, EstimatedTable
from housepredict.entrypoints.composition import houses_at, open_price_output, read_houses_csv
from housepredict.entrypoints.python import Prices
from tests.http_service import LAB_SCHEMA, CalibratedLabModel, Faulty, application, calibrated_version, lab_version

HEADER = "name,size,bedrooms,age\n"

Estimate = Callable[..., EstimatedTable]


@pytest.fixture
def made() -> Any:
    return application(calibrated_version(), load=CalibratedLabModel, max_batch=3)


@pytest.fixture
def estimate(tmp_path: Path, made: Any) -> Estimate:
    def run(content: str | bytes, output: str = "prices.csv") -> EstimatedTable:
        houses = tmp_path / "houses"
        houses.write_bytes(content.encode() if isinstance(content, str) else content)
        return Prices(made).predict_file(houses, tmp_path / output)

    return run


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def test_prices_are_added_to_unchanged_rows(estimate: Estimate, tmp_path: Path, made: Any) -> None:
    table = estimate('Name , size,bedrooms,age,price\n"Smith, J.",2500,3,10,0099\nb,"1,000",2,0,\n')
    assert (table.model_version, table.estimated, table.refused, table.refusals) == ("sure", 2, 0, [])
    first, second = rows_of(tmp_path / "prices.csv")
    assert list(first) == ["Name ", "size", "bedrooms", "age", "price", *PRICE_COLUMNS]
    assert (first["Name "], first["price"], second["size"], second["price"]) == ("Smith, J.", "0099", "1,000", "")
    recorded = made.records.recent(10)
    assert [first["prediction_id"], second["prediction_id"]] == [str(each.id) for each in reversed(recorded)]
    assert (first["predicted_price"], first["low_80"], first["high_90"]) == ("254206.02", "224336.03", "326406.99")
    assert first["warnings"] == first["error"] == ""
    assert [dict(each.estimate.house.values) for each in recorded] == [
        {"size": 1000, "bedrooms": 2, "age": 0},
        {"size": 2500, "bedrooms": 3, "age": 10},
    ]


def test_invalid_rows_have_errors_and_others_are_estimated(estimate: Estimate, tmp_path: Path, made: Any) -> None:
    table = estimate(HEADER + "a,2500,3,10\nb,big,,1.5\n\nc,2500,3\nd,2500,3,10,11\ne,1e14,1,1\nf,-1,1,1\ng,1000,1,1\n")
    assert (table.estimated, table.refused) == (2, 5)
    assert [(each.row, [one.describe() for one in each.violations]) for each in table.refusals] == [
        (2, ["size: must be a number, not text", "bedrooms: required", "age: must be a whole number"]),
        (3, ["number of fields differs from the header"]),
        (4, ["number of fields differs from the header"]),
        (5, ["too far outside the training sales to estimate a price"]),
        (6, ["size: must be at least 0"]),
    ]
    rows = rows_of(tmp_path / "prices.csv")
    assert [each["name"] for each in rows] == list("abcdefg")
    assert [bool(each["predicted_price"]) for each in rows] == [True, False, False, False, False, False, True]
    assert rows[1]["error"] == "size: must be a number, not text; bedrooms: required; age: must be a whole number"
    assert [row["prediction_id"] for row in rows if row["prediction_id"]] == [
        str(each.id) for each in reversed(made.records.recent(10))
    ]


@pytest.mark.parametrize("output", ["prices.csv", "prices.parquet"])
def test_extra_fields_are_shown_in_error(estimate: Estimate, tmp_path: Path, output: str) -> None:
    assert estimate(HEADER + 'a,2500,3,10,"x, y",ü\nb,2500,3\n', output).refused == 2
    path = tmp_path / output
    rows = pq.read_table(path).to_pylist() if path.suffix == ".parquet" else rows_of(path)
    assert [(each["name"], each["age"] or "", each["error"]) for each in rows] == [
        ("a", "10", 'number of fields differs from the header: ["x, y", "ü"]'),
        ("b", "", "number of fields differs from the header"),
    ]


def test_refusals_are_capped_in_result_but_all_written(estimate: Estimate, tmp_path: Path) -> None:
    table = estimate(HEADER + "a,,,\n" * (MAX_REJECTIONS + 5))
    assert (table.refused, len(table.refusals)) == (MAX_REJECTIONS + 5, MAX_REJECTIONS)
    assert all(each["error"] for each in rows_of(tmp_path / "prices.csv"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("size,age\n1,2\n", "bedrooms: required column is missing"),
        ("size,bedrooms,age,error,low_80\n1,2,3,4,5\n", "low_80, error: reserved"),
        (HEADER, "has a header but no houses"),
        ("", "is empty"),
        (b"\x1f\x8bnonsense", "damaged or incomplete gzip"),
        (b"PAR1nonsense", "is not a readable Parquet file"),
        (b"\0", "is neither CSV nor Parquet"),
    ],
    ids=lambda each: str(each)[:9] if isinstance(each, str) else "",
)
def test_unusable_file_is_rejected_before_recording(
    estimate: Estimate, tmp_path: Path, made: Any, content: str | bytes, complaint: str
) -> None:
    with pytest.raises((UnreadableFile, InvalidHouses), match=complaint):
        estimate(content)
    assert [each.name for each in tmp_path.iterdir()] == ["houses"]
    assert list(made.records.recent(1)) == []


@pytest.mark.parametrize("output", ["prices.csv", "prices.csv.gz", "prices.parquet"])
def test_failed_run_leaves_existing_output_unchanged(made: Any, tmp_path: Path, output: str) -> None:
    houses, prices = tmp_path / "houses.csv", tmp_path / output
    houses.write_text(HEADER + "a,2500,3,10\n" * 10)
    prices.write_text("older")
    made.storage.predictions = Faulty(fault=RepositoryUnavailable("gone"))
    with pytest.raises(RepositoryUnavailable):
        Prices(made).predict_file(houses, prices)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["houses.csv", output])
    assert prices.read_text() == "older"


@pytest.mark.parametrize("output", ["prices.xlsx", "prices.parquet.gz"])
def test_unknown_output_ending_is_rejected_before_reading(made: Any, tmp_path: Path, output: str) -> None:
    with pytest.raises(InvalidSettings, match=rf"output .*{output} must end with \.csv, \.csv\.gz or \.parquet"):
        Prices(made).predict_file(tmp_path / "missing.csv", tmp_path / output)
    assert list(tmp_path.iterdir()) == []


def test_output_ending_may_be_uppercase(estimate: Estimate, tmp_path: Path) -> None:
    for output in "A.PARQUET", "a.Csv", "a.CSV.GZ":
        estimate(HEADER + "a,2500,3,10\n", output)
    assert pq.read_table(tmp_path / "A.PARQUET")["name"].to_pylist() == ["a"]
    assert rows_of(tmp_path / "a.Csv")[0]["name"] == "a"
    assert gzip.decompress((tmp_path / "a.CSV.GZ").read_bytes()).startswith(b"name,size")


def test_missing_output_folder_is_reported(estimate: Estimate) -> None:
    with pytest.raises(UnreadableFile, match="cannot be written: No such file or directory"):
        estimate(HEADER, "nowhere/prices.csv")


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("name;size;bedrooms;age\nM\u00fcnchen;2.500,5;3;10\n".encode("cp1252"), ";"),
        (
            gzip.compress("name\tsize\tbedrooms\tage\nM\u00fcnchen\t2500.5\t3.0\t10\n".encode("utf-8-sig"), mtime=0),
            "\t",
        ),
    ],
    ids=["semicolons", "tabs"],
)
def test_house_files_are_read_like_sales_files(
    estimate: Estimate, tmp_path: Path, made: Any, content: bytes, delimiter: str
) -> None:
    assert estimate(content).estimated == 1
    (row,) = rows_of(tmp_path / "prices.csv", delimiter)
    assert row["name"] == "M\u00fcnchen"
    (recorded,) = made.records.recent(1)
    assert recorded.estimate.house.values == {"size": 2500.5, "bedrooms": 3, "age": 10}
    assert type(recorded.estimate.house.values["bedrooms"]) is int


@pytest.mark.parametrize("output", ["prices.csv", "prices.csv.gz", "prices.parquet"])
@pytest.mark.parametrize("parquet", [True, False], ids=["from parquet", "from csv"])
def test_csv_and_parquet_outputs_agree(estimate: Estimate, tmp_path: Path, parquet: bool, output: str) -> None:
    columns = {"size": [2500.0, None], "bedrooms": [3, 2], "age": [10, 1], "listed": [date(2025, 6, 1), None]}
    content = b"size,bedrooms,age,listed\n2500.0,3,10,2025-06-01\n,2,1,\n"
    if parquet:
        stream = io.BytesIO()
        pq.write_table(pa.table(columns), stream)
        content = stream.getvalue()
    assert (estimate(content, output).estimated, estimate(content, output).refused) == (1, 1)
    path = tmp_path / output
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert table.column_names == [*columns, *PRICE_COLUMNS]
        if parquet:
            assert table.select(list(columns)).to_pydict() == columns
        assert table["predicted_price"].to_pylist() == [254206.02, None]
        assert table["error"].to_pylist() == [None, "size: required"]
    else:
        first, second = rows_of(path)
        assert (first["size"], first["listed"], second["listed"]) == ("2500.0", "2025-06-01", "")
        assert (first["predicted_price"], second["error"]) == ("254206.02", "size: required")


def test_all_rows_are_estimated_by_one_version(made: Any, tmp_path: Path) -> None:
    houses = tmp_path / "houses.csv"
    houses.write_text(HEADER + "a,2500,3,10\n" * 10)
    made.models.add(*lab_version("newer"))

    def promote(done: int, total: int) -> None:
        assert total == 10
        if done == 3:
            made.models.promote("newer")
            made.live_model.look()

    Prices(made).predict_file(houses, tmp_path / "prices.csv", progress=promote)
    assert {each.estimate.model_version for each in made.records.recent(20)} == {"sure"}
    assert made.live_model.current().version.name == "newer"


@pytest.mark.slow
def test_memory_does_not_grow_with_file_size(made: Any, tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        houses = tmp_path / f"{rows}.csv"
        houses.write_text(HEADER + "".join(f"house {row},,3,10\n" for row in range(rows)))
        tracemalloc.start()
        Prices(made).predict_file(houses, tmp_path / "prices.csv")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(4_000) < 2 * peak(1_000)


cells = st.one_of(
    st.sampled_from(
        ["", "NA", "1,000", "1.000", "1.234,5", "$3", "4 €", "5.0", "x", "yes", "2020-01-02", "3/4/2021", "007"]
    ),
    st.integers(-9, 9999).map(str),
    st.dates().map(str),
)


@given(st.lists(cells, min_size=1, max_size=8), st.sampled_from(list(Kind)), st.integers(1, 3))
@example(["3/4/2021"], Kind.DATE, 1)
def test_cells_are_read_as_in_training(
    tmp_path_factory: pytest.TempPathFactory, column: Sequence[str], kind: Kind, size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cells.csv"
    path.write_text("row;cell\n" + "".join(f"{row};{cell}\n" for row, cell in enumerate(column)))
    schema = FeatureSchema((Feature("cell", kind, required=False),))
    read = [house for rows in houses_at(path).read(schema, size).rows for house in rows.houses]
    trained = read_column("cell", [each or None for each in column], kind)
    assert len(read) == len(column)
    for house, value, cell in zip(read, trained.values, column, strict=True):
        assert house is not None
        if value is not None and not (cell == "3/4/2021" and kind is Kind.DATE):
            assert house == {"cell": value}
        elif house:
            # Training drops the cell, but prediction rejects it and must show it.
            assert kind is Kind.INTEGER or house == {"cell": cell}
            assert schema.violations(house)


@given(st.lists(cells, min_size=1, max_size=8), st.sampled_from(list(Kind)))
@example(["2,500"], Kind.NUMBER)
@example(["3/4/2021", "13/4/2021"], Kind.DATE)
def test_line_is_read_the_same_in_file_and_body(
    tmp_path_factory: pytest.TempPathFactory, column: Sequence[str], kind: Kind
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.csv"
    path.write_text("row;cell\n" + "".join(f"{row};{cell}\n" for row, cell in enumerate(column)))
    schema = FeatureSchema((Feature("row", Kind.INTEGER), Feature("cell", kind, required=False)))
    file_houses = [house for rows in houses_at(path).read(schema, 3).rows for house in rows.houses]
    assert read_houses_csv(path.read_bytes(), schema, 1000) == file_houses


@given(st.text('ab1 ",;.\n\t\0', max_size=40))
@example('1;"a\n2;b";3\n')
def test_any_text_splits_alike_in_file_and_body(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "texts.csv"
    path.write_text(f"x;y\n{text}", newline="")
    schema = FeatureSchema((Feature("x", Kind.CATEGORY, required=False), Feature("y", Kind.CATEGORY, required=False)))
    with suppress(InvalidHouses, UnreadableFile):
        body_houses = [house for house in read_houses_csv(path.read_bytes(), schema, 1000) if house]
        assert [house for rows in houses_at(path).read(schema, 3).rows for house in rows.houses if house] == body_houses


@given(
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.integers(1, 9))),
    st.sampled_from(",;\t|"),
)
@example(rows=[("a\rb\r\nc\nd\r", 1)], delimiter=",")
def test_other_columns_are_copied(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], delimiter: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    houses = folder / "carried.csv"
    with houses.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerows(
            [("note", "size", "bedrooms", "age"), *((note, 1000, number, number) for note, number in rows)]
        )
    made = application(lab_version())
    if not rows:
        with pytest.raises(UnreadableFile):
            Prices(made).predict_file(houses, folder / "carried_prices.csv")
        return
    assert Prices(made).predict_file(houses, folder / "carried_prices.csv").refused == 0
    written = rows_of(folder / "carried_prices.csv", delimiter)
    assert (folder / "carried_prices.csv").read_bytes().endswith(f"{delimiter}\n".encode())
    # The reader strips spaces after a delimiter.
    assert [each["note"].lstrip(" ") for each in written] == [note.lstrip(" ") for note, _ in rows]
    expected = Prices(made).predict_many([{"size": 1000, "bedrooms": each, "age": each} for _, each in rows])
    assert [float(each["predicted_price"]) for each in written] == [each.price for each in expected]


def test_optional_feature_needs_no_column(tmp_path: Path) -> None:
    *others, age = LAB_SCHEMA.features
    schema = FeatureSchema((*others, evolve(age, required=False)))
    made = application(lab_version(schema=schema))
    houses = tmp_path / "houses.csv"
    houses.write_text("size,bedrooms\n2500,3\n")
    assert Prices(made).predict_file(houses, tmp_path / "prices.csv").estimated == 1


def test_prices_can_go_to_standard_output(tmp_path: Path, made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    houses = tmp_path / "houses.csv"
    houses.write_text(HEADER + "a,2500,3,10\n")
    with open_price_output(None) as prices:
        made.estimate_table(houses_at(houses), prices, lambda _done, _total: None)
    assert capsys.readouterr().out.splitlines()[1].startswith("a,2500,3,10,254206.02,")


def test_pipe_input_is_rejected(tmp_path: Path, made: Any) -> None:
    os.mkfifo(tmp_path / "houses")
    with pytest.raises(UnreadableFile, match="houses is not a regular file: save it to one first"):
        Prices(made).predict_file(tmp_path / "houses", tmp_path / "prices.csv")
