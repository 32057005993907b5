"""The coverage test, which checks on held-out sales that an 80% interval covers about 80% of sale prices.

Intervals are calibrated on training sales only, so held-out sales are an independent test of the intervals.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial

from attrs import frozen

from housepredict.domain.estimates import LEVELS, Calibration, Interval
from housepredict.domain.validation import counted

SIGNIFICANCE = 0.001
"""Significance level of the coverage test. Correct intervals fail the test with at most this probability."""

TOLERANCE = 2.0
"""Largest difference between coverage and interval level, in percentage points, that always passes the coverage test.

With more than about 4,000 sales, a purely statistical test would fail because of differences that don't matter in
practice.
"""

_TIE = 1e-7
"""Largest relative difference between two probabilities that count as equal. It allows for rounding errors."""
_NEGLIGIBLE = 1e-17
"""The summation of a tail probability stops when a term is below this fraction of the sum."""


def binomial_p_value(successes: int, trials: int, probability: float) -> float:
    """Compute the two-sided p-value of an exact binomial test.

    The p-value is the total probability of all outcomes that are at most as likely as the observed one. The computation
    takes about √trials steps.

    Args:
        successes: the observed number of successes, from 0 to `trials`.
        trials: the number of trials, at least 1.
        probability: the hypothesized probability of success, above 0 and below 1.

    Raises:
        ValueError: if an argument is out of range.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"trials must be at least 1, and successes from 0 to trials, not {successes} of {trials}")
    if not 0 < probability < 1:
        raise ValueError(f"probability must be above 0 and below 1, not {probability}")
    log_probability = partial(_log_probability, trials=trials, probability=probability)
    limit = log_probability(successes) + _TIE
    # Probabilities decrease with the distance from the mode, so both tails can be found by bisection.
    mode = min(int((trials + 1) * probability), trials)
    below = bisect_right(range(mode), limit, key=log_probability) - 1
    above = mode + bisect_left(range(mode, trials + 1), -limit, key=lambda count: -log_probability(count))
    odds = probability / (1 - probability)
    tails = 0.0
    if below >= 0:
        tails += _tail(log_probability(below), below, trials, 1 / odds)
    if above <= trials:
        # The upper tail of the successes equals the lower tail of the failures.
        tails += _tail(log_probability(above), trials - above, trials, odds)
    return min(tails, 1.0)


def _log_probability(successes: int, trials: int, probability: float) -> float:
    failures = trials - successes
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(failures + 1)
    return ways + successes * math.log(probability) + failures * math.log1p(-probability)


def _tail(log_probability: float, count: int, trials: int, odds: float) -> float:
    """Compute the probability of at most `count` successes in `trials`.

    Args:
        log_probability: the log probability of exactly `count` successes.
        count: the largest number of successes to include.
        trials: the number of trials.
        odds: the odds against success, (1 - p) / p, where p is the probability of success.
    """
    total = term = math.exp(log_probability)
    while count and term > _NEGLIGIBLE * total:
        term *= count / (trials - count + 1) * odds
        total += term
        count -= 1
    return total


class IntervalKind(StrEnum):
    """The kind of intervals that a version has.

    - `scaled`: the width depends on the expected error for each house.
    - `plain`: the width is the same percentage of the estimate for all houses (with the linear algorithm, the same
      amount of money).
    - `none`: the version has no intervals.
    """

    SCALED = "scaled"
    PLAIN = "plain"
    NONE = "none"


@frozen
class CoverageTest:
    """The result of the coverage test for one interval level.

    Attributes:
        kind: the kind of intervals.
        level: the level of the intervals, in percent.
        sales: the number of held-out sales.
        inside: the number of these sales whose price is inside the interval.
        p_value: the p-value of an exact binomial test.
    """

    kind: IntervalKind
    level: int
    sales: int
    inside: int
    p_value: float

    @property
    def share(self) -> float:
        """The share of prices inside the interval, in percent."""
        return 100 * self.inside / self.sales

    @property
    def rejects(self) -> bool:
        """Whether the coverage differs from the level by more than chance can explain, and by more than TOLERANCE."""
        return self.p_value < SIGNIFICANCE and abs(self.share - self.level) > TOLERANCE


@frozen
class IntervalChoice:
    """The kind of intervals chosen for a version.

    Attributes:
        kind: the chosen kind.
        tests: the results of all coverage tests.
        reasons: the reasons why the model's preferred kind was not chosen, as sentences. Empty if that kind was chosen.
    """

    kind: IntervalKind
    tests: tuple[CoverageTest, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the version has no intervals because all kinds failed the coverage test."""
        return self.kind is IntervalKind.NONE and bool(self.tests)


def check_coverage(
    kind: IntervalKind, estimates: Iterable[tuple[float, Sequence[Interval]]]
) -> tuple[CoverageTest, ...]:
    """Run the coverage test for each interval level on held-out sales.

    If more prices are inside the intervals than expected, prices exactly on a bound are counted as outside. Without
    this rule, ties and rounding to cents could make intervals look too wide.

    Args:
        kind: the kind of intervals.
        estimates: for each held-out sale, a pair of the sale price and the intervals of the estimate.

    Returns:
        A test result for each interval level that occurs in `estimates`.
    """
    pairs = [(price, interval) for price, intervals in estimates for interval in intervals]
    tests = []
    for level in LEVELS:
        of_level = [(price, interval) for price, interval in pairs if interval.level == level]
        if of_level:
            inside = sum(interval.holds(price) for price, interval in of_level)
            within = sum(interval.holds(price) and price not in interval[1:] for price, interval in of_level)
            expected = round(len(of_level) * level / 100)
            p_value = binomial_p_value(min(inside, max(within, expected)), len(of_level), level / 100)
            tests.append(CoverageTest(kind, level, len(of_level), inside, p_value))
    return tuple(tests)


def rejection(tests: Sequence[CoverageTest]) -> str:
    """Explain in a sentence why one kind of intervals was rejected. `tests` are all its coverage tests."""
    failures = "; ".join(
        f"the {test.level}% interval covered {test.share:.1f}% of {counted(test.sales, 'held-out sale price')}"
        for test in tests
        if test.rejects
    )
    reason = failures or "they are unbounded"
    return f"{tests[0].kind.capitalize()} intervals failed the coverage test (exact binomial at 0.1%): {reason}."


def is_finite(calibration: Calibration) -> bool:
    """Return whether a calibration produces only bounded intervals."""
    numbers = (calibration.within_80, calibration.within_90, calibration.deviation, *calibration.within_tenths)
    return all(math.isfinite(number) for number in numbers if number is not None)
