"""Which intervals a version has: those that its held-out sales don't contradict.

Calibration promises that 80 of 100 sale prices lie in their 80% intervals. The held-out sales, which took no part in
it, test that promise before anybody relies on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum

from attrs import frozen

from housepredict.domain.estimates import Calibration, Interval

LEVELS = (80, 90)

SIGNIFICANCE = 0.001
"""The p-value below which a test rejects."""

TOO_LITTLE, TOO_MUCH = 2.0, 5.0
"""Percentage points of coverage below and above the level that pass whatever the p-value: with many thousand held-out
sales a test rejects what nobody would act on. Too wide is the lesser fault, and known: the models behind calibration
are fitted to fewer sales than the one that serves, and so have somewhat larger errors.
"""


class IntervalKind(StrEnum):
    """How wide intervals are: scaled to the error that is expected of each house; plain, one width for all houses, as a
    share of the price or, with the linear algorithm, as an amount; or none at all.
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
        """Whether the coverage is off by more than is tolerated, and by more than chance."""
        tolerated = self.level - TOO_LITTLE <= self.share <= self.level + TOO_MUCH
        return self.p_value < SIGNIFICANCE and not tolerated


@frozen
class IntervalChoice:
    """The intervals that a version has, the tests that led there, and the reasons in sentences, if it has not the first
    that were tested.
    """

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
            on_bound = sum(interval.holds(price) and price in interval[1:] for price, interval in of_level)
            p_value = binomial_p_value(inside, on_bound, len(of_level), level / 100)
            tests.append(CoverageTest(kind, level, len(of_level), inside, p_value))
    return tuple(tests)


def rejection(tests: Sequence[CoverageTest]) -> str:
    """What tests of one kind of intervals rejected, as a sentence."""
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


def binomial_p_value(successes: int, ties: int, trials: int, probability: float) -> float:
    """The two-sided p-value of the exact binomial test: twice the smaller tail, at most 1.

    It is below 0.1% where `probability` lies outside the 99.9% interval of Clopper and Pearson, Biometrika 26 (1934);
    see Fay, The R Journal 2/1 (2010), on this definition and the others. Of the successes, `ties` don't count against
    the hypothesis if there are too many.
    """
    expected = probability * trials
    if successes < expected:
        tail = _lower_tail(successes, trials, probability)
    elif successes - ties > expected:
        tail = _lower_tail(trials - successes + ties, trials, 1 - probability)
    else:
        return 1.0
    return min(1.0, 2 * tail)


def _lower_tail(successes: int, trials: int, probability: float) -> float:
    """The probability of at most so many successes, which are fewer than expected.

    So each term of the sum is smaller than the one before. The first comes from logarithms: factorials overflow.
    """
    term = math.exp(
        math.lgamma(trials + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(trials - successes + 1)
        + successes * math.log(probability)
        + (trials - successes) * math.log1p(-probability)
    )
    total, odds = 0.0, (1 - probability) / probability
    for count in range(successes, -1, -1):
        total += term
        if term <= 1e-17 * total:
            break
        term *= odds * count / (trials - count + 1)
    return total
