"""Which days a sale can have: none in the future, and none far from all other sales, which a typing error would be.

And the century of two-digit years: those of a column lie on a circle of 100, and its longest gap divides them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

_ONE_DAY = timedelta(days=1)
_FAR_DAYS = 365
_FAR_GAPS = 10
_ONE_IN = 100


def latest_day(now: datetime) -> date:
    """Return the latest date that a sale can have: tomorrow by UTC. No zone has a later one (UTC+14)."""
    return now.astimezone(UTC).date() + _ONE_DAY


def plausible_days(days: Sequence[date]) -> tuple[date, date]:
    """Return the first and the last day that `days` (one per sale, at least one, in any order) can be trusted for.

    Up to 1% of the sales at either end, and at least one, are outliers if a gap separates them from all others that
    is longer than a year and than ten times the mean gap between those others.
    """
    ordered = sorted(days)
    few = max(1, len(ordered) // _ONE_IN)
    middle = ordered[few:-few] or ordered
    mean_gap = (middle[-1] - middle[0]).days / max(1, len(middle) - 1)
    far = max(_FAR_DAYS, _FAR_GAPS * mean_gap)

    def last_before_gap(outward: Sequence[date]) -> date:
        """Return the last day before the first long gap, from the middle outward."""
        return next((near for near, next_ in pairwise(outward) if abs((next_ - near).days) > far), outward[-1])

    return last_before_gap(ordered[few::-1]), last_before_gap(ordered[-few - 1 :])


def last_year_of(years: Collection[int], latest_first: int, near: int | None = None) -> int:
    """Return the last of the 100 years that a column's two-digit years stand for.

    They begin with the year after the longest gap, in the latest century in which that is no later than `latest_first`.
    With `near`, they are instead those of the century in which the middle of the column's years is nearest to that.

    Args:
        years: the distinct two-digit years of the column, at least one.
        latest_first: the latest year that the column can begin with.
        near: a year that the column should be near to.
    """
    earliest = latest_first - 99
    ordered = sorted(earliest + (year - earliest) % 100 for year in years)
    before = [ordered[-1] - 100, *ordered[:-1]]
    # of gaps of the same length, the first: the last year is `latest_first` then
    previous, first = max(zip(before, ordered, strict=True), key=lambda gap: gap[1] - gap[0])
    if near is not None:
        middle = first + (previous - first) % 100 // 2
        first += 100 * round((near - middle) / 100)
    return first + 99
