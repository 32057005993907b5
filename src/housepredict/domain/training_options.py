"""Training options, and the functions that parse them."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from operator import index
from typing import Any, TypeVar

from attrs import evolve, field, fields, frozen

from housepredict.domain.errors import InvalidOptions
from housepredict.domain.features import Kind
from housepredict.domain.validation import Rule, Violation, as_number, did_you_mean, pointer_to, shown, tidy

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

MAX_SEED = 2**32 - 1
MAX_SECONDS = 10**9


def option(read: Callable[[Any], T], value: object) -> T:
    """Parse a value with the function `read`. If the value is invalid, return the error instead of raising it.

    Later, `require_valid` collects these errors and reports the errors of all options at once.
    """
    try:
        return read(value)
    except InvalidOptions as error:
        return error  # type: ignore[return-value]  # require_valid raises it before anyone reads the field.
    except ValueError as error:
        return InvalidOptions([Violation("", Rule.TYPE, str(error), value)])  # type: ignore[return-value]


def require_valid(options: Mapping[str, object]) -> None:
    """Check that all options are valid.

    Args:
        options: the results of `option`, by option name.

    Raises:
        InvalidOptions: if any of the results is an error. It contains the violations of all options.
    """
    violations = [
        evolve(violation, pointer=pointer_to(name) + violation.pointer)
        for name, error in options.items()
        if isinstance(error, InvalidOptions)
        for violation in error.violations
    ]
    if violations:
        raise InvalidOptions(violations)


def choice(kind: type[E]) -> Callable[[object], E]:
    """Return a function that converts a member of an enumeration, or a member's value, to the member.

    The function raises ValueError for other values.
    """

    def read(value: object) -> E:
        if isinstance(value, str) and value in list(kind):
            return kind(value)
        names = ", ".join(kind)
        raise ValueError(f"must be one of {names}, not {shown(value)}{did_you_mean(str(value), kind)}")

    return read


def column(value: object) -> str:
    """Parse a column name. Returns the tidy name (see validation.tidy)."""
    if not isinstance(value, str):
        raise ValueError(f"must be the name of a column, not {shown(value)}")
    name = tidy(value)
    if not name or "\0" in name:
        raise ValueError("must be the name of a column")
    return name


def columns(value: object) -> tuple[str, ...]:
    """Parse a list of column names."""
    if isinstance(value, str):
        raise ValueError(f'must be a list of columns, such as ["{value}"], not text')
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list of columns, not {shown(value)}")
    return tuple(_each(enumerate(value), column).values())


def kinds(value: object) -> Mapping[str, Kind]:
    """Parse a mapping of column names to kinds."""
    if not isinstance(value, Mapping):
        raise ValueError(f'must map columns to kinds, such as {{"zip": "category"}}, not {shown(value)}')
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
    """Parse a random seed."""
    try:
        number = -1 if isinstance(value, bool) else index(value)  # type: ignore[arg-type]  # index() raises if it isn't an integer.
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise ValueError(f"must be a whole number from 0 to {MAX_SEED:,}")
    return number


def seconds(value: object) -> float:
    """Parse a time limit in seconds."""
    number = as_number(value)
    if number is None or not 0 < number <= MAX_SECONDS:
        raise ValueError(f"must be a number of seconds above 0, at most {MAX_SECONDS:,}")
    return float(number)


def encoding(value: object) -> str:
    """Parse the name of a text encoding. Returns Python's name for the encoding."""
    try:
        name = codecs.lookup(value).name if isinstance(value, str) else ""
        "".encode(name)  # Raises LookupError for Python codecs that don't encode text.
    except (LookupError, ValueError):
        raise ValueError("must be a text encoding, such as utf-8, cp1252 or gb18030") from None
    return name


class Algorithm(StrEnum):
    """The algorithm used to fit a model.

    - `linear`: least squares on the price.
    - `ridge`: ridge regression on the log price.
    - `boosting`: gradient-boosted trees on the log price, or on the residuals of a ridge regression.
    - `auto`: the algorithm that performs best in cross-validation.
    """

    AUTO = "auto"
    LINEAR = "linear"
    RIDGE = "ridge"
    BOOSTING = "boosting"


class Effort(StrEnum):
    """The effort spent on the search for the best model. With more effort, more candidates are fitted."""

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
    """Training options.

    Attributes:
        price: the column with the sale price. If None, it is inferred.
        sale_date: the column with the sale date. If None, it is inferred.
        house_id: the column that identifies the house, so that resales of the same house are recognized. If None, it is
            inferred.
        features: the columns to use as features. If empty, all suitable columns are used.
        exclude: the columns to ignore.
        kinds: a mapping of column names to kinds. The kinds of other columns are inferred.
        closed: the categorical features for which only the categories in the sales are valid. Houses with other
            categories are rejected.
        allow: the columns to use even if they appear to leak the price.
        algorithm: the algorithm. For synthetic sales, `auto` means `linear` because these sales follow a linear model.
        effort: the effort spent on the search for the best model.
        seed: the random seed, from 0 to 2**32 - 1.
        time_limit: the time limit of the search, in seconds. If the search reaches the limit, the result may not be
            reproducible.
        encoding: the encoding of a text file. If None, it is detected.

    Raises:
        InvalidOptions: if any option is invalid. It contains the violations of all options.
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
        """Check that all options are valid.

        Raises:
            InvalidOptions: if any option is invalid. It contains the violations of all options.
        """
        require_valid({option.name: getattr(self, option.name) for option in fields(type(self))})
