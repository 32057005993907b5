"""The measures of valuation accuracy, and their acceptable ranges."""

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
    """The accuracy of `n` estimates, measured by sale prices. The sales ratio is estimate / price.

    A measure is None where it is undefined: the deviation of one sale, the slope over equal values, a division by 0.

    Attributes:
        n: the number of sales.
        median_ratio: the median sales ratio.
        mdape: the median absolute percentage error.
        ppe5: the percentage of estimates within 5% of the price; `ppe10` and `ppe20` within 10 and 20%.
        mae: the mean absolute error, in the currency of the prices.
        mse: the mean squared error, in the square of that currency.
        rmse: the root of the mean squared error, in that currency.
        r2: the coefficient of determination.
        fsd: the forecast standard deviation: the standard deviation of the sales ratio, in percent.
        cod: the coefficient of dispersion: the mean absolute deviation from the median ratio, in percent of it.
        prd: the price-related differential: the mean ratio / the ratio of the sums.
        prb: the coefficient of price-related bias: the relative change of the ratio when the value doubles.
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
        ValueError: if there are no sales, a price is not positive, or an estimate is negative.
    """
    if len(estimates) != len(prices) or not prices:
        raise ValueError("estimates and prices must have the same length, and at least one item")
    if min(prices) <= 0 or min(estimates) < 0:
        raise ValueError("prices must be positive, and estimates must not be negative")
    ratios = [estimate / price for estimate, price in zip(estimates, prices, strict=True)]
    errors = [estimate - price for estimate, price in zip(estimates, prices, strict=True)]
    shares = [abs(ratio - 1) for ratio in ratios]
    mse = fmean(error * error for error in errors)
    middle = median(ratios)
    return Accuracy(
        n=len(prices),
        median_ratio=middle,
        mdape=100 * median(shares),
        ppe5=_share_within(0.05, shares),
        ppe10=_share_within(0.10, shares),
        ppe20=_share_within(0.20, shares),
        mae=fmean(abs(error) for error in errors),
        mse=mse,
        rmse=math.sqrt(mse),
        r2=_r2(prices, mse),
        fsd=100 * stdev(ratios) if len(ratios) > 1 else None,
        cod=100 * fmean(abs(ratio - middle) for ratio in ratios) / middle if middle else None,
        prd=fmean(ratios) / (math.fsum(estimates) / math.fsum(prices)) if any(estimates) else None,
        prb=_prb(estimates, prices, ratios, middle),
    )


def _share_within(limit: float, errors: Sequence[float]) -> float:
    # 1e-12: rounding must not exclude an estimate whose error is exactly the limit.
    return 100 * sum(error <= limit + 1e-12 for error in errors) / len(errors)


def _r2(prices: Sequence[float], mse: float) -> float | None:
    mean = fmean(prices)
    variance = fmean((price - mean) ** 2 for price in prices)
    return 1 - mse / variance if variance else None


def _prb(estimates: Sequence[float], prices: Sequence[float], ratios: Sequence[float], middle: float) -> float | None:
    """Compute the slope of (ratio - m) / m on log2(0.5 * (estimate / m + price)), with the median ratio m."""
    if not middle:
        return None
    value = [math.log2(0.5 * (estimate / middle + price)) for estimate, price in zip(estimates, prices, strict=True)]
    if max(value) == min(value):
        return None
    return linear_regression(value, [(ratio - middle) / middle for ratio in ratios]).slope


@frozen
class Bounds:
    """The 95% confidence bounds of a measure, computed by bootstrap."""

    low: float
    high: float


@frozen
class Coverage:
    """The `share` of sale prices that the intervals of a level cover, in percent, and their median high / estimate."""

    level: int
    share: float
    width: float | None


_MAX_TESTED: Final = 1_000_000
"""The largest number of sales in a coverage test, which then takes milliseconds."""
_IAAO: Final = "International Association of Assessing Officers, Standard on Ratio Studies (2013)"
_BINOMIAL: Final = "two-sided exact binomial test at 0.1%"


@frozen
class Range:
    """The acceptable range of a measure, both ends included. Values are rounded to `digits` decimals first."""

    name: str
    low: float
    high: float
    digits: int
    source: str

    def contains(self, value: float | None) -> bool:
        """Whether a value is acceptable. An undefined one, None, counts as acceptable."""
        return value is None or self.low <= round(value, self.digits) <= self.high


RANGES: Final = {
    measure.name: measure
    for measure in (
        Range("median_ratio", 0.9, 1.1, 3, _IAAO),
        Range("cod", 5.0, 15.0, 1, _IAAO),
        Range("prd", 0.98, 1.03, 3, _IAAO),
        Range("prb", -0.05, 0.05, 3, _IAAO),
    )
}
"""The ranges for single-family houses by measure, a field of `Accuracy`."""


@lru_cache(maxsize=1024)
def coverage_range(level: int, sales: int) -> Range:
    """Compute the range of shares, in percent, of a number of sale prices that intervals of a level may cover."""
    probability, sales = level / 100, max(1, min(sales, _MAX_TESTED))
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
    """Name the measures that are out of range: fields of `Accuracy`, `coverage_80` and `coverage_90`.

    `sales` are the numbers of sales with an interval of each level; by default all sales of `accuracy`.
    """
    measures = [(limits, getattr(accuracy, name)) for name, limits in RANGES.items()]
    counts = sales or {}
    shares = [
        (coverage_range(covered.level, counts.get(covered.level, accuracy.n)), covered.share) for covered in coverage
    ]
    return tuple(limits.name for limits, value in (*measures, *shares) if not limits.contains(value))


@frozen
class Segment:
    """The accuracy on a part of the sales: `n` sales. `coverage` is that of the 90% intervals, in percent."""

    name: str
    n: int
    median_ratio: float
    mdape: float
    coverage: float | None


@frozen
class OutOfTimeEvaluation:
    """The accuracy of a version's candidate on the most recent sales, from `since` on, when it is fitted to earlier
    sales of other houses.
    """

    since: date
    trained_on: int
    held_out: int
    accuracy: Accuracy
    coverage: tuple[Coverage, ...] = ()

    @property
    def out_of_range(self) -> tuple[str, ...]:
        """The names of the measures out of their acceptable range."""
        return out_of_range(self.accuracy, self.coverage)


@frozen
class Evaluation:
    """The evaluation of a version on held-out sales.

    Attributes:
        price_tenths: the accuracy by tenths of the sale prices, cheapest first.
        category: the category feature with the most categories; None if there is no category feature.
        categories: the accuracy for the most common values of that feature.
        out_of_time_skipped: why `out_of_time` is None.
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
        """The names of the measures out of their acceptable range."""
        return out_of_range(self.accuracy, self.coverage)
