"""When the houses of a file were sold: a column of dates, or a year and a month that stand in two columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import MAXYEAR, MINYEAR
from itertools import product

from attrs import frozen

from housepredict.domain.columns import READABLE_SHARE, Column, words_of
from housepredict.domain.features import Kind, Value

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
