"""Parquet files from other programs: text as bytes, dictionaries, decimals and dates outside the calendar."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.files.arrow import arrow_cells, arrow_values
from housepredict.adapters.files.house_file import HouseFile
from housepredict.adapters.files.sales_file import SalesFile
from housepredict.domain.features import Feature, FeatureSchema, Kind

PLACES = ["Southport", "Málaga", "Southport", None]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.string(), pa.large_string(), pa.binary_view()], ids=str
)
def test_text_of_any_arrow_type_is_read(kind: pa.DataType) -> None:
    values = [None if place is None else place.encode() for place in PLACES]
    assert arrow_cells(pa.array(values, pa.binary()).cast(kind)) == PLACES


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.string()], ids=str)
def test_dictionary_encoded_text_is_read(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([place and place.encode() for place in PLACES], pa.binary()).cast(kind).dictionary_encode()
    assert arrow_cells(column) == PLACES
    pq.write_table(pa.table({"town": column, "price": [1, 2, 3, 4]}), tmp_path / "sales.parquet")
    assert SalesFile(tmp_path / "sales.parquet").read().columns["town"] == PLACES


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=9))
def test_utf_8_bytes_round_trip(texts: list[str]) -> None:
    assert arrow_values(pa.array([text.encode() for text in texts], pa.binary())) == texts


@pytest.mark.parametrize(("encoding", "place"), [("gb18030", "浦东新区"), ("cp1251", "Хамовники")])
@pytest.mark.parametrize("kind", [pa.binary(), pa.string()], ids=str)
def test_bytes_in_legacy_encodings_are_decoded(encoding: str, place: str, kind: pa.DataType) -> None:
    stored = pa.array([place.encode(encoding)] * 3, pa.binary())
    column = stored if kind == pa.binary() else pa.Array.from_buffers(kind, 3, stored.buffers())
    assert arrow_cells(column) == [place] * 3


def test_binary_cells_are_shown_as_bytes_literals() -> None:
    shape = bytes(range(256))
    assert arrow_cells(pa.array([shape], pa.binary())) == [str(shape)]


def test_prices_in_bytes_and_decimals_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "price": pa.array([b"350000.50", b" 1,250 "], pa.binary()),
            "size": pa.array([Decimal("99.50"), None], pa.decimal128(9, 2)),
        }
    )
    pq.write_table(table, tmp_path / "sales.parquet")
    columns = SalesFile(tmp_path / "sales.parquet").read().columns
    assert dict(columns) == {"price": ["350000.50", "1,250"], "size": [99.5, None]}


@pytest.mark.parametrize(
    ("kind", "per_day"),
    [
        (pa.timestamp("s"), 86_400),
        (pa.timestamp("ms"), 86_400_000),
        (pa.timestamp("us", "UTC"), 86_400_000_000),
        (pa.timestamp("s", "America/New_York"), 86_400),
    ],
    ids=str,
)
def test_timestamps_outside_the_calendar_are_missing(tmp_path: Path, kind: Any, per_day: int) -> None:
    days = [16_582, 3_663_570, -900_000]
    column = pa.array([day * per_day + per_day // 2 for day in days], pa.int64()).cast(kind)
    pq.write_table(pa.table({"sold": column, "price": [1, 2, 3]}), tmp_path / "sales.parquet")
    assert SalesFile(tmp_path / "sales.parquet").read().columns["sold"] == [date(2015, 5, 27), None, None]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()], ids=str)
def test_dates_outside_the_calendar_are_missing(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([16_582, 3_663_570, -900_000], pa.int32()).cast(pa.date32()).cast(kind)
    assert arrow_cells(column) == [date(2015, 5, 27), None, None]
    pq.write_table(pa.table({"sold": column, "price": [1, 2, 3]}), tmp_path / "sales.parquet")
    assert SalesFile(tmp_path / "sales.parquet").read().columns["sold"] == [date(2015, 5, 27), None, None]


BYTES = pa.binary()
TOWNS = ["Москва", "Хамовники", "Тверь", "Уфа", "Орёл"]


def write_towns(path: Path, batches: list[list[bytes]], kind: pa.DataType = BYTES) -> Path:
    """Write one row group of towns for each batch."""
    with pq.ParquetWriter(path, pa.schema([("town", kind), ("price", pa.int64())])) as writer:
        for towns in batches:
            town = pa.array(towns, pa.binary())
            if kind != pa.binary():
                town = pa.Array.from_buffers(pa.string(), len(towns), town.buffers())
            if kind == pa.dictionary(pa.int32(), pa.string()):
                town = town.dictionary_encode()
            writer.write_table(pa.table({"town": town, "price": [1] * len(towns)}))
    return path


@pytest.mark.parametrize("kind", [pa.binary(), pa.string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_bytes_column_has_one_encoding_in_all_batches(tmp_path: Path, kind: pa.DataType) -> None:
    many, few = [town.encode("cp1251") for town in TOWNS[:3]] * 22_000, ["Уфа".encode("cp1251")] * 4
    table = SalesFile(write_towns(tmp_path / "sales.parquet", [many, few], kind)).read()
    assert set(table.columns["town"]) == set(TOWNS[:4])
    assert table.columns["town"][-4:] == ["Уфа"] * 4
    assert table.notes == ("town: read as Windows-1251 (guessed; set `encoding` to overrule)",)


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_house_encoding_is_independent_of_batch_size(tmp_path: Path, size: int) -> None:
    towns = [town for town in TOWNS for _ in range(9)]
    file = write_towns(tmp_path / "houses.parquet", [[town.encode("cp1251") for town in towns]])
    houses = HouseFile(file).read(FeatureSchema((Feature("town", Kind.CATEGORY, categories=tuple(TOWNS)),)), size)
    rows = list(houses.rows)
    assert [house for each in rows for house in each.houses] == [{"town": town} for town in towns]
    assert [town for each in rows for town, _ in each.origin.texts()] == towns
    assert houses.notes == ["town: read as Windows-1251 (guessed; set `encoding` to overrule)"]


def test_named_encoding_applies_to_bytes_in_parquet(tmp_path: Path) -> None:
    file = write_towns(tmp_path / "sales.parquet", [["Łódź".encode("cp1250"), b"\x81"]])
    table = SalesFile(file, "cp1250").read()
    assert table.columns["town"] == ["Łódź", "\ufffd"]
    assert table.notes == ("town: 1 cell has bytes that are not valid cp1250 (shown as \ufffd)",)


def test_named_encoding_leaves_binary_cells_unchanged(tmp_path: Path) -> None:
    shape = bytes(range(256))
    table = SalesFile(write_towns(tmp_path / "sales.parquet", [[shape], [b"plain"]]), "cp1252").read()
    assert table.columns["town"] == [str(shape), str(b"plain")]
    assert table.notes == ()
