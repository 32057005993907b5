"""A sale date made from year and month columns, if the file has no other sale date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pytest

from housepredict.domain.features import Kind
from housepredict.domain.sales import Cell, SalesTable
from housepredict.domain.schema_inference.inference import PreparedSales, prepare
from housepredict.domain.training_options import TrainingOptions

ROWS = range(120)
YEARS: list[Cell] = [2006 + row % 5 for row in ROWS]
MONTHS: list[Cell] = [1 + row % 12 for row in ROWS]
HOUSES: dict[str, list[Cell]] = {
    "area": [900 + 7 * (row // 2) for row in ROWS],  # each house is sold twice
    "price": [200_000 + 1_111 * (row * 37 % 120) for row in ROWS],
}
FAR = (
    "far outside 2006-01-01 to 2010-12-01, the range of nearly all sales, and probably mistyped "
    "(exclude sale_date to use these sales without their dates)"
)
AMES = {"Mo Sold": MONTHS, "Yr Sold": YEARS, **HOUSES}


def prepared(columns: Mapping[str, Sequence[Cell]], **options: Any) -> PreparedSales:
    return prepare(SalesTable(columns, ""), TrainingOptions(**options))


def uses(found: PreparedSales) -> dict[str, tuple[str, Kind | None]]:
    return {each.column: (each.use, each.kind) for each in found.decisions}


@pytest.mark.parametrize(
    ("year", "month"),
    [("Yr Sold", "Mo Sold"), ("YrSold", "MoSold"), ("sale_year", "sale_month"), ("Year of Sale", "Month of Sale"),
     ("SaleYear", "SaleMonth"), ("soldyr", "sold_mth"), ("YEAR SOLD", "MONTH SOLD")],
)  # fmt: skip
def test_sale_year_and_month_make_sale_date(year: str, month: str) -> None:
    found = prepared({year: [str(each) for each in YEARS], month: [f"{each}.0" for each in MONTHS], **HOUSES})
    assert uses(found) == {
        year: ("left out", None),
        month: ("left out", None),
        "area": ("feature", Kind.NUMBER),
        "price": ("price", Kind.NUMBER),
        "sale_date": ("sale date", Kind.DATE),
    }
    assert found.schema.sale_date == "sale_date"
    assert found.schema.valuation_date == date(2010, 12, 1)
    assert {sale.sold_on for sale in [*found.training, *found.held_out]} == {
        date(year, month, 1) for year in range(2006, 2011) for month in range(1, 13)
    }


def test_decisions_explain_year_and_month() -> None:
    why = {each.column: each.why for each in prepared(AMES).decisions}
    assert why["Yr Sold"] == why["Mo Sold"] == "part of sale_date"
    assert why["sale_date"] == "first of the month, from Yr Sold and Mo Sold; 2006-01-01 to 2010-12-01"


def test_sale_without_month_is_rejected() -> None:
    found = prepared({**AMES, "Mo Sold": [None, *MONTHS[1:]]})
    assert found.rejected == {"sale_date: missing or not a date": 1}


@pytest.mark.parametrize(
    ("name", "mistyped", "reason"),
    [
        ("Mo Sold", 13, "missing or not a date"),
        ("Yr Sold", 20100, "missing or not a date"),
        ("Yr Sold", 0, "missing or not a date"),
        ("Yr Sold", 9999, "in the future, after 2011-01-31"),
        ("Yr Sold", 1899, FAR),
    ],
)  # fmt: skip
def test_mistyped_month_or_year_rejects_one_row(name: str, mistyped: Cell, reason: str) -> None:
    columns = {**AMES, name: [mistyped, *AMES[name][1:]]}
    found = prepare(SalesTable(columns, "", read_on=date(2011, 1, 31)), TrainingOptions())
    assert found.rejected == {f"sale_date: {reason}": 1}
    assert found.schema.valuation_date == date(2010, 12, 1)


@pytest.mark.parametrize(
    "columns",
    [
        {**AMES, "Mo Sold": [13] * 20 + MONTHS[20:]},
        {**AMES, "Yr Sold": [1899] * 20 + YEARS[20:]},
        {**AMES, "Mo Sold": [1.5, *MONTHS[1:]]},
        {**AMES, "Mo Sold": [None] * 20 + MONTHS[20:]},
        {**AMES, "Yr Sold": [2010] * 120, "Mo Sold": [5] * 120},
        {**AMES, "sale_year": YEARS},
        {**AMES, "sale_date": ["unknown", "known"] * 60},
        {"Yr Sold": YEARS, **HOUSES},
        {**AMES, "closed": [f"2014-{each:02}-15" for each in MONTHS]},
    ],
    ids=[
        "month 13",
        "year 1899",
        "month 1.5",
        "few months",
        "one month",
        "two years",
        "name taken",
        "no month",
        "date",
    ],
)
def test_year_and_month_stay_features_otherwise(columns: dict[str, list[Cell]]) -> None:
    found = uses(prepared(columns))
    assert found.keys() == columns.keys()
    assert found["Yr Sold"][0] == ("left out" if len(set(columns["Yr Sold"])) == 1 else "feature")


@pytest.mark.parametrize(
    "options",
    [{"kinds": {"Mo Sold": Kind.CATEGORY}}, {"allow": ("Yr Sold",)}, {"features": ("area", "Yr Sold", "Mo Sold")}],
)
def test_year_or_month_in_options_keeps_both(options: dict[str, Any]) -> None:
    found = uses(prepared(AMES, **options))
    assert "sale_date" not in found
    assert {found["Yr Sold"][0], found["Mo Sold"][0]} == {"feature"}


@pytest.mark.parametrize("options", [{}, {"exclude": ("Yr Sold",)}, {"kinds": {"Mo Sold": Kind.CATEGORY}}])
def test_sale_time_is_not_part_of_house_key(options: dict[str, Any]) -> None:
    found = prepared(AMES, **options)
    assert len({sale.house_key for sale in [*found.training, *found.held_out]}) == 60
