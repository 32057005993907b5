"""Plausible sale dates: mistyped dates affect neither the valuation date nor the trend."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.errors import UnusableSales
from housepredict.domain.features import Kind
from housepredict.domain.sales import SalesTable
from housepredict.domain.schema_inference.inference import PreparedSales, prepare
from housepredict.domain.schema_inference.sale_dates import last_year_of, latest_sale_date, plausible_days
from housepredict.domain.training_options import TrainingOptions

READ_ON = date(2026, 11, 30)
DAYS = [date(2014, 5, 2) + timedelta(3 * row) for row in range(300)]
LAST = DAYS[-1]


def prepared(days: Sequence[object], **options: Any) -> PreparedSales:
    columns: Any = {
        "sold": [str(day) for day in days],
        "price": [200_000 + 1_111 * (row * 37 % 160) for row in range(len(days))],
        "area": [900 + 7 * row for row in range(len(days))],
    }
    return prepare(SalesTable(columns, "", read_on=READ_ON), TrainingOptions(**options))


def reasons(found: PreparedSales) -> list[tuple[str, int]]:
    return list(found.rejected.items())


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_latest_sale_date_is_tomorrow_in_utc(now: datetime) -> None:
    assert latest_sale_date(now) == now.date() + timedelta(1)
    assert now.astimezone(timezone(timedelta(hours=14))).date() <= latest_sale_date(now)


@pytest.mark.parametrize("future", ["2026-12-01", "2105-06-01", "9999-12-31"])
def test_future_sales_are_rejected_with_a_count(future: str) -> None:
    found = prepared([future, *DAYS])
    assert reasons(found) == [("sold: in the future, after 2026-11-30", 1)]
    assert found.schema.valuation_date == LAST


@pytest.mark.parametrize(
    "outliers",
    [["2025-06-01"], ["1905-06-01"], ["0001-01-01"], ["1900-01-01", "2026-11-30"], ["2018-01-01", "2025-06-01"]],
    ids=str,
)
def test_outlier_dates_are_rejected(outliers: list[str]) -> None:
    found = prepared([*outliers, *DAYS])
    [(reason, count)] = reasons(found)
    assert reason.startswith(f"sold: far outside {DAYS[0]} to {LAST}")
    assert count == len(outliers)
    assert found.schema.valuation_date == LAST
    [sold] = [each for each in found.schema.features if each.name == "sold"]
    assert sold.observed == (str(DAYS[0]), str(LAST))
    assert {sale.sold_on for sale in [*found.training, *found.held_out]} == set(DAYS)


@pytest.mark.parametrize("unreadable", ["1900-01-00", "12000-01-01", "2015-02-30", "0000-00-00"])
def test_impossible_date_rejects_only_its_row(unreadable: str) -> None:
    found = prepared([unreadable, *DAYS])
    assert reasons(found) == [("sold: missing or not a date", 1)]
    assert found.schema.valuation_date == LAST


def test_dates_without_outliers_are_all_used() -> None:
    assert reasons(prepared([*DAYS, *(LAST + timedelta(days) for days in (1, 300, 400))])) == []


def test_several_late_sales_move_the_valuation_date() -> None:
    assert prepared([*DAYS, *["2025-06-01"] * 5]).schema.valuation_date == date(2025, 6, 1)


@given(
    st.lists(st.integers(0, 2_000), min_size=200, max_size=400),
    st.lists(st.integers(2_000 + 5_000, 100_000), max_size=2),
    st.lists(st.integers(-500_000, -5_000), max_size=2),
    st.randoms(),
)
def test_plausible_days_exclude_outliers(inner: list[int], late: list[int], early: list[int], random: Any) -> None:
    days = [READ_ON + timedelta(each) for each in (*inner, *late, *early)]
    random.shuffle(days)
    first, last = plausible_days(days)
    assert (first, last) >= (READ_ON, READ_ON)
    assert last <= READ_ON + timedelta(max(inner))
    assert first <= READ_ON + timedelta(sorted(inner)[len(inner) // 20])
    assert last >= READ_ON + timedelta(sorted(inner)[-1 - len(inner) // 20])


@given(st.lists(st.dates(), min_size=1, max_size=5), st.integers(30, 60))
def test_plausible_days_of_sparse_sales_include_all(some: list[date], count: int) -> None:
    rare = [date(1950, 1, 1) + timedelta(700 * each) for each in range(count)]
    assert plausible_days(rare) == (rare[0], rare[-1])
    first, last = plausible_days(some)
    assert min(some) <= first <= last <= max(some)


@pytest.mark.parametrize("years", [range(1992, 2000), range(1990, 2026), range(2010, 2026)], ids=str)
def test_two_digit_years_are_in_the_last_hundred_years(years: range) -> None:
    written = [f"{1 + row % 12}/15/{years[row % len(years)] % 100:02}" for row in range(120)]
    found = prepared(["6/1/68", *written])
    assert sum(found.rejected.values()) == 1
    assert found.schema.valuation_date == date(years[-1], 12, 15)


def test_two_digit_years_stay_in_the_past() -> None:
    found = prepared([f"{1 + row % 12}/15/{55 + row % 20}" for row in range(120)])
    assert found.schema.valuation_date == date(1974, 12, 15)
    assert found.rejected == {}


def test_named_sale_date_without_dates_is_rejected_with_examples() -> None:
    with pytest.raises(UnusableSales, match=r"sold: .*400 of 400 cells can't be read, such as 'Q1', 'Q2', 'Q3';"):
        prepared([f"Q{1 + row % 4}" for row in range(400)], sale_date="sold")


def two_digit_dates(years: Sequence[int], rows: int = 120) -> list[str]:
    return [f"{1 + row % 12}/15/{years[row % len(years)] % 100:02}" for row in range(rows)]


def test_future_two_digit_years_are_rejected_with_a_count() -> None:
    found = prepared([*two_digit_dates([2024, 2025], 600), *two_digit_dates([2027], 60)])
    assert reasons(found) == [("sold: in the future, after 2026-11-30", 60)]
    [sold] = [each for each in found.schema.features if each.name == "sold"]
    assert sold.observed == ("2024-01-15", "2025-12-15")


@given(st.integers(1900, 1999), st.integers(0, 49), st.integers(2000, 2026))
def test_two_digit_years_start_in_latest_past_century(first: int, length: int, latest: int) -> None:
    first = latest - (latest - first) % 100
    years = {year % 100 for year in range(first, first + length + 1)}
    assert last_year_of(years, latest) == first + 99


@given(st.integers(1950, 2050), st.integers(-30, 40), st.integers(0, 19))
def test_two_digit_years_in_other_columns_follow_sales(sold: int, distance: int, length: int) -> None:
    first = sold + distance
    assert last_year_of({year % 100 for year in range(first, first + length + 1)}, 2026, sold) == first + 99


def test_two_digit_years_of_full_century_end_with_latest() -> None:
    assert last_year_of(set(range(100)), 2026) == 2026


@pytest.mark.parametrize("kinds", [{}, {"lease end": Kind.DATE}], ids=["recognized", "named"])
def test_two_digit_lease_end_is_in_the_future(kinds: dict[str, Kind]) -> None:
    columns: Any = {
        "sold": two_digit_dates([2024, 2025, 2026], 300),
        "lease end": [f"6/15/{(28, 30, 35, 40)[row * 7 % 4]}" for row in range(300)],
        "renewed": [f"{1930 + row % 95}-06-15" for row in range(300)],
        "price": [200_000 + 1_111 * (row * 37 % 160) for row in range(300)],
        "area": [900 + 7 * row for row in range(300)],
    }
    found = prepare(SalesTable(columns, "", read_on=READ_ON), TrainingOptions(kinds=kinds))
    observed = {each.name: each.observed for each in found.schema.features}
    assert observed["lease end"] == ("2028-06-15", "2040-06-15")
    assert observed["renewed"] == ("1930-06-15", "2024-06-15")


def test_two_digit_years_are_near_median_sale() -> None:
    columns: Any = {
        "sold": [f"{1970 + row % 56}-06-15" for row in range(280)],
        "lease end": [f"6/15/{(45, 46)[row * 7 % 2]}" for row in range(280)],  # 47 years after 1998, or 53 before it
        "price": [200_000 + 1_111 * (row * 37 % 160) for row in range(280)],
        "area": [900 + 7 * row for row in range(280)],
    }
    found = prepare(SalesTable(columns, "", read_on=READ_ON), TrainingOptions())
    assert {each.name: each.observed for each in found.schema.features}["lease end"] == ("2045-06-15", "2046-06-15")
