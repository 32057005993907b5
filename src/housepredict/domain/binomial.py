"""The exact binomial test: whether chance alone explains how often intervals held the sale price."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from functools import partial

SIGNIFICANCE = 0.001
"""Intervals don't hold if chance alone would put their coverage so far from its level less often than this."""

TOLERANCE = 2.0
"""Percentage points of coverage around a level that pass whatever the p-value: with more than some 4,000 sales the test
alone would reject deviations that don't matter in practice.
"""

_TIE = 1e-7
"""Outcomes count as equally probable if their probabilities differ by no more than this share, which is rounding."""
_NEGLIGIBLE = 1e-17
"""A sum ends with the first term that is a smaller share of it."""


def binomial_p_value(successes: int, trials: int, probability: float) -> float:
    """Compute the two-sided p-value of an exact binomial test.

    It is the probability of all outcomes that are no more probable than the observed one, and takes some √trials steps.

    Args:
        successes: the observed number, from 0 to `trials`.
        trials: at least 1.
        probability: of a success in each trial under the hypothesis, above 0 and below 1.

    Raises:
        ValueError: if an argument is out of its range.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes must be from 0 to trials, and trials at least 1, not {successes} of {trials}")
    if not 0 < probability < 1:
        raise ValueError(f"probability must be above 0 and below 1, not {probability}")
    log_probability = partial(_log_probability, trials=trials, probability=probability)
    limit = log_probability(successes) + _TIE
    # outcomes are the less probable, the further from the mode
    mode = min(int((trials + 1) * probability), trials)
    below = bisect_right(range(mode), limit, key=log_probability) - 1
    above = mode + bisect_left(range(mode, trials + 1), -limit, key=lambda count: -log_probability(count))
    odds = probability / (1 - probability)
    tails = 0.0
    if below >= 0:
        tails += _tail(log_probability(below), below, trials, 1 / odds)
    if above <= trials:
        # upward, failures count as successes do downward
        tails += _tail(log_probability(above), trials - above, trials, odds)
    return min(tails, 1.0)


def _log_probability(successes: int, trials: int, probability: float) -> float:
    failures = trials - successes
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(failures + 1)
    return ways + successes * math.log(probability) + failures * math.log1p(-probability)


def _tail(log_probability: float, count: int, trials: int, odds: float) -> float:
    """Sum the probabilities of `count` outcomes of a kind and of fewer; `odds` are against that kind."""
    total = term = math.exp(log_probability)
    while count and term > _NEGLIGIBLE * total:
        term *= count / (trials - count + 1) * odds
        total += term
        count -= 1
    return total
