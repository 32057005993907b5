"""Sale dates in a sales file, which can be a date column, or a year column and a month column."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from itertools import pairwise, product

from attrs import frozen

from housepredict.domain.features import Kind, Value
from housepredict.domain.schema_inference.columns import READABLE_SHARE, Column, normalize_name

_ONE_DAY = timedelta(days=1)
_MIN_GAP_DAYS = 365
_MIN_MEAN_GAPS = 10
_OUTLIERS_ONE_IN = 100


def latest_sale_date(now: datetime) -> date:
    """Return the latest valid sale date: tomorrow in UTC, which may already be today in the easternmost time zone."""
    return now.astimezone(UTC).date() + _ONE_DAY


def plausible_days(days: Sequence[date]) -> tuple[date, date]:
    """Return the first and the last sale date that are not outliers.

    The earliest 1% and the latest 1% of the sales (at least one sale at each end) can be outliers. They are outliers if
    they are separated from the other sales by a gap longer than a year and longer than ten times the mean gap between
    the other sales.

    Args:
        days: the date of each sale, in any order. Must not be empty.
    """
    ordered = sorted(days)
    outliers = max(1, len(ordered) // _OUTLIERS_ONE_IN)
    middle = ordered[outliers:-outliers] or ordered
    mean_gap = (middle[-1] - middle[0]).days / max(1, len(middle) - 1)
    long_gap = max(_MIN_GAP_DAYS, _MIN_MEAN_GAPS * mean_gap)

    def last_before_gap(outward: Sequence[date]) -> date:
        """Return the day before the first long gap, or the last day in `outward` if there is no long gap.

        `outward` contains the sale dates in order, from the middle of all dates to the earliest or the latest.
        """
        return next((day for day, next_ in pairwise(outward) if abs((next_ - day).days) > long_gap), outward[-1])

    return last_before_gap(ordered[outliers::-1]), last_before_gap(ordered[-outliers - 1 :])


def last_year_of(years: Collection[int], latest_first: int, near: int | None = None) -> int:
    """Choose the 100 years that a column's two-digit years stand for, and return the last one.

    The two-digit year after the longest gap is taken as the column's earliest year. For example, this is 98 if the
    column has 98, 99, 00 and 01. The 100 years start with this year.

    The century of the earliest year is the latest one in which the year is not after `latest_first`. If `near` is
    given, the century is instead chosen so that the middle of the column's years is as close as possible to `near`.

    Args:
        years: the distinct two-digit years in the column, at least one.
        latest_first: the latest year (with four digits) that the column's earliest year can be.
        near: a year that the column's years should be close to.
    """
    earliest = latest_first - 99
    ordered = sorted(earliest + (year - earliest) % 100 for year in years)
    before = [ordered[-1] - 100, *ordered[:-1]]
    # If several gaps have the same length, max() returns the first one. The last year is then `latest_first`.
    previous, first = max(zip(before, ordered, strict=True), key=lambda gap: gap[1] - gap[0])
    if near is not None:
        middle = first + (previous - first) % 100 // 2
        first += 100 * round((near - middle) / 100)
    return first + 99


MONTH_OF_SALE = "sale_date"
"""Name of the sale date column that is created from a year column and a month column."""

_SOLD_NAME = re.compile(r"sale|sold|transfer|transaction|deed|clos|settle")
_NOT_SOLD_NAME = re.compile(r"built|construct|renov|remodel|list|birth|update|expir|\b(prev|previous|prior)\b")
_YEAR_SOLD, _MONTH_SOLD = (
    re.compile(rf"({part}) ?(of )?(sale|sold)|(sales?|sold) ?({part})") for part in ("year|yr", "month|mo|mth")
)


@frozen
class SaleMonths:
    """Sale dates that a file gives as a year column and a month column.

    Attributes:
        year: the name of the year column.
        month: the name of the month column.
        date: a date column created from both, with the first day of each month.
    """

    year: str
    month: str
    date: Column


def find_sale_date(columns: Mapping[str, Column], excluded: Collection[str]) -> Column | None:
    """Return the column that is most likely the sale date, or None if no column is suitable."""
    dates = [
        column
        for column in columns.values()
        if column.kind is Kind.DATE
        and column.name not in excluded
        and len(column.distinct) > 1
        # Sales without a date are rejected, and a wrong guess must not reject many sales.
        and column.present >= READABLE_SHARE * len(column.values)
        and not _NOT_SOLD_NAME.search(normalize_name(column.name))
    ]
    rank: tuple[Callable[[str], object], ...] = (_SOLD_NAME.search, lambda _: True)
    return next((column for fits in rank for column in dates if fits(normalize_name(column.name))), None)


def find_sale_months(columns: Mapping[str, Column]) -> SaleMonths | None:
    """Find a year column and a month column that together give the sale date.

    Returns:
        The columns, or None if the file doesn't have exactly one of each, if it has a column named `sale_date`, or if
        the values are implausible.
    """
    years, months = (
        [name for name in columns if part.fullmatch(normalize_name(name))] for part in (_YEAR_SOLD, _MONTH_SOLD)
    )
    if len(years) != 1 or len(months) != 1 or MONTH_OF_SALE in columns:
        return None
    year, month = columns[years[0]], columns[months[0]]
    if not _mostly_within(year, 1900, 2100) or not _mostly_within(month, 1, 12):
        return None
    # A mistyped month results in a missing date. A mistyped year results in a date that is an outlier.
    dates = {
        (y, m): f"{int(y):04}-{int(m):02}-01"
        for y, m in product(year.distinct, month.distinct)
        if MINYEAR <= float(y) <= MAXYEAR and 1 <= float(m) <= 12
    }
    values: list[Value | None] = [
        None if y is None or m is None else dates.get((y, m)) for y, m in zip(year.values, month.values, strict=True)
    ]
    distinct = Counter(value for value in values if value is not None)
    if len(distinct) < 2 or distinct.total() < READABLE_SHARE * len(values):
        return None
    why = f"first of the month, from {year.name} and {month.name}"
    date = Column(name=MONTH_OF_SALE, kind=Kind.DATE, why=why, unreadable=0, values=values, distinct=distinct)
    return SaleMonths(year.name, month.name, date)


def _mostly_within(column: Column, least: int, most: int) -> bool:
    if not column.is_whole:
        return False
    within = sum(rows for value, rows in column.distinct.items() if least <= float(value) <= most)
    return within >= READABLE_SHARE * column.present
