"""Reading the cells of one column of a sales file, whose writer kept to one way of writing numbers and dates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime

from housepredict.domain.features import Kind, Value
from housepredict.domain.sales import Cell
from housepredict.domain.validation import MAX_MAGNITUDE, text_problem

Readings = dict[Cell, Value]
"""What the cells that could be read say."""

_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "nil", "?", "-", "."})

_CURRENCY = r"(?:[A-Z]{0,3}[$£€¥₹]|USD|EUR|GBP|CHF|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|JPY|CNY|INR|SGD|HKD|ZAR|BRL|MXN)"
_AMOUNT = re.compile(rf"({_CURRENCY}?)\s*([-+]?[\d.](?:.*[\d.])?)\s*({_CURRENCY}?)", re.ASCII)
_SPACES = "' \u00a0\u202f"
# 450,000.50 and 450.000,50: how it is written, and how to make it what Python reads
_NUMBER_FORMATS = tuple(
    (
        re.compile(rf"[-+]?((\d+|\d{{1,3}}([{group}]\d{{3}})+)([{point}]\d*)?|[{point}]\d+)([eE][-+]?\d+)?", re.ASCII),
        str.maketrans(point, ".", group),
    )
    for point, group in ((".", "," + _SPACES), (",", "." + _SPACES))
)
_POINT_GROUPS = re.compile(r"\d{1,3}(\.\d{3})+", re.ASCII)
_WHOLE = re.compile(r"(-?\d+)(?:\.0+)?", re.ASCII)

_COMPACT_DATE = re.compile(r"(19|20)\d{6}", re.ASCII)
_DATE_LIKE = re.compile(r"(\d{1,4}[-.](\d{1,2}|[A-Za-z]{3,9})|[A-Za-z]{3,9}-\d{1,2})[-.]\d{1,4}", re.ASCII)
_TIME_OF_DAY = re.compile(r"(T\d\d|\s+\d{1,2}:\d\d).*$", re.ASCII)
# The order decides between formats that read equally many cells: month first, as in the United States.
_DATE_FORMATS = ("%Y-%m-%d", "%Y%m%d", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y.%m.%d", "%m-%d-%y", "%d-%m-%y",
                 "%d.%m.%y", "%d-%b-%Y", "%d-%b-%y", "%d-%B-%Y", "%b-%d-%Y", "%B-%d-%Y")  # fmt: skip


def is_missing(cell: Cell) -> bool:
    """Whether a cell holds nothing, or one of the words for it."""
    # only NaN differs from itself
    return cell is None or cell != cell or (isinstance(cell, str) and cell.strip().lower() in _MISSING)


def read_as(kind: Kind, present: Mapping[Cell, int]) -> Readings:
    """The cells of a column as a kind; `present` are the cells that are not missing, and how often each occurs."""
    match kind:
        case Kind.DATE:
            return dates(present)
        case Kind.BOOLEAN:
            return _each(present, _flag)
        case Kind.CATEGORY:
            return texts(present)
        case Kind.INTEGER:
            return {cell: int(value) for cell, value in numbers(present).items() if float(value).is_integer()}
        case _:
            return numbers(present)


def booleans(present: Mapping[Cell, int]) -> Readings:
    """The cells that say true or false."""
    return _each(present, lambda cell: {"true": True, "false": False}.get(str(cell).strip().lower()))


def numbers(present: Mapping[Cell, int]) -> Readings:
    """Numbers, in whichever currency and way of grouping digits most cells have; those written whole are ints."""
    typed: Readings = {cell: cell for cell in present if isinstance(cell, int | float) and not isinstance(cell, bool)}
    amounts = {cell: found for cell in present if isinstance(cell, str) and (found := _AMOUNT.fullmatch(cell.strip()))}
    currencies: Counter[str] = Counter()
    for cell, amount in amounts.items():
        currencies[amount[1] or amount[3]] += present[cell]
    del currencies[""]
    accepted = ["", *dict(currencies.most_common(1))]
    digits = {
        cell: _digits(amount[2], money=bool(amount[1] or amount[3]))
        for cell, amount in amounts.items()
        if (amount[1] or amount[3]) in accepted
    }
    ways: Iterable[Readings] = (
        {cell: value for cell, text in digits.items() if (value := _number(text, form, plain)) is not None}
        for form, plain in _NUMBER_FORMATS
    )
    every = typed | _fullest(ways, present)
    return {cell: value for cell, value in every.items() if abs(float(value)) <= MAX_MAGNITUDE}


def texts(present: Mapping[Cell, int]) -> Readings:
    """Texts; codes that some program made decimals of, such as 98178.0, are whole numbers again."""
    read = {cell: cell.isoformat() if isinstance(cell, date) else str(cell).strip() for cell in present}
    codes = {cell: _WHOLE.fullmatch(text) for cell, text in read.items()}
    if all(codes.values()):
        read = {cell: code[1] for cell, code in codes.items() if code}
    return {cell: text for cell, text in read.items() if text_problem(text) is None}


def dates(present: Mapping[Cell, int]) -> Readings:
    """Dates, YYYY-MM-DD, in the one format that reads most cells. A time of day says nothing about a price."""
    typed: Readings = {cell: cell.isoformat()[:10] for cell in present if isinstance(cell, date)}
    written = {
        cell: re.sub(r"[\s,/-]+", "-", _TIME_OF_DAY.sub("", str(cell).strip()))
        for cell in present
        if isinstance(cell, str | int) and not isinstance(cell, bool)
    }
    days = {cell: text for cell, text in written.items() if _DATE_LIKE.fullmatch(text) or _COMPACT_DATE.fullmatch(text)}
    ways: Iterable[Readings] = (
        {cell: day for cell, text in days.items() if (day := _day(text, form))} for form in _DATE_FORMATS
    )
    return typed | _fullest(ways, present)


def _each(cells: Iterable[Cell], read: Callable[[Cell], Value | None]) -> Readings:
    return {cell: value for cell in cells if (value := read(cell)) is not None}


def _fullest(ways: Iterable[Readings], present: Mapping[Cell, int]) -> Readings:
    """The way of reading that reads most cells of a column, the first of several."""
    best: Readings = {}
    most = 0
    for readings in ways:
        count = sum(present[cell] for cell in readings)
        if count > most:
            best, most = readings, count
        if len(best) == len(present):
            break
    return best


def _flag(cell: Cell) -> Value | None:
    """A boolean in any spelling: for a column that the user called one."""
    text = str(cell).strip().lower()
    return True if text in {"true", "yes", "y", "t", "1"} else False if text in {"false", "no", "n", "f", "0"} else None


def _digits(text: str, *, money: bool) -> str:
    """The digits of an amount. Money has no third decimal: 450.000 € are 450 thousand."""
    return text.replace(".", "") if money and _POINT_GROUPS.fullmatch(text) else text


def _number(text: str, form: re.Pattern[str], plain: Mapping[int, int | None]) -> Value | None:
    if not form.fullmatch(text):
        return None
    text = text.translate(plain)
    # int() refuses thousands of digits, float() makes infinity of them
    return int(text) if text.lstrip("+-").isdigit() and len(text) < 300 else float(text)


def _day(text: str, form: str) -> str | None:
    try:
        return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007  # a day has no zone
    except ValueError:
        return None
