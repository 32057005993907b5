"""The options of a training, and how each is read."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from operator import index
from typing import Any, TypeVar

from attrs import evolve, field, fields, frozen

from housepredict.domain.errors import InvalidOptions
from housepredict.domain.features import Kind
from housepredict.domain.validation import Rule, Violation, as_number, pointer_to, shown, tidy

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

MAX_SEED = 2**32 - 1
MAX_SECONDS = 10**9


def option(read: Callable[[Any], T], value: object) -> T:
    """Read a value. Returns the error of an invalid one, so that `require_valid` can report all together."""
    try:
        return read(value)
    except InvalidOptions as error:
        return error  # type: ignore[return-value]  # callers don't see it: require_valid raises
    except ValueError as error:
        return InvalidOptions([Violation("", Rule.TYPE, str(error), value)])  # type: ignore[return-value]


def require_valid(options: Mapping[str, object]) -> None:
    """Check options that were read by `option`. Raises InvalidOptions with every violation."""
    violations = [
        evolve(violation, pointer=pointer_to(name) + violation.pointer)
        for name, error in options.items()
        if isinstance(error, InvalidOptions)
        for violation in error.violations
    ]
    if violations:
        raise InvalidOptions(violations)


def choice(kind: type[E]) -> Callable[[object], E]:
    """A reader of members of an enumeration, or their values."""

    def read(value: object) -> E:
        if isinstance(value, str) and value in list(kind):
            return kind(value)
        names = ", ".join(kind)
        raise ValueError(f"must be one of {names}, not {shown(value)}{did_you_mean(str(value), list(kind))}")

    return read


def closest_name(name: str, names: Iterable[str]) -> str | None:
    """The closest of some names, whatever its case; None if none is close."""
    known = {each.lower(): each for each in names}
    close = get_close_matches(name.lower(), known, n=1)
    return known[close[0]] if close else None


def did_you_mean(name: str, names: Iterable[str], show: Callable[[str], str] = str) -> str:
    """The closest of some names, as `show` writes it, as the end of a message; nothing if none is close."""
    close = closest_name(name, names)
    return "" if close is None else f" (did you mean {show(close)}?)"


def column(value: object) -> str:
    """Read the name of a column, in its tidy form."""
    if not isinstance(value, str):
        raise ValueError(f"must name a column, not be {shown(value)}")
    name = tidy(value)
    if not name or "\0" in name:
        raise ValueError("must name a column")
    return name


def columns(value: object) -> tuple[str, ...]:
    """Read the names of several columns."""
    if isinstance(value, str):
        raise ValueError(f'must be a list of columns, such as ["{value}"], not text')
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list of columns, not {shown(value)}")
    return tuple(_each(enumerate(value), column).values())


def kinds(value: object) -> Mapping[str, Kind]:
    """Read the kinds of columns by their names."""
    if not isinstance(value, Mapping):
        raise ValueError(f'must be columns with their kinds, such as {{"zip": "category"}}, not {shown(value)}')
    read = _each(value.items(), choice(Kind))
    return {column(name): kind for name, kind in read.items()}


def _each(items: Iterable[tuple[Any, object]], read: Callable[[object], Any]) -> dict[Any, Any]:
    values, violations = {}, []
    for name, value in items:
        try:
            values[name] = read(value)
        except ValueError as error:
            violations.append(Violation(pointer_to(name), Rule.TYPE, str(error), value))
    if violations:
        raise InvalidOptions(violations)
    return values


def seed(value: object) -> int:
    """Read a seed."""
    try:
        number = -1 if isinstance(value, bool) else index(value)  # type: ignore[arg-type]  # what is no number raises
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise ValueError(f"must be a whole number from 0 to {MAX_SEED}")
    return number


def seconds(value: object) -> float:
    """Read a time limit, in seconds."""
    number = as_number(value)
    if number is None or not 0 < number <= MAX_SECONDS:
        raise ValueError(f"must be a number of seconds above 0, {MAX_SECONDS} at most")
    return float(number)


def encoding(value: object) -> str:
    """Read the name of an encoding of text."""
    try:
        name = codecs.lookup(value).name if isinstance(value, str) else ""
        "".encode(name)  # Python has codecs that aren't encodings of text
    except (LookupError, ValueError):
        raise ValueError("must be an encoding, such as utf-8, cp1252 or gb18030") from None
    return name


class Algorithm(StrEnum):
    """How a model is fitted: least squares on the price, ridge regression on its logarithm, or gradient-boosted trees
    on that or on the residuals of the ridge; `auto` is the best in cross-validation.
    """

    AUTO = "auto"
    LINEAR = "linear"
    RIDGE = "ridge"
    BOOSTING = "boosting"


class Effort(StrEnum):
    """How many fits a search for the best model may take."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


def _column(value: str | None) -> str | None:
    return None if value is None else option(column, value)


def _columns(value: Iterable[str]) -> tuple[str, ...]:
    return option(columns, value)


def _kinds(value: Mapping[str, Kind | str]) -> Mapping[str, Kind]:
    return option(kinds, value)


def _algorithm(value: Algorithm | str) -> Algorithm:
    return option(choice(Algorithm), value)


def _effort(value: Effort | str) -> Effort:
    return option(choice(Effort), value)


def _seed(value: int) -> int:
    return option(seed, value)


def _seconds(value: float | None) -> float | None:
    return None if value is None else option(seconds, value)


def _encoding(value: str | None) -> str | None:
    return None if value is None else option(encoding, value)


@frozen
class TrainingOptions:
    """The options of a training; everything else is inferred from the sales.

    `price`, `sale_date` and `house_id` name columns. `features` are the only columns used, and `exclude` is left out;
    `kinds` are the kinds of columns, `closed` the columns whose categories are complete, and `allow` columns that are
    used although they seem to leak the price. For synthetic sales `auto` is a linear model, which they follow.
    `time_limit` is that of the search, in seconds; if it ends one, the same options may make another model next time.
    `encoding` is Python's name of a text file's encoding; None detects it. Enumerations may be text.

    Raises:
        InvalidOptions: with every violation.
    """

    price: str | None = field(default=None, converter=_column)
    sale_date: str | None = field(default=None, converter=_column)
    house_id: str | None = field(default=None, converter=_column)
    features: tuple[str, ...] = field(default=(), converter=_columns)
    exclude: tuple[str, ...] = field(default=(), converter=_columns)
    kinds: Mapping[str, Kind] = field(factory=dict, converter=_kinds)
    closed: tuple[str, ...] = field(default=(), converter=_columns)
    allow: tuple[str, ...] = field(default=(), converter=_columns)
    algorithm: Algorithm = field(default=Algorithm.AUTO, converter=_algorithm)
    effort: Effort = field(default=Effort.NORMAL, converter=_effort)
    seed: int = field(default=42, converter=_seed)
    time_limit: float | None = field(default=None, converter=_seconds)
    encoding: str | None = field(default=None, converter=_encoding)

    def __attrs_post_init__(self) -> None:
        """Raise InvalidOptions with every violation."""
        require_valid({option.name: getattr(self, option.name) for option in fields(type(self))})
