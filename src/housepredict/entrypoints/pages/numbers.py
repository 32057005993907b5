"""Numbers and dates as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

NBSP = "\u00a0"
MINUS = "\u2212"


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """1,234,567; a dash for what is not defined."""
    if value is None:
        return "-"
    # + 0.0: what is rounded to nothing has no sign
    told = f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)
    return f"{told}{NBSP}{unit}" if unit else told


def percent(value: float | None, digits: int = 1) -> str:
    """8.2 %."""
    return number(value, digits, "%")


def difference(value: float, digits: int = 1) -> str:
    """In percent, with its sign unless it is nothing."""
    return f"{signed(value, digits)}{NBSP}%"


def signed(value: float, digits: int = 0) -> str:
    """With its sign unless it is nothing."""
    return f"+{number(value, digits)}" if round(value, digits) > 0 else number(value, digits)


def short(value: float) -> str:
    """As many digits as it takes: 0.5, 1,000."""
    return f"{value:,.10g}".replace("-", MINUS)


def alike(values: Sequence[float]) -> Sequence[tuple[float, str]]:
    """Each value with as many decimals as any of them takes."""
    digits = max((len(short(value).partition(".")[2]) for value in values), default=0)
    return [(value, number(value, digits)) for value in values]


def day(value: date) -> str:
    """3 June 2025."""
    return f"{value.day} {value:%B} {value.year}"


def month(value: date) -> str:
    """Jun 2025."""
    return f"{value:%b} {value.year}"
