"""Inference of column kinds, and parsing of cells in sales files."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property, partial
from typing import assert_never

from attrs import field, frozen

from housepredict.domain.features import MAX_MAGNITUDE, Kind, Value, text_problem
from housepredict.domain.sales import Cell

LAST_YEAR = 2068
"""Default for the last of the 100 years that two-digit years stand for. As in POSIX, 69 is 1969, and 68 is 2068."""

_Readings = dict[Cell, Value]

Way = Callable[[Cell], Value | None]
"""A picklable function that parses a non-missing cell. It returns None if the cell is unreadable."""

_Format = Callable[[str], Value | None]

_MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "nil", "?", "-", "."})

_CURRENCY = r"(?:[A-Z]{0,3}[$£€¥₹]|USD|EUR|GBP|CHF|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|JPY|CNY|INR|SGD|HKD|ZAR|BRL|MXN)"
_AMOUNT = re.compile(rf"({_CURRENCY}?)\s*([-+]?[\d.](?:.*[\d.])?)\s*({_CURRENCY}?)", re.ASCII)
_SPACES = "' \u2019\u00a0\u2007\u2009\u202f"  # apostrophes, and spaces of several widths
# For each of the formats 450,000.50 and 450.000,50: a pattern, and the translation to Python's number format. India
# groups the digits before the last three in pairs: 71,78,000.
_NUMBER_FORMATS = tuple(
    (
        re.compile(
            rf"[-+]?((\d+|\d{{1,3}}([{group}]\d{{3}})+|\d{{1,2}}([{group}]\d\d)+[{group}]\d{{3}})([{point}]\d*)?|[{point}]\d+)"
            r"([eE][-+]?\d+)?",
            re.ASCII,
        ),
        str.maketrans(point, ".", group),
    )
    for point, group in ((".", "," + _SPACES), (",", "." + _SPACES))
)
# Numbers as written by programs. Three decimals don't match, because the point may separate thousands.
_PLAIN_NUMBER = re.compile(r"[-+]?\d+(\.(\d{1,2}|\d{4,}))?", re.ASCII)
_ONE_GROUP = re.compile(r"[-+]?[1-9]\d{0,2}([.,]\d{3})", re.ASCII)
_POINT_GROUPS = re.compile(r"\d{1,3}(\.\d{3})+", re.ASCII)
_WHOLE = re.compile(r"(-?\d+)(?:\.0+)?", re.ASCII)

_COMPACT_DATE = re.compile(r"(19|20)\d{6}", re.ASCII)
_DATE_LIKE = re.compile(r"(\d{1,4}[-.](\d{1,2}|[A-Za-z]{3,9})|[A-Za-z]{3,9}-\d{1,2})[-.]\d{1,4}", re.ASCII)
_MAX_DATE_CHARS = 100  # Includes time and zone. Searching longer texts for a time would take too long.
_TIME_OF_DAY = re.compile(r"(T\d\d|\s+\d{1,2}:\d\d).*$", re.ASCII)
# If several formats can read the same number of cells, the first one is used. As in the United States, formats with the
# month first precede formats with the day first.
_DATE_FORMATS = ("%Y-%m-%d", "%Y%m%d", "%m-%d-%Y", "%d-%m-%Y", "%d.%m.%Y", "%Y.%m.%d", "%m-%d-%y", "%d-%m-%y",
                 "%d.%m.%y", "%d-%b-%Y", "%d-%b-%y", "%d-%B-%Y", "%b-%d-%Y", "%B-%d-%Y")  # fmt: skip
_ISO, _ISO_LENGTH = _DATE_FORMATS[0], 10
_PART_SHAPES = {"%Y": r"\d{4}", "%y": r"\d\d", "%m": r"\d\d?", "%d": r"\d\d?", "%b": "[A-Za-z]+", "%B": "[A-Za-z]+"}
# These patterns reject most texts that a format can't read. This is ten times faster than calling strptime.
_DATE_SHAPES = {
    form: re.compile(re.sub("%.", lambda part: _PART_SHAPES[part[0]], form.replace(".", "[.]")), re.ASCII)
    for form in _DATE_FORMATS
}


def is_missing(cell: Cell) -> bool:
    """Return whether a cell is empty or contains a missing-value marker such as `n/a`."""
    # NaN is the only value that is not equal to itself.
    return cell is None or cell != cell or (isinstance(cell, str) and cell.strip().lower() in _MISSING)


def count_present(cells: Iterable[Cell]) -> Mapping[Cell, int]:
    """Return how often each non-missing cell value occurs."""
    return {cell: count for cell, count in Counter(cells).items() if not is_missing(cell)}


def cell_reader(kind: Kind, present: Mapping[Cell, int], last_year: int = LAST_YEAR) -> Way:
    """Return a function that parses a column's cells as values of a given kind.

    Args:
        kind: the kind of the values.
        present: the column's cells with their counts (see count_present), used to detect the format. The returned
            function can also parse other cells.
        last_year: the last of the 100 years that two-digit years stand for.
    """
    match kind:
        case Kind.DATE:
            return _dates(present, last_year)
        case Kind.BOOLEAN:
            return _flag
        case Kind.CATEGORY:
            return _texts(present)
        case Kind.INTEGER:
            return partial(_read_whole, number=_numbers(present))
        case Kind.NUMBER:
            return _numbers(present)
        case _:
            assert_never(kind)


def value_reader(
    kind: Kind, present: Mapping[Cell, int], last_year: int = LAST_YEAR, *, money: bool = False
) -> Callable[[Cell], object]:
    """Return a function that parses a column's cells for later validation.

    The function returns None for missing cells, and returns unreadable cells unchanged, so that validation can report
    them. Ambiguous dates such as 03/04/2015 are unreadable unless other cells determine the format. Numbers of any size
    are parsed, and integer columns may contain decimals, because validation checks both.

    Args:
        kind: the kind of the values.
        present: the column's cells with their counts (see count_present), used to detect the format.
        last_year: the last of the 100 years that two-digit years stand for.
        money: whether the numbers are prices. If so, 450.000 is read as 450 thousand unless most cells use another
            format, because prices never have three decimals.
    """
    if kind is Kind.DATE:
        read = _dates(present, last_year, certain=True)
    elif kind is Kind.NUMBER or kind is Kind.INTEGER:
        read = _numbers(present, money=money, largest=math.inf)
    else:
        read = cell_reader(kind, present)

    def value(cell: Cell) -> object:
        if is_missing(cell):
            return None
        value = read(cell)
        if kind is Kind.INTEGER and isinstance(value, float) and value.is_integer():
            return int(value)
        return cell if value is None else value

    return value


def two_digit_years(present: Mapping[Cell, int]) -> frozenset[int]:
    """Return the distinct two-digit years in a date column, or an empty set if its years have four digits."""
    counts = _counts(_date_text, present)
    formats = dict(zip(_day_formats(LAST_YEAR), _DATE_FORMATS, strict=True))
    best = _best_format(list(formats), counts)
    if not formats[best].endswith("%y"):
        return frozenset()
    return frozenset(int(text[-2:]) for text in counts if best(text) is not None)


def _numbers(present: Mapping[Cell, int], *, money: bool = False, largest: float = MAX_MAGNITUDE) -> Way:
    """Return a function that parses numbers in the most common currency and format. Whole numbers become ints.

    Args:
        present: the column's cells with their counts, used to detect the currency and format.
        money: whether the numbers are prices (see value_reader).
        largest: the largest absolute value to parse. Numbers with a larger one are treated as unreadable.
    """
    formats = [partial(_number, form=form, plain=plain) for form, plain in _NUMBER_FORMATS]
    if all(not isinstance(cell, str) or _PLAIN_NUMBER.fullmatch(cell) for cell in present):
        return partial(_read_number, accepted=("",), form=formats[0], largest=largest)
    currencies: Counter[str] = Counter()
    for cell, count in present.items():
        if amount := _amount(cell):
            currencies[amount[0]] += count
    del currencies[""]
    accepted = ["", *dict(currencies.most_common(1))]

    def text_of(cell: Cell) -> str | None:
        text = _number_text(cell, accepted)
        group = _ONE_GROUP.fullmatch(text) if text and (money or currencies) else None
        # Prices don't have three decimals, so the point in 450.000 separates thousands. It is doubled to 450.000.000,
        # which can't be read in any other way.
        return f"{text}{group[1]}" if group else text

    return partial(
        _read_number, accepted=accepted, form=_best_format(formats, _counts(text_of, present)), largest=largest
    )


def _read_number(cell: Cell, *, accepted: Sequence[str], form: _Format, largest: float) -> Value | None:
    if isinstance(cell, str):
        value = form(text) if (text := _number_text(cell, accepted)) is not None else None
    else:
        value = None if isinstance(cell, bool | date) else cell
    return value if isinstance(value, int | float) and abs(float(value)) <= largest else None


def _read_whole(cell: Cell, *, number: Way) -> Value | None:
    value = number(cell)
    return int(value) if value is not None and float(value).is_integer() else None


def _number_text(cell: Cell, accepted: Sequence[str]) -> str | None:
    amount = _amount(cell)
    if amount is None or amount[0] not in accepted:
        return None
    currency, digits = amount
    # Prices don't have three decimals, so 450.000 € is 450 thousand.
    return digits.replace(".", "") if currency and _POINT_GROUPS.fullmatch(digits) else digits


def _texts(present: Mapping[Cell, int]) -> Way:
    """Return a function that parses text. If the column has only whole numbers (codes), 98178.0 becomes "98178"."""
    return partial(_read_text, are_codes=all(_WHOLE.fullmatch(_text(cell)) for cell in present))


def _read_text(cell: Cell, *, are_codes: bool) -> Value | None:
    text = _text(cell)
    code = _WHOLE.fullmatch(text) if are_codes else None
    return text if text_problem(text := code[1] if code else text) is None else None


def _text(cell: Cell) -> str:
    return cell.isoformat() if isinstance(cell, date) else str(cell).strip()


def _dates(present: Mapping[Cell, int], last_year: int, *, certain: bool = False) -> Way:
    """Return a function that parses dates, in the format that can read the most cells. The time of day is ignored.

    The function returns dates as YYYY-MM-DD.

    Args:
        present: the column's cells with their counts, used to detect the format.
        last_year: the last of the 100 years that two-digit years stand for.
        certain: whether to treat all text as unreadable if the best format is ambiguous: several formats can read the
            same, highest number of cells, but read a cell as different dates.
    """
    counts, formats = _counts(_date_text, present), _day_formats(last_year)
    best = _best_format(formats, counts)
    if certain:
        most = _readable_count(best, counts)
        rivals = [form for form in formats if _readable_count(form, counts, most) == most]
        if any(len({form(text) for form in rivals} - {None}) > 1 for text in counts):
            best = _no_day
    return partial(_read_date, form=best)


def _read_date(cell: Cell, *, form: _Format) -> Value | None:
    if isinstance(cell, date):
        return cell.isoformat()[:10]
    return form(text) if (text := _date_text(cell)) is not None else None


def _date_text(cell: Cell) -> str | None:
    raw = str(cell).strip() if isinstance(cell, str | int) and not isinstance(cell, bool) else ""
    if len(raw) > _MAX_DATE_CHARS:
        return None
    text = re.sub(r"[\s,/-]+", "-", _TIME_OF_DAY.sub("", raw))
    return text if _DATE_LIKE.fullmatch(text) or _COMPACT_DATE.fullmatch(text) else None


def _read_as(kind: Kind, present: Mapping[Cell, int], last_year: int = LAST_YEAR) -> _Readings:
    return _read_all(present, cell_reader(kind, present, last_year))


def _read_all(cells: Iterable[Cell], read: Way) -> _Readings:
    return {cell: value for cell in cells if (value := read(cell)) is not None}


def _counts(text_of: Callable[[Cell], str | None], present: Mapping[Cell, int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for cell, count in present.items():
        if (text := text_of(cell)) is not None:
            counts[text] += count
    return counts


def _best_format(forms: Sequence[_Format], counts: Counter[str]) -> _Format:
    """Return the format that can read the most cells of a column. If formats tie, the first one is returned."""
    best, most = forms[0], 0
    for form in forms:
        count = _readable_count(form, counts, most)
        if count > most:
            best, most = form, count
        if most == counts.total():
            break
    return best


def _readable_count(form: _Format, counts: Counter[str], least: int = 0) -> int:
    """Count the cells that a format can read.

    For speed, counting stops once the result is certain to be below `least`. The returned number is then also below
    `least`, but not exact.
    """
    count = counts.total()
    for text, cells in counts.items():
        if form(text) is None:
            count -= cells
            if count < least:
                return count
    return count


def _amount(cell: Cell) -> tuple[str, str] | None:
    """Split an amount into its currency (may be empty) and its number. Returns None if the cell isn't an amount."""
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if "0" <= text[:1] <= "9" and "0" <= text[-1:] <= "9":  # The most common case: no currency.
        return "", text
    amount = _AMOUNT.fullmatch(text)
    return (amount[1] or amount[3], amount[2]) if amount else None


