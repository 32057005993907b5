"""The valuation measures, and their acceptable ranges."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from statistics import fmean, linear_regression, median, stdev
from typing import Final

from attrs import field, frozen

from housepredict.domain.evaluation.coverage import SIGNIFICANCE, TOLERANCE, binomial_p_value


@frozen
class Accuracy:
    """Measures over n pairs of estimate and sale price, with the sales ratio r = estimate / price.

    mdape, ppe5, ppe10, ppe20, cod and fsd are in percent (8.2 is 8.2%); mae and rmse in the currency of the prices, mse
    in its square. None is an undefined measure: the spread of one sale, the slope of equal values, a quotient by 0.
    """

    n: int
    median_ratio: float
    mdape: float
    ppe5: float
    ppe10: float
    ppe20: float
    mae: float
    mse: float
    rmse: float
    r2: float | None
    fsd: float | None
    cod: float | None
    prd: float | None
    prb: float | None


def accuracy(estimates: Sequence[float], prices: Sequence[float]) -> Accuracy:
    """Measure estimates against sale prices, in the same currency and order.

    Raises:
        ValueError: unless prices are above zero and estimates are not below.
    """
    if len(estimates) != len(prices) or not prices:
        raise ValueError("estimates and prices must be equally many, and at least one")
    if min(prices) <= 0 or min(estimates) < 0:
        raise ValueError("prices must be above zero and estimates not below")
    ratios = [estimate / price for estimate, price in zip(estimates, prices, strict=True)]
    errors = [estimate - price for estimate, price in zip(estimates, prices, strict=True)]
    off = [abs(ratio - 1) for ratio in ratios]
    mse = fmean(error * error for error in errors)
    middle = median(ratios)
    return Accuracy(
        n=len(prices),
        median_ratio=middle,
        mdape=100 * median(off),
        ppe5=_share_within(0.05, off),
        ppe10=_share_within(0.10, off),
        ppe20=_share_within(0.20, off),
        mae=fmean(abs(error) for error in errors),
        mse=mse,
        rmse=math.sqrt(mse),
        r2=_r2(prices, mse),
        fsd=100 * stdev(ratios) if len(ratios) > 1 else None,
        cod=100 * fmean(abs(ratio - middle) for ratio in ratios) / middle if middle else None,
        prd=fmean(ratios) / (math.fsum(estimates) / math.fsum(prices)) if any(estimates) else None,
        prb=_prb(estimates, prices, ratios, middle),
    )


def _share_within(limit: float, off: Sequence[float]) -> float:
    # 1e-12: an estimate that is off by exactly the limit counts, however its quotient was rounded
    return 100 * sum(error <= limit + 1e-12 for error in off) / len(off)


def _r2(prices: Sequence[float], mse: float) -> float | None:
    mean = fmean(prices)
    variance = fmean((price - mean) ** 2 for price in prices)
    return 1 - mse / variance if variance else None


def _prb(estimates: Sequence[float], prices: Sequence[float], ratios: Sequence[float], middle: float) -> float | None:
    """The slope of (r - m) / m on log2(0.5 * (estimate / m + price)), m being the median ratio."""
    if not middle:
        return None
    value = [math.log2(0.5 * (estimate / middle + price)) for estimate, price in zip(estimates, prices, strict=True)]
    if max(value) == min(value):
        return None
    return linear_regression(value, [(ratio - middle) / middle for ratio in ratios]).slope


@frozen
class Bounds:
    """The 95% confidence bounds of a measure, by bootstrap."""

    low: float
    high: float


@frozen
class Coverage:
    """The share of sale prices in the intervals of a level, in percent, and the median of high / estimate."""

    level: int
    share: float
    width: float | None


_MOST: Final = 1_000_000
"""The most sales in a test, which then takes milliseconds."""
_IAAO: Final = "International Association of Assessing Officers, Standard on Ratio Studies (2013)"
_BINOMIAL: Final = "two-sided exact binomial test at 0.1%"


@frozen
class Range:
    """The acceptable range of a measure, inclusive, as it is rounded for people."""

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


@frozen
class Segment:
    """Accuracy on some of the sales: n of them. `coverage`, in percent, is that of the 90 % intervals."""

    name: str
    n: int
    median_ratio: float
    mdape: float
    coverage: float | None


@frozen
class OutOfTimeEvaluation:
    """The accuracy of the same candidate on the latest sales, those of `since` and after, fitted to earlier sales of
    other houses.
    """

    since: date
    trained_on: int
    held_out: int
    accuracy: Accuracy
    coverage: tuple[Coverage, ...] = ()

    @property
    def out_of_range(self) -> tuple[str, ...]:
        """The measures that are not acceptable (see ranges)."""
        return out_of_range(self.accuracy, self.coverage)


@frozen
class Evaluation:
    """The evaluation of a version on held-out sales.

    `bounds` are by measure. A version without a calibration has no `coverage`. `price_tenths` are by sale price,
    cheapest first; `categories` are the most common values of the feature named `category`. Without `out_of_time`,
    `out_of_time_skipped` is the reason.
    """

    trained_on: int
    held_out: int
    accuracy: Accuracy
    bounds: Mapping[str, Bounds] = field(factory=dict)
    coverage: tuple[Coverage, ...] = ()
    price_tenths: tuple[Segment, ...] = ()
    category: str | None = None
    categories: tuple[Segment, ...] = ()
    out_of_time: OutOfTimeEvaluation | None = None
    out_of_time_skipped: str | None = None

    @property
    def out_of_range(self) -> tuple[str, ...]:
        """The measures that are not acceptable (see ranges)."""
        return out_of_range(self.accuracy, self.coverage)
