"""How much of a measure is the luck of the sales that were held out, by drawing them again.

Percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. A resample has at most
`LARGEST` sales, and the spread around the measure of all n is then scaled by the root of m / n: the m-out-of-n
bootstrap of Bickel, Goetze and van Zwet, Statistica Sinica 7 (1997). So the time does not grow with the sales.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from statistics import fmean, quantiles

from housepredict.domain.accuracy import Accuracy, accuracy
from housepredict.domain.models import Bounds

MEASURES = ("median_ratio", "mdape", "ppe10", "cod", "prd", "prb")
RESAMPLES = 200
PAIRED_RESAMPLES = 1000
LARGEST = 1000

_SEED = 42


def bounds(estimates: Sequence[float], prices: Sequence[float], measured: Accuracy) -> Mapping[str, Bounds]:
    """Between what a measure lies with a probability of 95 percent, by its name.

    `measured` are the measures of all these sales. One that is not defined there or in a resample has no bounds.
    """
    draw, size = Random(_SEED), min(len(prices), LARGEST)
    resamples = []
    for _ in range(RESAMPLES):
        rows = draw.choices(range(len(prices)), k=size)
        resamples.append(accuracy([estimates[row] for row in rows], [prices[row] for row in rows]))
    scale = math.sqrt(size / len(prices))
    found = {}
    for name in MEASURES:
        middle = getattr(measured, name)
        values = [getattr(each, name) for each in resamples]
        if middle is not None and None not in values:
            cuts = quantiles(values, n=40, method="inclusive")
            found[name] = Bounds(*(middle + scale * (cut - middle) for cut in (cuts[0], cuts[-1])))
    return found


def share_better(losses: Sequence[float], others: Sequence[float]) -> float:
    """In what share of resamples, in percent, the mean of the losses is below that of the others'.

    Both are of the same sales in the same order, and drawn together. Where they are equal, neither is below.
    """
    gains = [other - loss for loss, other in zip(losses, others, strict=True)]
    draw, size = Random(_SEED), min(len(gains), LARGEST)
    middle, scale = fmean(gains), math.sqrt(size / len(gains))
    means = (fmean(draw.choices(gains, k=size)) for _ in range(PAIRED_RESAMPLES))
    return 100 * sum(middle + scale * (mean - middle) > 0 for mean in means) / PAIRED_RESAMPLES
