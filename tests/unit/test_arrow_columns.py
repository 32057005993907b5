"""Parquet files of other programs: text as bytes, dictionaries, decimals, and dates that no calendar has."""

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

from housepredict.adapters.arrow_columns import arrow_cells, arrow_values
from housepredict.adapters.sales_files import SalesFile

PLACES = ["Southport", "Málaga", "Southport", None]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.string(), pa.large_string(), pa.binary_view()], ids=str
)
def test_text_of_any_type_is_text(kind: pa.DataType) -> None:
    values = [None if place is None else place.encode() for place in PLACES]
    assert arrow_cells(pa.array(values, pa.binary()).cast(kind)) == PLACES


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.string()], ids=str)
def test_dictionary_of_text_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([place and place.encode() for place in PLACES], pa.binary()).cast(kind).dictionary_encode()
    assert arrow_cells(column) == PLACES
    pq.write_table(pa.table({"town": column, "price": [1, 2, 3, 4]}), tmp_path / "sales.parquet")
    assert SalesFile(tmp_path / "sales.parquet").read().columns["town"] == PLACES


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=9))
def test_utf_8_in_bytes_reads_back_equal(texts: list[str]) -> None:
    assert arrow_values(pa.array([text.encode() for text in texts], pa.binary())) == texts


@pytest.mark.parametrize(("encoding", "place"), [("gb18030", "浦东新区"), ("cp1251", "Хамовники")])
@pytest.mark.parametrize("kind", [pa.binary(), pa.string()], ids=str)
def test_bytes_in_an_older_encoding_are_decoded(encoding: str, place: str, kind: pa.DataType) -> None:
    stored = pa.array([place.encode(encoding)] * 3, pa.binary())
    column = stored if kind == pa.binary() else pa.Array.from_buffers(kind, 3, stored.buffers())
    assert arrow_cells(column) == [place] * 3


def test_bytes_that_are_no_text_are_shown_as_they_are() -> None:
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
def test_date_that_no_calendar_has_is_missing(tmp_path: Path, kind: Any, per_day: int) -> None:
    days = [16_582, 3_663_570, -900_000]
    column = pa.array([day * per_day + per_day // 2 for day in days], pa.int64()).cast(kind)
    pq.write_table(pa.table({"sold": column, "price": [1, 2, 3]}), tmp_path / "sales.parquet")
    assert SalesFile(tmp_path / "sales.parquet").read().columns["sold"] == [date(2015, 5, 27), None, None]


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64()], ids=str)
def test_day_that_no_calendar_has_is_missing(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array([16_582, 3_663_570, -900_000], pa.int32()).cast(pa.date32()).cast(kind)
    assert arrow_cells(column) == [date(2015, 5, 27), None, None]
    pq.write_table(pa.table({"sold": column, "price": [1, 2, 3]}), tmp_path / "sales.parquet")
    assert SalesFile(tmp_path / "sales.parquet").read().columns["sold"] == [date(2015, 5, 27), None, None]
