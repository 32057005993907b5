"""From values to places on a plot, and round values to mark on its axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

from attrs import frozen

_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000)


@frozen
class Scale:
    """Takes `low` to the place `start`, and `high`, which is above it, to `end`; what lies beyond, to the nearer end.

    Both are above zero where the scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, at, high = self.low, min(max(value, self.low), self.high), self.high
        if self.logarithmic:
            low, at, high = math.log(low), math.log(at), math.log(high)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def shows(self, value: float) -> bool:
        """Whether a value lies within the scale."""
        return self.low <= value <= self.high


def ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most so many: two at least if that is six or more."""
    rough = (high - low) / (most - 1)
    exponent = math.floor(math.log10(rough))
    step = next(factor * 10.0**exponent for factor in (1, 2, 5, 10) if factor * 10.0**exponent >= rough * (1 - 1e-9))
    # 1e-9: an end that is a tick but for its last bit is one
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, max(0, 1 - exponent)) for at in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """1, 2 and 5 times powers of ten, or fewer of them, at most so many; as on a linear scale where these are too far
    apart.
    """
    decades = [10.0**exponent for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    whole = [decade for decade in decades if low <= decade <= high]
    parts = [factor * decade for decade in decades for factor in (1, 2, 5) if low <= factor * decade <= high]
    if len(parts) > most and len(whole) > 2:
        return whole[:: math.ceil(len(whole) / most)]
    return parts if 2 < len(parts) <= most else ticks(low, high, most)


def day_ticks(first: date, last: date, most: int = 6) -> Sequence[date]:
    """Firsts of months, evenly apart, at most so many; days where the months are too few."""
    # months since the year 0; that of `first` counts only from its first day
    start, end = first.year * 12 + first.month - (first.day == 1), last.year * 12 + last.month - 1
    every = (range(math.ceil(start / step) * step, end + 1, step) for step in _MONTH_STEPS)
    months = next(each for each in every if len(each) <= most)
    if len(months) < 3 and (last - first).days < 200:
        days = ticks(first.toordinal(), last.toordinal(), most)
        return [date.fromordinal(int(day)) for day in days if day == int(day)]
    return [date(month // 12, month % 12 + 1, 1) for month in months]
