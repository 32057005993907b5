"""Violations of validation rules, conversion of values to built-in types, and helpers for error messages."""

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
# str.strip() alone does not remove invisible characters.
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + _INVISIBLE


def tidy(text: str) -> str:
    """Strip whitespace and invisible characters from both ends of a text, and convert it to Unicode form NFC."""
    if text.isascii():
        return text.strip()
    return normalize("NFC", text.strip(_BLANKS))


_MAX_SHOWN_CHARS = 60


class Rule(StrEnum):
    """A validation rule. The names are stable, so programs can rely on them."""

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
    """The violation of a validation rule by an input value.

    Attributes:
        pointer: the JSON pointer (RFC 6901) to the value in the input. `""` refers to the whole input.
        rule: the violated rule.
        message: the error message without the field name, such as "must be a number, not text".
        value: the invalid value, or None if it is missing.
    """

    pointer: str
    rule: Rule
    message: str
    value: object = None

    def describe(self) -> str:
        """Describe the violation in one line that starts with the field, such as `[3].size: required`."""
        if not self.pointer.startswith("/"):
            return f"{self.pointer}: {self.message}" if self.pointer else self.message
        steps = [step.replace("~1", "/").replace("~0", "~") for step in self.pointer[1:].split("/")]
        path = "".join(f"[{step}]" if step.isdecimal() else "." + (step or '""') for step in steps)
        return f"{path.removeprefix('.')}: {self.message}"


def pointer_to(*path: str | int) -> str:
    """Return the JSON pointer (RFC 6901) for a path of names and list positions: `/3/size` for 3 and "size"."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def plain(value: object) -> object:
    """Convert a value to a built-in Python type.

    NumPy scalars and decimals become their Python equivalents, and NaN, NaT and NA become None. Other values, such as
    lists, are returned unchanged.
    """
    kind = type(value)
    if kind is float:
        return None if value != value else value
    if kind is int or kind is str or kind is bool or value is None:
        return value
    scalar: Any = value
    if getattr(value, "shape", None) == ():
        # item() would convert a time in nanoseconds, which pandas uses, to an integer.
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
            return math.inf  # The sign doesn't matter, since infinity is always invalid.
    return value


def plain_values(house: object) -> object:
    """Convert the values of a mapping to built-in types (see `plain`). A house that isn't a mapping is unchanged."""
    return {name: plain(value) for name, value in house.items()} if isinstance(house, Mapping) else house


def as_number(value: object) -> float | None:
    """Convert a number to a float. Returns None for any other value, including booleans."""
    number = plain(value)
    return None if isinstance(number, bool) or not isinstance(number, Real) else float(number)


def shown(value: object) -> str:
    """Format a value for a message. Texts of more than 60 characters are truncated."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}…"


def closest_name(name: str, names: Iterable[str]) -> str | None:
    """Return the name in `names` that is most similar to `name`, or None if there is no similar name. Ignores case."""
    known = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name[:_MAX_SHOWN_CHARS].lower(), known, n=1)
    return known[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str], show: Callable[[str], str] = str) -> str:
    """Return a hint to append to a message, such as " (did you mean `price`?)".

    Args:
        name: the unknown name.
        names: the known names.
        show: a function that formats the suggested name.

    Returns:
        The hint, or "" if no known name is similar.
    """
    close = closest_name(name, names)
    return "" if close is None else f" (did you mean `{show(close)}`?)"


def iso_day(value: date) -> str:
    """Format a date or datetime as YYYY-MM-DD."""
    return (value.date() if isinstance(value, datetime) else value).isoformat()


def counted(count: int, noun: str) -> str:
    """Format a count with a noun, such as `1 sale` or `1,910 sales`.

    Args:
        count: the count.
        noun: the noun in the singular. Its plural must end in an additional "s".
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def describe_rejected(rejected: Mapping[str, int]) -> str:
    """Return a text to append to a message, such as "; 2 rows rejected: size: missing", or "" without rejected rows.

    Args:
        rejected: the number of rejected rows, by reason.
    """
    return "".join(f"; {counted(count, 'row')} rejected: {reason}" for reason, count in rejected.items())
