"""Violations of the rules for input values, and the conversion of values to JSON types."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from numbers import Integral, Real
from typing import Any
from unicodedata import normalize

from attrs import frozen

_INVISIBLE = "\u200b\u2060\ufeff"
# str.strip() alone leaves invisible characters.
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + _INVISIBLE


def tidy(text: str) -> str:
    """Normalize text: Unicode's composed form (NFC), without leading or trailing blanks and invisible characters."""
    if text.isascii():
        return text.strip()
    return normalize("NFC", text.strip(_BLANKS))


_MAX_SHOWN_CHARS = 60


class Rule(StrEnum):
    """The rule that a value violates; a stable name for programs."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    DUPLICATE = "duplicate"
    TYPE = "type"
    FINITE = "finite"
    BOUNDS = "bounds"
    CATEGORY = "category"
    DATE = "date"
    TEXT = "text"
    EMPTY = "empty"
    LIMIT = "limit"
    EXTRAPOLATION = "extrapolation"


@frozen
class Violation:
    """An invalid or missing value of the input, and what is wrong with it.

    `pointer` is the JSON pointer (RFC 6901) of the value in the input, `""` for the input as a whole. The message does
    not name the field: "must be a number, not text".
    """

    pointer: str
    rule: Rule
    message: str
    value: object = None

    def describe(self) -> str:
        """Describe the violation in one line, field first: `size: required`, or `[3].size: required` in a batch."""
        if not self.pointer.startswith("/"):
            return f"{self.pointer}: {self.message}" if self.pointer else self.message
        steps = [step.replace("~1", "/").replace("~0", "~") for step in self.pointer[1:].split("/")]
        path = "".join(f"[{step}]" if step.isdecimal() else "." + (step or '""') for step in steps)
        return f"{path.removeprefix('.')}: {self.message}"


def pointer_to(*path: str | int) -> str:
    """Return the JSON pointer (RFC 6901) for a path of names and positions."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def plain(value: object) -> object:
    """Convert a value to a type of JSON: NumPy scalars and decimals to Python's types, and NaN, NaT and NA to None.

    Other values, such as lists, are returned unchanged.
    """
    kind = type(value)
    if kind is float:
        return None if value != value else value
    if kind is int or kind is str or kind is bool or value is None:
        return value
    scalar: Any = value
    if getattr(value, "shape", None) == ():
        # item() turns nanoseconds, which pandas uses, into an integer.
        is_time = getattr(scalar.dtype, "kind", None) == "M"
        value = (scalar.astype("datetime64[us]") if is_time else scalar).item()
    if type(value).__name__ == "NAType" or (isinstance(value, Decimal) and value.is_nan()):
        return None
    if isinstance(value, Real | date) and value != value:
        return None
    if isinstance(value, Real | Decimal) and not isinstance(value, Integral | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf  # Its sign doesn't matter: infinity is invalid either way.
    return value


def plain_values(house: object) -> object:
    """Convert the values of a mapping with `plain`; return anything else unchanged."""
    return {name: plain(value) for name, value in house.items()} if isinstance(house, Mapping) else house


def as_number(value: object) -> float | None:
    """Convert a value to a float; None if it isn't a number."""
    number = plain(value)
    return None if isinstance(number, bool) or not isinstance(number, Real) else float(number)


def shown(value: object) -> str:
    """Format a value for a message, cut off after 60 characters."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…"


def closest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most similar, ignoring case; None if none is similar."""
    known = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name[:_MAX_SHOWN_CHARS].lower(), known, n=1)
    return known[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str], show: Callable[[str], str] = str) -> str:
    """Suggest the most similar name, as the end of a message: " (did you mean `price`?)", or "" if none is similar."""
    close = closest_name(name, names)
    return "" if close is None else f" (did you mean `{show(close)}`?)"


def iso_day(value: date) -> str:
    """Format a date, or the date of a datetime, as YYYY-MM-DD."""
    return (value.date() if isinstance(value, datetime) else value).isoformat()


def counted(count: int, noun: str) -> str:
    """Format a count with its noun: `1 sale`, `1,910 sales`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def describe_rejected(rejected: Mapping[str, int]) -> str:
    """Describe the number of rejected rows by reason, as the end of a message: `; 2 rows rejected: size: missing`."""
    return "".join(f"; {counted(count, 'row')} rejected: {reason}" for reason, count in rejected.items())
