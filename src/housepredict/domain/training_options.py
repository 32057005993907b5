"""The options of a training, with a reader for each."""

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
    """Read a value; return the error if it is invalid, so that `require_valid` can raise all errors at once."""
    try:
        return read(value)
    except InvalidOptions as error:
        return error  # type: ignore[return-value]  # require_valid raises it before anyone reads the field.
    except ValueError as error:
        return InvalidOptions([Violation("", Rule.TYPE, str(error), value)])  # type: ignore[return-value]


def require_valid(options: Mapping[str, object]) -> None:
    """Raise InvalidOptions with every violation among options that were read by `option`."""
    violations = [
        evolve(violation, pointer=pointer_to(name) + violation.pointer)
        for name, error in options.items()
        if isinstance(error, InvalidOptions)
        for violation in error.violations
    ]
    if violations:
        raise InvalidOptions(violations)


def choice(kind: type[E]) -> Callable[[object], E]:
    """Create a reader of the members of an enumeration, or of their values."""

    def read(value: object) -> E:
        if isinstance(value, str) and value in list(kind):
            return kind(value)
        names = ", ".join(kind)
        raise ValueError(f"must be one of {names}, not {shown(value)}{did_you_mean(str(value), kind)}")

    return read


def column(value: object) -> str:
    """Read the name of a column. Returns it in its tidy form (see validation.tidy)."""
    if not isinstance(value, str):
        raise ValueError(f"must be the name of a column, not {shown(value)}")
    name = tidy(value)
    if not name or "\0" in name:
        raise ValueError("must be the name of a column")
    return name


def columns(value: object) -> tuple[str, ...]:
    """Read a list of names of columns."""
    if isinstance(value, str):
        raise ValueError(f'must be a list of columns, such as ["{value}"], not text')
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list of columns, not {shown(value)}")
    return tuple(_each(enumerate(value), column).values())


def kinds(value: object) -> Mapping[str, Kind]:
    """Read a mapping of names of columns to their kinds."""
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
    """Read a seed of random numbers."""
    try:
        number = -1 if isinstance(value, bool) else index(value)  # type: ignore[arg-type]  # index() raises if it isn't an integer.
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise ValueError(f"must be a whole number from 0 to {MAX_SEED:,}")
    return number


def seconds(value: object) -> float:
    """Read a time limit, in seconds."""
    number = as_number(value)
    if number is None or not 0 < number <= MAX_SECONDS:
        raise ValueError(f"must be a number of seconds above 0, at most {MAX_SECONDS:,}")
    return float(number)


def encoding(value: object) -> str:
    """Read the name of a text encoding. Returns Python's name for it."""
    try:
        name = codecs.lookup(value).name if isinstance(value, str) else ""
        "".encode(name)  # Some of Python's codecs don't encode text.
    except (LookupError, ValueError):
        raise ValueError("must be a text encoding, such as utf-8, cp1252 or gb18030") from None
    return name


class Algorithm(StrEnum):
    """The algorithm that fits a model: least squares on the price (`linear`), ridge regression on its logarithm
    (`ridge`), gradient-boosted trees on that logarithm or on the residuals of the ridge (`boosting`), or whichever is
    best in cross-validation (`auto`).
    """

    AUTO = "auto"
    LINEAR = "linear"
    RIDGE = "ridge"
    BOOSTING = "boosting"


class Effort(StrEnum):
    """The effort of the search for the best model: how many candidates are fitted."""

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
    """The options of a training. Everything that they leave open is inferred from the sales.

    Attributes:
        price: the column of sale prices.
        sale_date: the column of sale dates.
        house_id: the column that identifies a house, so that its resales are recognized.
        features: the only columns to use as features; empty to use all suitable columns.
        exclude: columns not to use.
        kinds: the kinds of columns, as a mapping of name to kind.
        closed: category columns whose categories are complete, so that a house with another category is invalid.
        allow: columns to use even though they seem to leak the price.
        algorithm: the algorithm. For synthetic sales, `auto` is `linear`, since they follow a linear model.
        effort: the effort of the search for the best model.
        seed: the seed of random numbers, from 0 to 2**32 - 1.
        time_limit: the limit of the search in seconds. A search that reaches it may find another model next time.
        encoding: the encoding of a text file; None detects it.

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