def _flag(cell: Cell) -> Value | None:
    """Parse a boolean in any common spelling. This is used only for columns that the user declared as boolean."""
    text = str(cell).strip().lower()
    return True if text in {"true", "yes", "y", "t", "1"} else False if text in {"false", "no", "n", "f", "0"} else None


def _number(text: str, form: re.Pattern[str], plain: Mapping[int, int | None]) -> Value | None:
    if not form.fullmatch(text):
        return None
    text = text.translate(plain)
    # With thousands of digits, int() raises an error, but float() returns infinity.
    return int(text) if text.lstrip("+-").isdigit() and len(text) < 300 else float(text)


def _day(text: str, form: str, last_year: int) -> str | None:
    if not _DATE_SHAPES[form].fullmatch(text):
        return None
    try:
        if form == _ISO and len(text) == _ISO_LENGTH:
            return date.fromisoformat(text).isoformat()
        day = datetime.strptime(text, form).date()  # noqa: DTZ007  # A date has no time zone.
        if form.endswith("%y"):
            day = day.replace(year=last_year - (last_year - day.year) % 100)
    except ValueError:
        return None
    return day.isoformat()


def _no_day(_text: str) -> None:
    """Return None for any text. This function is used in place of a date format if the format is ambiguous."""


def _day_formats(last_year: int) -> Sequence[_Format]:
    return [partial(_day, form=form, last_year=last_year) for form in _DATE_FORMATS]


