"""Columns are read by what their cells contain, in any locale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.sales import Cell
from housepredict.domain.schema_inference.columns import Column, normalize_name, read_column, read_prices

cells = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=12) | st.sampled_from(
    ["", "NA", "1", "2.5", "$1,000", "2014-05-02", "20140502", "true", "no", "007", "x" * 300, "\ud800", "9" * 5000]
)  # fmt: skip


def values(column: Sequence[Cell], name: str = "column", kind: Kind | None = None) -> list[Any]:
    return list(read_column(name, column, kind).values)


@given(st.lists(cells, max_size=30), st.none() | st.sampled_from(Kind), st.sampled_from(["column", "sold", "year"]))
def test_every_cell_is_present_unreadable_or_missing(column: list[Cell], kind: Kind | None, name: str) -> None:
    read = read_column(name, column, kind)
    missing = sum(read_column("", [cell], Kind.CATEGORY).unreadable == 0 and is_absent(cell) for cell in column)
    assert len(read.values) == len(column)
    assert read.present + read.unreadable + missing == len(column)
    assert read.present == sum(value is not None for value in read.values)


def is_absent(cell: Cell) -> bool:
    return read_column("", [cell], Kind.CATEGORY) == read_column("", [None], Kind.CATEGORY)


@given(st.lists(cells, min_size=1, max_size=30), st.sampled_from(Kind))
def test_values_are_valid_for_the_kind(column: list[Cell], kind: Kind) -> None:
    schema = FeatureSchema((Feature("column", kind, required=False),))
    for value in values(column, kind=kind):
        assert schema.violations({"column": value}) == []


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (["1", "2", "+3", "-4"], Kind.INTEGER, [1, 2, 3, -4]),
        (["1.0", "2.25", ".5", "3."], Kind.NUMBER, [1.0, 2.25, 0.5, 3.0]),
        (["1e3", "2.5E-1"], Kind.NUMBER, [1000.0, 0.25]),
        ([str(number) for number in range(1000, 1060)], Kind.NUMBER, list(range(1000, 1060))),
        (["True", "false", "TRUE"], Kind.BOOLEAN, [True, False, True]),
        (["Yes", "No"], Kind.CATEGORY, ["Yes", "No"]),
        ([" Ballard ", "Fremont"], Kind.CATEGORY, ["Ballard", "Fremont"]),
        (["02138", "98178"], Kind.CATEGORY, ["02138", "98178"]),
        (["1", "2", "x"], Kind.CATEGORY, ["1", "2", "x"]),
        (["2014-05-02", "2015-01-31"], Kind.DATE, ["2014-05-02", "2015-01-31"]),
        ([1, 2, 3], Kind.INTEGER, [1, 2, 3]),
        ([1.5, 2, None], Kind.NUMBER, [1.5, 2, None]),
        ([True, False, None], Kind.BOOLEAN, [True, False, None]),
        ([date(2014, 5, 2), None], Kind.DATE, ["2014-05-02", None]),
        ([datetime(2014, 5, 2, 13, 30, tzinfo=UTC)], Kind.DATE, ["2014-05-02"]),
        ([None, "", "NA"], Kind.CATEGORY, [None, None, None]),
        ([], Kind.CATEGORY, []),
    ],
)
def test_kind_is_inferred_from_cells(column: list[Cell], kind: Kind, expected: list[object]) -> None:
    read = read_column("column", column)
    assert (read.kind, list(read.values), read.unreadable) == (kind, expected, 0)
    assert [type(value) for value in read.values] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["$450,000", "£1,200,000.50", "$89,500"], [450000, None, 89500]),
        (["450000 USD", "USD 320,000", "99"], [450000, 320000, 99]),
        (["US$ 450,000"], [450000]),
        (["450.000 €", "€89.500"], [450000, 89500]),
        (["450.000,50", "1.200.000,00"], [450000.5, 1200000.0]),
        (["450.000", "89.500", "1.200.000"], [450000, 89500, 1200000]),
        (["120,5", "85", "99,25"], [120.5, 85, 99.25]),
        (["450 000", "1 200 000,5"], [450000, 1200000.5]),
        (["450\u00a0000 €"], [450000]),
        (["CHF 1'200'000.50"], [1200000.5]),
        (["CHF 358\u2019900", "CHF 1\u2019200\u2019000.50"], [358900, 1200000.5]),
        (["1\u2009200\u2009000", "450\u2007000"], [1200000, 450000]),
        (["\u20b9 71,78,000", "\u20b9 1,20,45,600.50", "\u20b9 950"], [7178000, 12045600.5, 950]),
        (["1,234", "1,234.5"], [1234, 1234.5]),
        (["1,23", "1.5", "2.5"], [None, 1.5, 2.5]),
        (["47.511", "47.512"], [47.511, 47.512]),
        (["$", "$5", "call us", "1e999", "9" * 400], [None, 5, None, None, None]),
        ([5, 2.5, "3", True, date(2014, 5, 2), 1e16, math.inf], [5, 2.5, 3, None, None, None, None]),
    ],
)
def test_number_format_is_inferred_from_column(column: list[Cell], expected: list[object]) -> None:
    assert values(column, kind=Kind.NUMBER) == expected
    assert read_column("price", column, Kind.NUMBER).unreadable == expected.count(None)


@given(
    st.lists(st.decimals(1, 10**9, places=2) | st.integers(1, 10**9), min_size=1, max_size=20),
    st.sampled_from([*itertools.product(["", ",", " ", "'"], "."), *itertools.product(["", ".", " ", "'"], ",")]),
    st.sampled_from(["{}", "${}", "{} €"]),
)
def test_prices_in_any_format_round_trip(amounts: list[Decimal | int], marks: tuple[str, str], form: str) -> None:
    plain = str.maketrans(dict(zip(",.", marks, strict=True)))
    written: list[Cell] = [form.format(f"{amount:,}".translate(plain)) for amount in amounts]
    assert read_prices("price", written).values == [float(amount) for amount in amounts]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["450.000", "380.500"], [450000, 380500]),
        (["450,000", "380,500"], [450000, 380500]),
        (["450.000", "380.500", "1250000", "950"], [450000, 380500, 1250000, 950]),
        (["450.000", "380.500", "45.00", "on request"], [450000, 380500, None, None]),
        (["450,000", "380,500", "45,00", "on request"], [450000, 380500, None, None]),
        (["450.000 €", "380.500"], [450000, 380500]),
        (["450000.000", "380500.000", "10.000", "0.000"], [450000, 380500, 10, 0]),
        (["450.125", "380.5", "1250.75"], [450.125, 380.5, 1250.75]),
        ([450.125, 380, None], [450.125, 380, None]),
    ],
)
def test_price_separator_with_three_digits_marks_thousands(column: list[Cell], expected: list[object]) -> None:
    assert read_prices("price", column).values == expected


def test_amount_in_another_currency_is_unreadable() -> None:
    read = read_column("price", ["€100", "€200", "$300", "400"], Kind.NUMBER)
    assert (list(read.values), read.unreadable) == ([100, 200, None, 400], 1)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["20141013T000000", "20150527T000000"], ["2014-10-13", "2015-05-27"]),
        (["2014-05-02 00:00:00", "2014-05-03T12:30:00Z"], ["2014-05-02", "2014-05-03"]),
        (["2014/5/2", "2014/12/31"], ["2014-05-02", "2014-12-31"]),
        (["1/2/2014", "12/31/2014"], ["2014-01-02", "2014-12-31"]),
        (["1/2/2014", "31/12/2014"], ["2014-02-01", "2014-12-31"]),
        (["1/2/2014", "3/4/2014"], ["2014-01-02", "2014-03-04"]),
        (["1/2/14 0:00", "31/12/14 0:00"], ["2014-02-01", "2014-12-31"]),
        (["01.02.2014", "03.04.2014"], ["2014-02-01", "2014-04-03"]),
        (["13-Oct-2014", "2-May-2014"], ["2014-10-13", "2014-05-02"]),
        (["13 Oct 2014", "2 May 2014"], ["2014-10-13", "2014-05-02"]),
        (["Oct 13, 2014", "May 2, 2014"], ["2014-10-13", "2014-05-02"]),
        (["October-13-2014", "June-2-2014"], ["2014-10-13", "2014-06-02"]),
        (["13-OCT-14"], ["2014-10-13"]),
    ],
)
def test_date_format_is_inferred_from_cells(column: list[Cell], expected: list[str]) -> None:
    read = read_column("when", column)
    assert (read.kind, list(read.values)) == (Kind.DATE, expected)


def test_eight_digits_are_dates_if_column_name_says_date() -> None:
    digits: list[Cell] = ["20141013", 20150527]
    assert values(digits, "sale_date") == ["2014-10-13", "2015-05-27"]
    assert values(digits, "sqft_lot") == [20141013, 20150527]
    assert values(["3", "20141013"], "days_on_market") == [3, 20141013]


@given(st.lists(st.dates(date(1970, 1, 1), date(2068, 12, 31)), min_size=1, max_size=20),
       st.sampled_from(["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d-%b-%Y", "%B %d, %Y", "%Y%m%dT000000"]))  # fmt: skip
def test_dates_in_unambiguous_formats_round_trip(days: list[date], form: str) -> None:
    read = read_column("when", [day.strftime(form) for day in days])
    assert (read.kind, list(read.values)) == (Kind.DATE, [day.isoformat() for day in days])


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_thousands_separators_are_ignored(amounts: list[int]) -> None:
    written: list[Cell] = [f"${amount:,}" for amount in amounts]
    assert values(written) == amounts


@pytest.mark.parametrize("marker", ["", " ", "NA", "n/a", "NaN", "null", "none", "?", "-", "#N/A", None, math.nan])
def test_missing_markers_are_missing_not_unreadable(marker: Cell) -> None:
    read = read_column("area", [1.5, marker, 2.5])
    assert (list(read.values), read.unreadable, read.present) == ([1.5, None, 2.5], 0, 2)


def test_few_unreadable_cells_are_counted_and_keep_the_kind() -> None:
    column: list[Cell] = [*map(str, range(95)), *["?!"] * 5]
    read = read_column("area", column)
    assert (read.kind, read.unreadable, read.present) == (Kind.NUMBER, 5, 95)
    assert read_column("area", [*column, "?!"]).kind is Kind.CATEGORY


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Kind.CATEGORY, ["1", "0", "yes", "2.5", "2014-05-02"]),
        (Kind.BOOLEAN, [True, False, True, None, None]),
        (Kind.INTEGER, [1, 0, None, None, None]),
        (Kind.NUMBER, [1, 0, None, 2.5, None]),
        (Kind.DATE, [None, None, None, None, "2014-05-02"]),
    ],
)
def test_requested_kind_is_used(kind: Kind, expected: list[object]) -> None:
    read = read_column("column", ["1", "0", "yes", "2.5", "2014-05-02"], kind)
    assert (read.kind, list(read.values), read.why) == (kind, expected, "as requested")
    assert read.unreadable == expected.count(None)


def test_requested_kind_is_used_for_typed_cells() -> None:
    column: list[Cell] = [3, 4.0, "N", date(2014, 5, 2)]
    assert values(column, kind=Kind.CATEGORY) == ["3", "4.0", "N", "2014-05-02"]
    assert values([datetime(2014, 5, 2, 1, tzinfo=UTC)], kind=Kind.DATE) == ["2014-05-02"]


@pytest.mark.parametrize(
    "column", [["98178.0", "98125.0"], [98178.0, 98125.0], ["98178", 98125], ["98178.00", "98125"]]
)
def test_codes_with_zero_decimals_are_whole(column: list[Cell]) -> None:
    assert values(column, kind=Kind.CATEGORY) == ["98178", "98125"]
    assert read_column("column", column).is_whole


def test_texts_that_cannot_be_stored_are_unreadable() -> None:
    read = read_column("remarks", ["fine", "x" * 201, "\0", "\ud800"])
    assert (list(read.values), read.unreadable) == (["fine", None, None, None], 3)


@pytest.mark.parametrize(
    ("column", "whole", "row_number"),
    [
        (["1", "2", "3"], True, True),
        (["7", "8", "9"], True, True),
        (["0", "1", "3"], True, False),
        (["1.0", "2.0"], True, False),
        (["1.5", "2"], False, False),
        (["a", "b"], False, False),
        ([None, "1", "2"], True, False),
        (["true", "false"], False, False),
        ([], False, False),
    ],
)
def test_column_detects_whole_numbers_and_row_numbers(column: list[Cell], whole: bool, row_number: bool) -> None:
    read = read_column("column", column)
    assert (read.is_whole, read.is_row_number) == (whole, row_number)


def test_year_columns_stay_integer() -> None:
    years: list[Cell] = list(range(1900, 2000))
    assert [read_column(name, years).kind for name in ("yr_built", "YearBuilt", "built", "built_area")] == [
        *[Kind.INTEGER] * 3,
        Kind.NUMBER,
    ]


@pytest.mark.parametrize("name", ["YearBuilt", "year_built", "Year Built", " year-built ", "Year.Built"])
def test_column_names_are_normalized(name: str) -> None:
    assert normalize_name(name) == "year built"


def test_column_counts_its_values() -> None:
    read = read_column("rooms", ["3", "4", "3", ""])
    assert isinstance(read, Column)
    assert read.distinct == {3: 2, 4: 1}
