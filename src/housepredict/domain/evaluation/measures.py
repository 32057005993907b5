"""Measures of valuation accuracy, and their acceptable ranges."""

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
    """The accuracy of estimates, compared with sale prices.

    The sales ratio of a sale is estimate / price. A measure is None if it is undefined, for example because there is
    only one sale, or all prices are equal.

    Attributes:
        n: the number of sales.
        median_ratio: the median sales ratio.
        mdape: the median absolute percentage error.
        ppe5: the percentage of estimates within 5% of the price.
        ppe10: the percentage of estimates within 10% of the price.
        ppe20: the percentage of estimates within 20% of the price.
        mae: the mean absolute error, in the currency of the prices.
        mse: the mean squared error, in squared units of the currency.
        rmse: the root mean squared error, in the currency of the prices.
        r2: the coefficient of determination.
        fsd: the forecast standard deviation, which is the standard deviation of the sales ratio, in percent.
        cod: the coefficient of dispersion, which is the mean absolute deviation from the median ratio, in percent of
            the median ratio.
        prd: the price-related differential, which is the mean ratio / (sum of estimates / sum of prices).
        prb: the coefficient of price-related bias, which is the relative change in the ratio when the value doubles.
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
    """Compute the accuracy of estimates.

    Args:
        estimates: the estimates.
        prices: the sale prices, in the same order and currency.

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
    # 1e-12 is added because rounding must not exclude an estimate whose error equals the limit.
    return 100 * sum(error <= limit + 1e-12 for error in errors) / len(errors)


def _r2(prices: Sequence[float], mse: float) -> float | None:
    mean = fmean(prices)
    variance = fmean((price - mean) ** 2 for price in prices)
    return 1 - mse / variance if variance else None


def _prb(estimates: Sequence[float], prices: Sequence[float], ratios: Sequence[float], middle: float) -> float | None:
    """Compute the coefficient of price-related bias. Returns None if it is undefined.

    This is the slope of the regression of (ratio - middle) / middle on log2(0.5 * (estimate / middle + price)), where
    `middle` is the median ratio.
    """
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
    """The coverage and width of intervals.

    Attributes:
        level: the level of the intervals, in percent.
        share: the share of sale prices inside the intervals, in percent.
        width: the median of (upper bound of the interval / estimate), or None if all estimates are 0.
    """

    level: int
    share: float
    width: float | None


_MAX_TESTED: Final = 1_000_000
"""Maximum number of sales used to compute a coverage range. This limits the computing time to milliseconds."""
_IAAO: Final = "International Association of Assessing Officers, Standard on Ratio Studies (2013)"
_BINOMIAL: Final = "two-sided exact binomial test at 0.1%"


@frozen
class Range:
    """The acceptable range (inclusive) of a measure.

    Attributes:
        name: the name of the measure.
        low: the lower limit.
        high: the upper limit.
        digits: the number of decimals to which a value is rounded before it is compared with the range.
        source: the standard or test that defines the range, for display.
    """

    name: str
    low: float
    high: float
    digits: int
    source: str

    def contains(self, value: float | None) -> bool:
        """Return whether a value is in range. None (undefined) counts as in range."""
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
"""The acceptable ranges for single-family houses, by measure (field name of `Accuracy`)."""


@lru_cache(maxsize=1024)
def coverage_range(level: int, sales: int) -> Range:
    """Compute the acceptable range of the coverage of intervals, in percent.

    Args:
        level: the level of the intervals, in percent.
        sales: the number of sales that the coverage is measured on.
    """
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
    """Return the names of the measures that are outside their acceptable range.

    Args:
        accuracy: the accuracy measures.
        coverage: the coverage for each level.
        sales: the number of sales with intervals, by level. By default, this is `accuracy.n` for every level.

    Returns:
        The names, which can be `coverage_80`, `coverage_90` or a field of `Accuracy`.
    """
    measures = [(limits, getattr(accuracy, name)) for name, limits in RANGES.items()]
    counts = sales or {}
    shares = [
        (coverage_range(covered.level, counts.get(covered.level, accuracy.n)), covered.share) for covered in coverage
    ]
    return tuple(limits.name for limits, value in (*measures, *shares) if not limits.contains(value))


@frozen
class Segment:
    """The accuracy on a subset of the sales.

    Attributes:
        name: the name of the subset.
        n: the number of sales.
        median_ratio: the median sales ratio.
        mdape: the median absolute percentage error.
        coverage: the coverage of the 90% intervals, in percent, or None if there are no intervals.
    """

    name: str
    n: int
    median_ratio: float
    mdape: float
    coverage: float | None


@frozen
class OutOfTimeEvaluation:
    """The accuracy of a model on the most recent sales, after it was fitted only to earlier sales of other houses.

    Attributes:
        since: the date of the first of the most recent sales.
        trained_on: the number of earlier sales that the model was fitted to.
        held_out: the number of most recent sales that the model was evaluated on.
        accuracy: the accuracy on the most recent sales.
        coverage: the coverage for each interval level.
    """

    since: date
    trained_on: int
    held_out: int
    accuracy: Accuracy
    coverage: tuple[Coverage, ...] = ()

    @property
    def out_of_range(self) -> tuple[str, ...]:
        """The names of the measures that are outside their acceptable range."""
        return out_of_range(self.accuracy, self.coverage)


@frozen
class Evaluation:
    """The evaluation of a version on held-out sales.

    Attributes:
        trained_on: the number of training sales.
        held_out: the number of held-out sales.
        accuracy: the accuracy on the held-out sales.
        bounds: the 95% confidence bounds, by measure.
        coverage: the coverage for each interval level.
        price_tenths: the accuracy for each tenth of the sales when they are sorted by price, cheapest first.
        category: the name of the categorical feature with the most categories, or None if there is no such feature.
        categories: the accuracy for each of the most common categories of that feature.
        out_of_time: the out-of-time evaluation, or None if it was not possible.
        out_of_time_skipped: the reason why there is no out-of-time evaluation, or None if there is one.
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
        """The names of the measures that are outside their acceptable range."""
        return out_of_range(self.accuracy, self.coverage)