READABLE_SHARE = 0.95
"""Minimum share of a column's cells that must parse as a kind for the column to get that kind.

The other cells count as unreadable.
"""

MEASURE = re.compile(r"sq|area|size|lot|bed|bath|room|floor|stor(e?)y|garage|parking|\bage\b|fireplace|year|yr")
"""Pattern for column names that indicate a measurement or a count, such as `living area` or `bedrooms`."""

_CODE = re.compile(r"0\d+", re.ASCII)
_DATE_NAME = re.compile(r"date|day|sold|_dt$", re.IGNORECASE)
_YEAR_NAME = re.compile(r"year|yr|built$", re.IGNORECASE)
_MAX_COUNTS = 50
"""Maximum number of distinct values for a column of whole numbers to be treated as counts, such as numbers of bedrooms.

With more distinct values, it is treated as measurements that may have decimals, unless its name indicates years.
"""


@frozen(slots=False)
class Column:
    """A column whose cells were parsed as a kind.

    Attributes:
        name: the column name.
        kind: the kind of the values.
        why: the reason for the kind, for display.
        unreadable: the number of cells that can't be parsed as this kind.
        values: the value in each row, or None if the cell is missing or unreadable.
        distinct: the distinct values, with the number of rows for each.
    """

    name: str
    kind: Kind
    why: str
    unreadable: int
    values: Sequence[Value | None] = field(repr=False)
    distinct: Mapping[Value, int] = field(repr=False)

    @property
    def present(self) -> int:
        """The number of rows with a value."""
        return sum(self.distinct.values())

    @cached_property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers, including those written with zero decimals, such as 98178.0."""
        numeric = self.kind in (Kind.NUMBER, Kind.INTEGER)
        return numeric and all(float(value).is_integer() for value in self.distinct)

    @property
    def is_row_number(self) -> bool:
        """Whether the values are consecutive row numbers.

        Rows without a value are ignored, because recorded sales that were added to the file have no row number.
        """
        first = next(iter(self.values), None)
        return type(first) is int and all(
            value is None or value == number for number, value in enumerate(self.values, first)
        )


def normalize_name(name: str) -> str:
    """Normalize a column name. For example, YearBuilt, year_built and Year Built all become `year built`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\W]+", " ", name).lower().strip()


