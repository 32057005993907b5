"""The coverage test: a version has the intervals that its held-out sales don't contradict.

Calibration promises that 80 of 100 sale prices lie in their 80% intervals. The held-out sales took no part in it, and
test that promise.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import partial

from attrs import frozen

from housepredict.domain.estimates import LEVELS, Calibration, Interval

SIGNIFICANCE = 0.001
"""Intervals fail if chance alone would put their coverage so far from its level less often than this."""

TOLERANCE = 2.0
"""Percentage points around a level that always pass: with more than some 4,000 sales, the test alone would reject
deviations that don't matter in practice.
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


class IntervalKind(StrEnum):
    """The width of intervals: scaled to the expected error of each house; plain, one width for all houses, as a share
    of the price or, with the linear algorithm, as an amount; or no intervals.
    """

    SCALED = "scaled"
    PLAIN = "plain"
    NONE = "none"


@frozen
class CoverageTest:
    """The exact binomial test of one level: `inside` of so many held-out `sales` had a price in their interval."""

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
        """Whether the coverage is off by more than the tolerance, and by more than chance."""
        return self.p_value < SIGNIFICANCE and abs(self.share - self.level) > TOLERANCE


@frozen
class IntervalChoice:
    """The intervals of a version, their tests, and the reasons, as sentences, if the first intervals tested failed."""

    kind: IntervalKind
    tests: tuple[CoverageTest, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether the version has no intervals because the held-out sales contradicted them."""
        return self.kind is IntervalKind.NONE and bool(self.tests)


def check_coverage(
    kind: IntervalKind, estimates: Iterable[tuple[float, Sequence[Interval]]]
) -> tuple[CoverageTest, ...]:
    """Test the coverage of each level on held-out sales.

    Args:
        kind: that of the intervals.
        estimates: for each sale its price, and the intervals around the estimate.

    Returns:
        A test for each level that there are intervals of. A price on a bound counts as outside where there are more
        prices inside than expected: ties and rounding to cents make no interval too wide.
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
    """The failed tests of one kind of intervals, as a sentence."""
    levels = "; ".join(
        f"the {each.level}% interval covered {each.share:.1f}% of {each.sales:,} held-out sale prices"
        for each in tests
        if each.rejects
    )
    found = levels or "they have no ends"
    return f"{tests[0].kind.capitalize()} intervals failed the coverage test (exact binomial at 0.1%): {found}."


def is_finite(calibration: Calibration) -> bool:
    """Whether intervals have ends."""
    numbers = (calibration.within_80, calibration.within_90, calibration.deviation, *calibration.within_tenths)
    return all(math.isfinite(each) for each in numbers if each is not None)
