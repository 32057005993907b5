"""Reading a column of a sales file: what kind of values it holds, and which of its cells are none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property

from attrs import field, frozen

from housepredict.domain.cells import LAST_YEAR, Readings, booleans, money, present_in, read_as
from housepredict.domain.features import Kind, Value
from housepredict.domain.sales import Cell

READABLE_SHARE = 0.95
"""A column has a kind if at least this share of its cells can be read as that kind; the others count as unreadable."""

MEASURE = re.compile(r"sq|area|size|lot|bed|bath|room|floor|stor(e?)y|garage|parking|\bage\b|fireplace|year|yr")
"""Words of names that stand for something measured or counted of a house."""

_CODE = re.compile(r"0\d+", re.ASCII)
_DATE_NAME = re.compile(r"date|day|sold|_dt$", re.IGNORECASE)
_YEAR_NAME = re.compile(r"year|yr|built$", re.IGNORECASE)
_COUNTABLE = 50  # more distinct values than this count nothing that a house has


@frozen(slots=False)
class Column:
    """A column that was read: one value a row, None where the cell is missing or unreadable.

    `unreadable` counts the cells that hold something else than the column's kind; `why` says what decided the kind.
    """

    name: str
    kind: Kind
    why: str
    unreadable: int
    values: Sequence[Value | None] = field(repr=False)
    distinct: Mapping[Value, int] = field(repr=False)

    @property
    def present(self) -> int:
        """How many rows have a value."""
        return sum(self.distinct.values())

    @cached_property
    def is_whole(self) -> bool:
        """Whether the values are whole numbers, also where some program wrote them with decimals, 98178.0."""
        numeric = self.kind in (Kind.NUMBER, Kind.INTEGER)
        return numeric and all(float(value).is_integer() for value in self.distinct)

    @property
    def is_row_number(self) -> bool:
        """Whether the values merely count the rows, as far as there are any: rows that were added may have none."""
        first = next(iter(self.values), None)
        return type(first) is int and all(
            value is None or value == number for number, value in enumerate(self.values, first)
        )


def words_of(name: str) -> str:
    """A column's name in lower case with single spaces, however it was written: YearBuilt, year_built, Year Built."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", name).lower().strip()


def read_column(name: str, cells: Sequence[Cell], kind: Kind | None = None, last_year: int = LAST_YEAR) -> Column:
    """Read a column as the kind given, or as the kind that its cells have; for `last_year` see way_to_read."""
    present = present_in(cells)
    if kind is not None:
        return _column(name, kind, "as you said", cells, present, read_as(kind, present, last_year))
    kind, readings, why = _recognise(name, present, last_year)
    return _column(name, kind, why, cells, present, readings)


def read_prices(name: str, cells: Sequence[Cell]) -> Column:
    """Read a column of prices: numbers, as money is written."""
    present = present_in(cells)
    return _column(name, Kind.NUMBER, "prices", cells, present, money(present))


def _column(
    name: str, kind: Kind, why: str, cells: Sequence[Cell], present: Mapping[Cell, int], readings: Readings
) -> Column:
    distinct: Counter[Value] = Counter()
    for cell, value in readings.items():
        distinct[value] += present[cell]
    return Column(
        name=name,
        kind=kind,
        why=why,
        unreadable=sum(present.values()) - sum(distinct.values()),
        values=[readings.get(cell) for cell in cells],
        distinct=distinct,
    )


def _recognise(name: str, present: Mapping[Cell, int], last_year: int) -> tuple[Kind, Readings, str]:
    total = sum(present.values())

    def mostly(readings: Readings) -> bool:
        return total > 0 and sum(present[cell] for cell in readings) >= READABLE_SHARE * total

    flags = booleans(present)
    if len(flags) == len(present) > 0:
        return Kind.BOOLEAN, flags, "true and false"
    # by its name, before 20141013 is taken for a number
    if _DATE_NAME.search(name) and mostly(days := read_as(Kind.DATE, present, last_year)):
        return Kind.DATE, days, "dates"
    amounts = read_as(Kind.NUMBER, present)
    if mostly(amounts):
        if any(isinstance(cell, str) and _CODE.fullmatch(cell) for cell in present):
            return Kind.CATEGORY, read_as(Kind.CATEGORY, present), "numbers with leading zeros are codes"
        if all(type(value) is int for value in amounts.values()) and (
            len(amounts) <= _COUNTABLE or _YEAR_NAME.search(name)
        ):
            return Kind.INTEGER, amounts, "whole numbers"
        # areas are often rounded to whole numbers, and yet 1982.5 would be one
        return Kind.NUMBER, amounts, "numbers"
    if mostly(days := read_as(Kind.DATE, present, last_year)):
        return Kind.DATE, days, "dates"
    return Kind.CATEGORY, read_as(Kind.CATEGORY, present), "text"