def read_column(name: str, cells: Sequence[Cell], kind: Kind | None = None, last_year: int = LAST_YEAR) -> Column:
    """Parse a column.

    Args:
        name: the column name.
        cells: the cells.
        kind: the kind to parse the cells as. By default, it is inferred from the name and the cells.
        last_year: the last of the 100 years that two-digit years stand for.
    """
    present = count_present(cells)
    if kind is not None:
        return _column(name, kind, "as requested", cells, present, _read_as(kind, present, last_year))
    kind, readings, why = _infer_kind(name, present, last_year)
    return _column(name, kind, why, cells, present, readings)


def read_prices(name: str, cells: Sequence[Cell]) -> Column:
    """Parse a price column. Prices may have a currency and never have three decimals (450.000 is 450 thousand)."""
    present = count_present(cells)
    return _column(name, Kind.NUMBER, "prices", cells, present, _read_all(present, _numbers(present, money=True)))


def _column(
    name: str, kind: Kind, why: str, cells: Sequence[Cell], present: Mapping[Cell, int], readings: _Readings
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


def _infer_kind(name: str, present: Mapping[Cell, int], last_year: int) -> tuple[Kind, _Readings, str]:
    total = sum(present.values())

    def mostly(readings: _Readings) -> bool:
        return total > 0 and sum(present[cell] for cell in readings) >= READABLE_SHARE * total

    flags = _read_all(present, lambda cell: {"true": True, "false": False}.get(str(cell).strip().lower()))
    if len(flags) == len(present) > 0:
        return Kind.BOOLEAN, flags, "true or false"
    # Check the name first, because a date such as 20141013 can also be read as a number.
    if _DATE_NAME.search(name) and mostly(days := _read_as(Kind.DATE, present, last_year)):
        return Kind.DATE, days, "dates"
    amounts = _read_as(Kind.NUMBER, present)
    if mostly(amounts):
        if any(isinstance(cell, str) and _CODE.fullmatch(cell) for cell in present):
            return Kind.CATEGORY, _read_as(Kind.CATEGORY, present), "codes (numbers with leading zeros)"
        if all(type(value) is int for value in amounts.values()) and (
            len(amounts) <= _MAX_COUNTS or _YEAR_NAME.search(name)
        ):
            return Kind.INTEGER, amounts, "whole numbers"
        # Not INTEGER: areas, for example, are often rounded to whole numbers, but 1982.5 must also be valid.
        return Kind.NUMBER, amounts, "numbers"
    if mostly(days := _read_as(Kind.DATE, present, last_year)):
        return Kind.DATE, days, "dates"
    return Kind.CATEGORY, _read_as(Kind.CATEGORY, present), "text"
