"""When the houses of a file were sold: a column of dates, or a year and a month that stand in two columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from itertools import pairwise, product

from attrs import frozen

from housepredict.domain.features import Kind, Value
from housepredict.domain.schema_inference.columns import READABLE_SHARE, Column, words_of

_ONE_DAY = timedelta(days=1)
_FAR_DAYS = 365
_FAR_GAPS = 10
_ONE_IN = 100


def latest_day(now: datetime) -> date:
    """Return the latest date that a sale can have: tomorrow by UTC. No zone has a later one (UTC+14)."""
    return now.astimezone(UTC).date() + _ONE_DAY


def plausible_days(days: Sequence[date]) -> tuple[date, date]:
    """Return the first and the last day that `days` (one per sale, at least one, in any order) can be trusted for.

    Up to 1% of the sales at either end, and at least one, are outliers if a gap separates them from all others that
    is longer than a year and than ten times the mean gap between those others.
    """
    ordered = sorted(days)
    few = max(1, len(ordered) // _ONE_IN)
    middle = ordered[few:-few] or ordered
    mean_gap = (middle[-1] - middle[0]).days / max(1, len(middle) - 1)
    far = max(_FAR_DAYS, _FAR_GAPS * mean_gap)

    def last_before_gap(outward: Sequence[date]) -> date:
        """Return the last day before the first long gap, from the middle outward."""
        return next((near for near, next_ in pairwise(outward) if abs((next_ - near).days) > far), outward[-1])

    return last_before_gap(ordered[few::-1]), last_before_gap(ordered[-few - 1 :])


def last_year_of(years: Collection[int], latest_first: int, near: int | None = None) -> int:
    """Return the last of the 100 years that a column's two-digit years stand for.

    They begin with the year after the longest gap, in the latest century in which that is no later than `latest_first`.
    With `near`, they are instead those of the century in which the middle of the column's years is nearest to that.

    Args:
        years: the distinct two-digit years of the column, at least one.
        latest_first: the latest year that the column can begin with.
        near: a year that the column should be near to.
    """
    earliest = latest_first - 99
    ordered = sorted(earliest + (year - earliest) % 100 for year in years)
    before = [ordered[-1] - 100, *ordered[:-1]]
    # of gaps of the same length, the first: the last year is `latest_first` then
    previous, first = max(zip(before, ordered, strict=True), key=lambda gap: gap[1] - gap[0])
    if near is not None:
        middle = first + (previous - first) % 100 // 2
        first += 100 * round((near - middle) / 100)
    return first + 99


MONTH_OF_SALE = "sale_date"
"""The name of the column that a year and a month of sale make."""

_SOLD_NAME = re.compile(r"sale|sold|transfer|transaction|deed|clos|settle")
_NOT_SOLD_NAME = re.compile(r"built|construct|renov|remodel|list|birth|update|expir|\b(prev|previous|prior)\b")
_YEAR_SOLD, _MONTH_SOLD = (
    re.compile(rf"({part}) ?(of )?(sale|sold)|(sales?|sold) ?({part})") for part in ("year|yr", "month|mo|mth")
)


@frozen
class SaleMonths:
    """A year and a month of sale, and the first of that month as a column of its own."""

    year: str
    month: str
    date: Column


def find_sale_date(columns: Mapping[str, Column], excluded: Collection[str]) -> Column | None:
    """The column of dates that is most likely the sale's."""
    dates = [
        column
        for column in columns.values()
        if column.kind is Kind.DATE
        and column.name not in excluded
        and len(column.distinct) > 1
        # sales without a date are rejected: a guess must not cost many of them
        and column.present >= READABLE_SHARE * len(column.values)
        and not _NOT_SOLD_NAME.search(words_of(column.name))
    ]
    rank: tuple[Callable[[str], object], ...] = (_SOLD_NAME.search, lambda _: True)
    return next((column for fits in rank for column in dates if fits(words_of(column.name))), None)


def find_sale_months(columns: Mapping[str, Column]) -> SaleMonths | None:
    """The year and the month of sale, if the file has exactly one of each, and no column of the name that they make."""
    years, months = ([name for name in columns if part.fullmatch(words_of(name))] for part in (_YEAR_SOLD, _MONTH_SOLD))
    if len(years) != 1 or len(months) != 1 or MONTH_OF_SALE in columns:
        return None
    year, month = columns[years[0]], columns[months[0]]
    if not _mostly_within(year, 1900, 2100) or not _mostly_within(month, 1, 12):
        return None
    # a mistyped month makes no date; a mistyped year does, and is judged as one
    known = {
        (y, m): f"{int(y):04}-{int(m):02}-01"
        for y, m in product(year.distinct, month.distinct)
        if MINYEAR <= float(y) <= MAXYEAR and 1 <= float(m) <= 12
    }
    values: list[Value | None] = [
        None if y is None or m is None else known.get((y, m)) for y, m in zip(year.values, month.values, strict=True)
    ]
    distinct = Counter(value for value in values if value is not None)
    if len(distinct) < 2 or distinct.total() < READABLE_SHARE * len(values):
        return None
    why = f"the first of the month, from {year.name} and {month.name}"
    date = Column(name=MONTH_OF_SALE, kind=Kind.DATE, why=why, unreadable=0, values=values, distinct=distinct)
    return SaleMonths(year.name, month.name, date)


def _mostly_within(column: Column, least: int, most: int) -> bool:
    if not column.is_whole:
        return False
    within = sum(rows for value, rows in column.distinct.items() if least <= float(value) <= most)
    return within >= READABLE_SHARE * column.present
