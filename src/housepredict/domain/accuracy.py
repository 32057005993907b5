"""The valuation field's own measures of how far estimates are off.

COD, PRD, PRB and the median ratio: International Association of Assessing Officers, Standard on Ratio Studies (2013).
FSD, MdAPE and PPE10 are what vendors of automated valuation models report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, linear_regression, median, stdev

from attrs import frozen


@frozen
class Accuracy:
    """Measures over n pairs of estimate and sale price, with the sales ratio r = estimate / price.

    mdape, ppe5, ppe10, ppe20, cod and fsd are in percent (8.2 is 8.2 %); mae and rmse in the currency of the prices,
    mse in its square. None where a measure is not defined: a spread of one sale, the slope of equal values, the
    quotient by nothing.
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
    """Measure estimates against the prices that the houses sold for.

    Both in the same currency and order; prices above zero, estimates not below. Raises ValueError otherwise.
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
    # 1e-12: an estimate that is off by exactly the limit counts, whichever way its quotient was rounded
    return 100 * sum(each <= limit + 1e-12 for each in off) / len(off)


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
