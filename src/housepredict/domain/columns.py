"""Reading a column of a sales file: what kind of values it holds, and which of its cells are none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property

from attrs import field, frozen

from housepredict.domain.features import Kind, Value
from housepredict.domain.sales import Cell
from housepredict.domain.validation import MAX_MAGNITUDE, MAX_TEXT

READABLE_SHARE = 0.95
"""A column has a kind if at least this share of its cells can be read as that kind; the others count as unreadable."""

_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "nil", "?", "-", "."})
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_GROUPED_NUMBER = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)
_CODE = re.compile(r"0\d+", re.ASCII)
_COMPACT_DATE = re.compile(r"(19|20)\d{6}", re.ASCII)
_DATE_LIKE = re.compile(r"\d{1,4}[-/.](\d{1,2}|[A-Za-z]{3})[-/.]\d{1,4}\b|\d{8}T\d{6}", re.ASCII)
_DATE_NAME = re.compile(r"date|day|sold|_dt$", re.IGNORECASE)
_YEAR_NAME = re.compile(r"year|yr|built", re.IGNORECASE)
_COUNTABLE = 50  # more distinct values than this count nothing that a house has
# The order decides between formats that read equally many cells: month first, as in the United States.
_DATE_FORMATS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%m-%d-%Y", "%d-%m-%Y",
                 "%m/%d/%y", "%d/%m/%y", "%d-%b-%Y", "%d-%b-%y")  # fmt: skip


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
        """Whether the values are whole numbers, written as such."""
        return all(type(value) is int for value in self.distinct)

    @property
    def is_row_number(self) -> bool:
        """Whether the values merely count the rows."""
        first = next(iter(self.values), None)
        return type(first) is int and all(value == number for number, value in enumerate(self.values, first))


def read_column(name: str, cells: Sequence[Cell], kind: Kind | None = None) -> Column:
    """Read a column as the kind given, or as the kind that its cells have."""
    counts = Counter(cells)
    present = {cell: count for cell, count in counts.items() if not _is_missing(cell)}
    if kind is not None:
        readings, why = _read_as(kind, present), "as you said"
    else:
        kind, readings, why = _recognise(name, present)
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


_Readings = dict[Cell, Value]


def _recognise(name: str, present: Mapping[Cell, int]) -> tuple[Kind, _Readings, str]:
    total = sum(present.values())

    def mostly(readings: _Readings) -> bool:
        return total > 0 and sum(present[cell] for cell in readings) >= READABLE_SHARE * total

    booleans = _readings(present, _boolean)
    if len(booleans) == len(present) > 0:
        return Kind.BOOLEAN, booleans, "true and false"
    if _DATE_NAME.search(name) and all(_COMPACT_DATE.fullmatch(str(cell)) for cell in present):
        dates = _dates(present)
        if mostly(dates):
            return Kind.DATE, dates, "the name says that the numbers are dates"
    numbers = _readings(present, _number)
    if mostly(numbers):
        if any(isinstance(cell, str) and _CODE.fullmatch(cell) for cell in present):
            return Kind.CATEGORY, _readings(present, _text), "numbers with leading zeros are codes"
        if all(type(value) is int for value in numbers.values()) and (
            len(numbers) <= _COUNTABLE or _YEAR_NAME.search(name)
        ):
            return Kind.INTEGER, numbers, "whole numbers"
        # areas are often rounded to whole numbers, and yet 1982.5 would be one
        return Kind.NUMBER, numbers, "numbers"
    dates = _dates(present)
    if mostly(dates):
        return Kind.DATE, dates, "dates"
    return Kind.CATEGORY, _readings(present, _text), "text"


def _read_as(kind: Kind, present: Mapping[Cell, int]) -> _Readings:
    match kind:
        case Kind.DATE:
            return _dates(present)
        case Kind.BOOLEAN:
            return _readings(present, _flag)
        case Kind.CATEGORY:
            return _readings(present, _text)
        case Kind.INTEGER:
            return {cell: int(value) for cell, value in _readings(present, _number).items() if float(value) % 1 == 0}
        case Kind.NUMBER:
            return _readings(present, _number)


def _readings(present: Mapping[Cell, int], read: Callable[[Cell], Value | None]) -> _Readings:
    return {cell: value for cell in present if (value := read(cell)) is not None}


def _is_missing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING)


def _boolean(cell: Cell) -> Value | None:
    return {"true": True, "false": False}.get(str(cell).lower())


def _flag(cell: Cell) -> Value | None:
    """A boolean in any spelling: for a column that the user called one."""
    text = str(cell).lower()
    return True if text in {"true", "yes", "y", "t", "1"} else False if text in {"false", "no", "n", "f", "0"} else None


def _number(cell: Cell) -> int | float | None:
    if isinstance(cell, bool | date):
        return None
    value: int | float
    if isinstance(cell, str):
        text = cell.strip().lstrip("$£€").rstrip("$£€ ").strip()
        if _GROUPED_NUMBER.fullmatch(text):
            text = text.replace(",", "")
        elif not _NUMBER.fullmatch(text):
            return None
        value = float(text) if len(text) > 300 or not text.lstrip("+-").isdigit() else int(text)
    else:
        value = cell  # type: ignore[assignment]  # bool, date and str are gone, None never comes here
    return value if abs(value) <= MAX_MAGNITUDE else None


def _text(cell: Cell) -> str | None:
    text = cell.isoformat() if isinstance(cell, date) else str(cell)
    return text if len(text) <= MAX_TEXT and "\0" not in text else None


def _dates(present: Mapping[Cell, int]) -> _Readings:
    """The readings of the one format that reads most cells."""
    typed: _Readings = {cell: cell.isoformat() for cell in present if isinstance(cell, date)}
    texts = {cell: str(cell) for cell in present if isinstance(cell, str | int) and not isinstance(cell, bool)}
    texts = {cell: text for cell, text in texts.items() if _DATE_LIKE.match(text) or _COMPACT_DATE.fullmatch(text)}
    if not texts:
        return typed
    # a time of day, if there is one, says nothing about a price
    days = {cell: re.split(r"[T ]", text, maxsplit=1)[0] for cell, text in texts.items()}
    best = max(
        ({cell: day for cell, text in days.items() if (day := _day(text, form))} for form in _DATE_FORMATS),
        key=lambda readings: sum(present[cell] for cell in readings),
    )
    return typed | best


def _day(text: str, form: str) -> str | None:
    try:
        return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007  # a day has no zone
    except ValueError:
        return None
