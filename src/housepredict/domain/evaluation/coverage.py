"""The coverage test: whether held-out sales confirm that an 80% interval covers 80% of sale prices.

Calibration uses training sales alone, so the held-out sales are an independent test of the intervals.
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
"""The significance level of the test: it rejects correct intervals with at most this probability."""

TOLERANCE = 2.0
"""The deviation from a level that always passes, in percentage points. With more than about 4,000 sales, the test alone
would reject deviations that don't matter in practice.
"""

_TIE = 1e-7
"""The relative difference up to which two probabilities count as equal, since rounding can cause it."""
_NEGLIGIBLE = 1e-17
"""A sum stops at a term below this share of it."""


def binomial_p_value(successes: int, trials: int, probability: float) -> float:
    """Compute the two-sided p-value of an exact binomial test, in about √trials steps.

    It is the total probability of all outcomes that are at most as probable as the observed one.

    Args:
        successes: the observed number of successes, from 0 to `trials`.
        trials: the number of trials, at least 1.
        probability: the hypothetical probability of a success, above 0 and below 1.

    Raises:
        ValueError: if an argument is out of its range.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"trials must be at least 1, and successes from 0 to trials, not {successes} of {trials}")
    if not 0 < probability < 1:
        raise ValueError(f"probability must be above 0 and below 1, not {probability}")
    log_probability = partial(_log_probability, trials=trials, probability=probability)
    limit = log_probability(successes) + _TIE
    # Probabilities fall with the distance from the mode, so both tails can be found by bisection.
    mode = min(int((trials + 1) * probability), trials)
    below = bisect_right(range(mode), limit, key=log_probability) - 1
    above = mode + bisect_left(range(mode, trials + 1), -limit, key=lambda count: -log_probability(count))
    odds = probability / (1 - probability)
    tails = 0.0
    if below >= 0:
        tails += _tail(log_probability(below), below, trials, 1 / odds)
    if above <= trials:
        # The upper tail is the lower tail of the failures.
        tails += _tail(log_probability(above), trials - above, trials, odds)
    return min(tails, 1.0)


def _log_probability(successes: int, trials: int, probability: float) -> float:
    failures = trials - successes
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(failures + 1)
    return ways + successes * math.log(probability) + failures * math.log1p(-probability)


def _tail(log_probability: float, count: int, trials: int, odds: float) -> float:
    """Sum the probabilities of at most `count` outcomes of a kind in `trials`, with `odds` against that kind."""
    total = term = math.exp(log_probability)
    while count and term > _NEGLIGIBLE * total:
        term *= count / (trials - count + 1) * odds
        total += term
        count -= 1
    return total


class IntervalKind(StrEnum):
    """The kind of a version's intervals: scaled to the expected error of each house (`scaled`); of one width for all
    houses, in percent of the price or, with the linear algorithm, as an amount (`plain`); or no intervals (`none`).
    """

    SCALED = "scaled"
    PLAIN = "plain"
    NONE = "none"


@frozen
class CoverageTest:
    """The exact binomial test of a level: for `inside` of the held-out `sales`, the interval covered the price."""

    kind: IntervalKind
    level: int
    sales: int
    inside: int
    p_value: float

    @property
    def share(self) -> float:
        """The coverage, in percent."""
        return 100 * self.inside / self.sales

    @property
    def rejects(self) -> bool:
        """Whether the coverage deviates from its level by more than both chance and the tolerance."""
        return self.p_value < SIGNIFICANCE and abs(self.share - self.level) > TOLERANCE


@frozen
class IntervalChoice:
    """The kind of intervals chosen for a version, the coverage tests, and the reasons if it is not the first tested."""

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
    """Test the coverage of each level on held-out sales.

    Args:
        kind: the kind of the intervals.
        estimates: for each sale, its price and the intervals of the estimate.

    Returns:
        A test for each level with intervals. If more prices are inside than expected, prices on a bound count as
        outside, so that ties and rounding to cents don't make an interval look too wide.
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
    """Describe the failed tests of one kind of intervals in a sentence."""
    failures = "; ".join(
        f"the {test.level}% interval covered {test.share:.1f}% of {counted(test.sales, 'held-out sale price')}"
        for test in tests
        if test.rejects
    )
    reason = failures or "they are unbounded"
    return f"{tests[0].kind.capitalize()} intervals failed the coverage test (exact binomial at 0.1%): {reason}."


def is_finite(calibration: Calibration) -> bool:
    """Whether the intervals of a calibration are bounded."""
    numbers = (calibration.within_80, calibration.within_90, calibration.deviation, *calibration.within_tenths)
    return all(math.isfinite(number) for number in numbers if number is not None)
