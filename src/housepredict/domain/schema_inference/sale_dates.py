"""The sale dates of a file: a column of dates, or two columns with a year and a month."""

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
    """Return the latest date that a sale can have: tomorrow in UTC, which is today in the most eastern time zone."""
    return now.astimezone(UTC).date() + _ONE_DAY


def plausible_days(days: Sequence[date]) -> tuple[date, date]:
    """Return the first and the last plausible sale date, without outliers.

    Up to 1% of the sales at each end, and at least one, are outliers if the gap to the next sale is longer than a year,
    and longer than ten times the mean gap between the other sales.

    Args:
        days: the date of each sale, at least one, in any order.
    """
    ordered = sorted(days)
    outliers = max(1, len(ordered) // _OUTLIERS_ONE_IN)
    middle = ordered[outliers:-outliers] or ordered
    mean_gap = (middle[-1] - middle[0]).days / max(1, len(middle) - 1)
    long_gap = max(_MIN_GAP_DAYS, _MIN_MEAN_GAPS * mean_gap)

    def last_before_gap(outward: Sequence[date]) -> date:
        """Return the last day before the first long gap, from the middle outward."""
        return next((day for day, next_ in pairwise(outward) if abs((next_ - day).days) > long_gap), outward[-1])

    return last_before_gap(ordered[outliers::-1]), last_before_gap(ordered[-outliers - 1 :])


def last_year_of(years: Collection[int], latest_first: int, near: int | None = None) -> int:
    """Return the last of the 100 consecutive years that a column's two-digit years refer to.

    The 100 years begin after the longest gap between the column's years, in the latest century in which that is not
    after `latest_first`. With `near`, it is instead the century in which the middle of the years is closest to `near`.

    Args:
        years: the distinct two-digit years of the column, at least one.
        latest_first: the latest possible first year of the column.
        near: the year that the column should be close to.
    """
    earliest = latest_first - 99
    ordered = sorted(earliest + (year - earliest) % 100 for year in years)
    before = [ordered[-1] - 100, *ordered[:-1]]
    # Of gaps of the same length, max() takes the first: the last year is then `latest_first`.
    previous, first = max(zip(before, ordered, strict=True), key=lambda gap: gap[1] - gap[0])
    if near is not None:
        middle = first + (previous - first) % 100 // 2
        first += 100 * round((near - middle) / 100)
    return first + 99


MONTH_OF_SALE = "sale_date"
"""The name of the column that is made of a year and a month of sale."""

_SOLD_NAME = re.compile(r"sale|sold|transfer|transaction|deed|clos|settle")
_NOT_SOLD_NAME = re.compile(r"built|construct|renov|remodel|list|birth|update|expir|\b(prev|previous|prior)\b")
_YEAR_SOLD, _MONTH_SOLD = (
    re.compile(rf"({part}) ?(of )?(sale|sold)|(sales?|sold) ?({part})") for part in ("year|yr", "month|mo|mth")
)


@frozen
class SaleMonths:
    """The names of the columns with a year and a month of sale, and a column with the first day of that month."""

    year: str
    month: str
    date: Column


def find_sale_date(columns: Mapping[str, Column], excluded: Collection[str]) -> Column | None:
    """Find the column that is most likely the sale date; None if there is none."""
    dates = [
        column
        for column in columns.values()
        if column.kind is Kind.DATE
        and column.name not in excluded
        and len(column.distinct) > 1
        # Sales without a date are rejected, and a guess must not cost many of them.
        and column.present >= READABLE_SHARE * len(column.values)
        and not _NOT_SOLD_NAME.search(normalize_name(column.name))
    ]
    rank: tuple[Callable[[str], object], ...] = (_SOLD_NAME.search, lambda _: True)
    return next((column for fits in rank for column in dates if fits(normalize_name(column.name))), None)


def find_sale_months(columns: Mapping[str, Column]) -> SaleMonths | None:
    """Find the year and the month of sale; None unless the file has exactly one of each, and no `sale_date`."""
    years, months = (
        [name for name in columns if part.fullmatch(normalize_name(name))] for part in (_YEAR_SOLD, _MONTH_SOLD)
    )
    if len(years) != 1 or len(months) != 1 or MONTH_OF_SALE in columns:
        return None
    year, month = columns[years[0]], columns[months[0]]
    if not _mostly_within(year, 1900, 2100) or not _mostly_within(month, 1, 12):
        return None
    # A mistyped month gives no date. A mistyped year does, and is an outlier.
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
