"""What can be wrong with a value, and the one list that every entrypoint reports it in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, assert_never

from attrs import frozen

if TYPE_CHECKING:
    from housepredict.domain.features import Feature

MAX_MAGNITUDE = 1e15
"""The largest absolute value of a number: below it whole numbers and their JSON are exact in every store."""

MAX_TEXT = 200
"""The longest text, in characters."""

_SHOWN = 60  # characters of a value in a message


class Kind(StrEnum):
    """What a feature's values are. (A boolean is neither a number nor a category: in JSON it is true or false.)"""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"


class Rule(StrEnum):
    """Why a value was refused."""

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
    """One broken rule.

    `pointer` is the JSON pointer (RFC 6901) of the value in what was given, `""` being the whole; `value` is
    what stood there, or None where nothing did.
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
    """A value of a program as JSON has it: NumPy's scalars and decimals are Python's, and NaN, NaT and NA are None.

    Other values, such as a list, are returned unchanged.
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
            return math.inf  # refused, whatever its sign
    return value


def plain_values(given: object) -> object:
    """A mapping of names to plain values; what is no mapping stays as it is."""
    return {name: plain(value) for name, value in given.items()} if isinstance(given, Mapping) else given


def as_number(value: object) -> float | None:
    """The number that a value is; None if it is none."""
    number = plain(value)
    return None if isinstance(number, bool) or not isinstance(number, Real) else float(number)


def shown(value: object) -> str:
    """A value in a message: its beginning, if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def iso_day(value: date) -> str:
    """A date without its time, YYYY-MM-DD."""
    return (value.date() if isinstance(value, datetime) else value).isoformat()


def check_value(feature: Feature, value: object) -> tuple[Rule, str] | None:
    """The rule that a present value breaks for a feature, with its message; None if it is fine."""
    match feature.kind:
        case Kind.NUMBER | Kind.INTEGER:
            return _number(feature, value)
        case Kind.BOOLEAN:
            return _boolean(value)
        case Kind.CATEGORY:
            return _category(feature, value)
        case Kind.DATE:
            return _date(value)
        case _:
            assert_never(feature.kind)


def plain_check(feature: Feature) -> Callable[[object], bool]:
    """A quick test that most values pass: they break no rule, and are kept as they are.

    Of one that fails it nothing is known; see check_value.
    """
    low = -MAX_MAGNITUDE if feature.minimum is None else max(feature.minimum, -MAX_MAGNITUDE)
    high = MAX_MAGNITUDE if feature.maximum is None else min(feature.maximum, MAX_MAGNITUDE)
    match feature.kind:
        case Kind.NUMBER:
            return lambda value: (type(value) is int or type(value) is float) and low <= value <= high
        case Kind.INTEGER:
            return lambda value: type(value) is int and low <= value <= high
        case Kind.BOOLEAN:
            return lambda value: value is True or value is False
        case Kind.CATEGORY:
            known = feature.known_categories
            return lambda value: type(value) is str and value in known
        case Kind.DATE:
            return lambda value: type(value) is str and _date(value) is None
        case _:
            assert_never(feature.kind)


def _number(feature: Feature, value: object) -> tuple[Rule, str] | None:
    if isinstance(value, bool) or not isinstance(value, Real):
        return Rule.TYPE, f"must be a number, not {_type_name(value)}"
    # an int may be too large for a float: it is compared as it is
    number = int(value) if isinstance(value, Integral) else float(value)
    if isinstance(number, float) and not math.isfinite(number):
        return Rule.FINITE, "must be a finite number"
    if abs(number) > MAX_MAGNITUDE:
        return Rule.BOUNDS, f"must lie between -{MAX_MAGNITUDE:.0e} and {MAX_MAGNITUDE:.0e}"
    if feature.minimum is not None and number < feature.minimum:
        return Rule.BOUNDS, f"must be at least {feature.minimum:g}"
    if feature.maximum is not None and number > feature.maximum:
        return Rule.BOUNDS, f"must be at most {feature.maximum:g}"
    if feature.kind is Kind.INTEGER and number % 1:
        return Rule.TYPE, "must be a whole number"
    return None


def _boolean(value: object) -> tuple[Rule, str] | None:
    return None if isinstance(value, bool) else (Rule.TYPE, f"must be true or false, not {_type_name(value)}")


def _category(feature: Feature, value: object) -> tuple[Rule, str] | None:
    # a code such as a zip code is a number wherever the sales came from, and text to the model
    code = whole_number(value)
    if code is not None:
        if abs(code) > MAX_MAGNITUDE:
            return Rule.BOUNDS, f"must be text, or a whole number up to {MAX_MAGNITUDE:.0e}"
        value = str(code)
    elif isinstance(value, date):
        value = iso_day(value)
    if not isinstance(value, str):
        return Rule.TYPE, f"must be text or a whole number, not {_type_name(value)}"
    if value in feature.known_categories:
        return None
    broken = text_problem(value)
    if broken:
        return Rule.TEXT, broken
    if feature.closed:
        return Rule.CATEGORY, f"must be one of {', '.join(feature.categories)}"
    return None


def whole_number(value: object) -> int | None:
    """The whole number that a value is, however it is written: JSON's 98178.0 is its 98178. None if it is none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return int(number) if number.is_integer() else None


def text_problem(text: str) -> str | None:
    """Why a text is none that every store can keep; None if it is one."""
    if len(text) > MAX_TEXT:
        return f"must have at most {MAX_TEXT} characters"
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        return "must be text without NUL characters or lone surrogates"
    return None


def _date(value: object) -> tuple[Rule, str] | None:
    if isinstance(value, date):
        # pandas' NaT is a date to Python, and unequal to itself
        return None if value == value else (Rule.DATE, "must be a date")
    if not isinstance(value, str):
        return Rule.TYPE, f"must be a date as text, YYYY-MM-DD, not {_type_name(value)}"
    try:
        # fromisoformat alone also reads 20150527 and 2015-W22-3; one spelling keeps what is stored comparable
        canonical = date.fromisoformat(value).isoformat() == value
    except ValueError:
        canonical = False
    return None if canonical else (Rule.DATE, "must be a date of the calendar, YYYY-MM-DD")


def _type_name(value: object) -> str:
    """The JSON name of a value's type, or Python's where JSON has none."""
    if value is None:
        return "null"
    for kind, name in ((bool, "a boolean"), (str, "text"), (Real, "a number"), (dict, "an object"), (list, "a list")):
        if isinstance(value, kind):
            return name
    return type(value).__name__
