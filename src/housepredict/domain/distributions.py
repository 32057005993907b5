"""How values are spread over bins, and how far one spread is from another."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import NormalDist

from attrs import frozen

from housepredict.domain.features import Value

QUANTILES = 10
"""The most bins that numbers and dates have, beside the one for what is missing."""

MOST_CATEGORIES = 20
"""Of more categories, the commonest have a bin each, and all others one together."""

CERTAINTY = 0.99
"""How often chance alone stays below the level that `chance_level` gives."""

MISSING, OTHER = "missing", "other"


@frozen
class Ranges:
    """Bins of numbers, or of dates as text: a value is in the first whose edge it does not exceed, or behind them all.

    `edges` ascend; the bin behind the last has none. One more bin is for what is missing.
    """

    edges: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.edges) + 2

    def bin_of(self, value: Value | None) -> int:
        """The position of the bin that a value is in."""
        # a kind's values compare with its edges
        return len(self.edges) + 1 if value is None else bisect_left(self.edges, value)

    def labels(self) -> list[str]:
        """What is in each bin, in a few words."""
        if not self.edges:
            return ["any", MISSING]
        between = [f"over {low} to {high}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return [f"to {self.edges[0]}", *between, f"over {self.edges[-1]}", MISSING]


@frozen
class Groups:
    """Bins of categories or of true and false: one for each of some values, one for all others, one for missing."""

    values: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.values) + 2

    def bin_of(self, value: Value | None) -> int:
        """The position of the bin that a value is in."""
        if value is None:
            return len(self.values) + 1
        return self.values.index(value) if value in self.values else len(self.values)

    def labels(self) -> list[str]:
        """What is in each bin, in a few words."""
        return [*(str(each) for each in self.values), OTHER, MISSING]


Bins = Ranges | Groups


@frozen
class Distribution:
    """How many values each bin holds; as many `counts` as there are bins, and one of them above zero."""

    bins: Bins
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        """How many values there are."""
        return sum(self.counts)


def ranges_of(values: Iterable[Value]) -> Ranges:
    """Bins that hold a tenth of the values each, as far as ties allow.

    A value that takes several tenths has a bin of its own, and fewer are left for the others.
    """
    ordered: list[Value] = sorted(values)
    if not ordered:
        return Ranges(())
    quantiles = Counter(ordered[-(-tenth * len(ordered) // QUANTILES) - 1] for tenth in range(1, QUANTILES))
    edges = set(quantiles)
    for value, times in quantiles.items():
        first = bisect_left(ordered, value)
        if times > 1 and first:
            edges.add(ordered[first - 1])
    # behind the largest there is nothing to compare with
    edges.discard(ordered[-1])
    return Ranges(tuple(sorted(edges)))


def groups_of(values: Iterable[Value]) -> Groups:
    """Bins for the commonest values."""
    counts = Counter(values)
    commonest = sorted(counts, key=lambda each: (-counts[each], str(each)))[:MOST_CATEGORIES]
    return Groups(tuple(commonest))


def distribution(bins: Bins, values: Iterable[Value | None]) -> Distribution:
    """How values are spread over bins."""
    found = Counter(map(bins.bin_of, values))
    return Distribution(bins, tuple(found[at] for at in range(len(bins))))


def stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """The population stability index of two counts of the same bins: the sum of (a - e) ln(a / e) over their shares.

    It is 0 for equal shares and has no upper bound. A bin that is empty in one of the two counts as half a value there,
    for the logarithm of 0 is none; one that is empty in both does not count. (Siddiqi, Credit Risk Scorecards, Wiley
    2006, chapter 8.)
    """
    expected_n, actual_n = sum(expected), sum(actual)
    total = 0.0
    for e, a in zip(expected, actual, strict=True):
        if e or a:
            expected_share, actual_share = (e or 0.5) / expected_n, (a or 0.5) / actual_n
            total += (actual_share - expected_share) * math.log(actual_share / expected_share)
    return total


def chance_level(expected: Sequence[int], actual: Sequence[int]) -> float:
    """What a stability index stays below with 99 % probability if nothing changed, and values came independently.

    Divided by 1/N + 1/M, the sizes of the two, it is then about chi-squared distributed with one degree of freedom less
    than there are bins (Yurdakul, Statistical Properties of the Population Stability Index, dissertation, Western
    Michigan University 2018).
    """
    bins = sum(1 for e, a in zip(expected, actual, strict=True) if e or a)
    return chi_squared_quantile(CERTAINTY, bins - 1) * (1 / sum(expected) + 1 / sum(actual))


def chi_squared_quantile(probability: float, degrees: int) -> float:
    """What a chi-squared variable stays below with a probability, to within one percent from 0.9 on; 0 for no degree.

    (Wilson and Hilferty, The Distribution of Chi-Square, PNAS 17 (1931), 684-688.)
    """
    if degrees == 0:
        return 0.0
    spread = 2 / (9 * degrees)
    root = 1 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)
    return degrees * float(root**3)
