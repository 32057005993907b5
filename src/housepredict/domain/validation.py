"""Violations of rules, and values as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from numbers import Integral, Real
from typing import Any
from unicodedata import normalize

from attrs import frozen

_INVISIBLE = "\u200b\u2060\ufeff"
# what str.strip removes, and invisible characters that aren't blanks to Python
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + _INVISIBLE


def tidy(text: str) -> str:
    """Return text in Unicode's composed form (NFC), without blanks and invisible characters around it."""
    if text.isascii():
        return text.strip()
    return normalize("NFC", text.strip(_BLANKS))


_SHOWN = 60  # characters of a value in a message


class Rule(StrEnum):
    """The rule that a value breaks."""

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
    """A broken rule. `pointer` is the JSON pointer (RFC 6901) of the `value` in the input, `""` for the whole; missing
    values are None.
    """

    pointer: str
    rule: Rule
    message: str
    value: object = None

    def describe(self) -> str:
        """One line for a person."""
        return f"{self.pointer}: {self.message}" if self.pointer else self.message


def pointer_to(*path: str | int) -> str:
    """The JSON pointer (RFC 6901) of a path of names and positions."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def plain(value: object) -> object:
    """A value as JSON has it: NumPy's scalars and decimals are Python's, and NaN, NaT and NA are None; others, such as
    lists, are returned unchanged.
    """
    kind = type(value)
    if kind is float:
        return None if value != value else value
    if kind is int or kind is str or kind is bool or value is None:
        return value
    scalar: Any = value
    if getattr(value, "shape", None) == ():
        # nanoseconds, as pandas has them, would become a number
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
            return math.inf  # invalid, whatever its sign
    return value


def plain_values(given: object) -> object:
    """A mapping with plain values; anything else unchanged."""
    return {name: plain(value) for name, value in given.items()} if isinstance(given, Mapping) else given


def as_number(value: object) -> float | None:
    """A value as a number; None if it isn't one."""
    number = plain(value)
    return None if isinstance(number, bool) or not isinstance(number, Real) else float(number)


def shown(value: object) -> str:
    """A value for a message, cut off if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def iso_day(value: date) -> str:
    """A date without its time, YYYY-MM-DD."""
    return (value.date() if isinstance(value, datetime) else value).isoformat()
