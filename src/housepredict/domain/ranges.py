"""Which values of a measure are acceptable: the one place that decides what is marked as out of range."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from attrs import frozen

from housepredict.domain.binomial import SIGNIFICANCE, TOLERANCE, binomial_p_value

if TYPE_CHECKING:
    from housepredict.domain.accuracy import Accuracy
    from housepredict.domain.models import Coverage

_MOST: Final = 1_000_000
"""More sales than this are tested as so many, which takes milliseconds."""
_IAAO: Final = "International Association of Assessing Officers, Standard on Ratio Studies (2013)"
_BINOMIAL: Final = "two-sided exact binomial test at 0.1%"


@frozen
class Range:
    """The acceptable values of a measure, both ends included, of the measure as it is rounded for people."""

    name: str
    low: float
    high: float
    digits: int
    source: str

    def contains(self, value: float | None) -> bool:
        """Whether a value is acceptable; one that is not defined can't be judged, and counts as acceptable."""
        return value is None or self.low <= round(value, self.digits) <= self.high


RANGES: Final = {
    each.name: each
    for each in (
        Range("median_ratio", 0.9, 1.1, 3, _IAAO),
        Range("cod", 5.0, 15.0, 1, _IAAO),
        Range("prd", 0.98, 1.03, 3, _IAAO),
        Range("prb", -0.05, 0.05, 3, _IAAO),
    )
}
"""The ranges for single-family houses, by the names of the fields of `Accuracy`."""


@lru_cache(maxsize=1024)
def coverage_range(level: int, sales: int) -> Range:
    """The share of sale prices, in percent, that intervals of a level may cover on so many sales."""
    probability, sales = level / 100, max(1, min(sales, _MOST))
    middle = round(sales * probability)

    def is_accepted(count: int) -> bool:
        return binomial_p_value(count, sales, probability) >= SIGNIFICANCE

    lowest = bisect_left(range(middle), 1, key=is_accepted)
    highest = middle + bisect_left(range(middle, sales), 1, key=lambda count: not is_accepted(count + 1))
    low = min(100 * lowest / sales, level - TOLERANCE)
    high = max(100 * highest / sales, level + TOLERANCE)
    return Range(f"coverage_{level}", round(low, 9), round(high, 9), 9, _BINOMIAL)


def out_of_range(
    accuracy: Accuracy, coverage: Iterable[Coverage], sales: Mapping[int, int] | None = None
) -> tuple[str, ...]:
    """Name the measures that are not acceptable: fields of `Accuracy`, and `coverage_80` or `coverage_90`.

    Args:
        sales: how many sales have an interval of each level; by default all that `accuracy` is of.
    """
    measures = [(each, getattr(accuracy, name)) for name, each in RANGES.items()]
    counts = sales or {}
    shares = [(coverage_range(each.level, counts.get(each.level, accuracy.n)), each.share) for each in coverage]
    return tuple(each.name for each, value in (*measures, *shares) if not each.contains(value))
