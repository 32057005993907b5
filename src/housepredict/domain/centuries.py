"""The century of two-digit years. The years of a column lie on a circle of 100, and its longest gap divides them."""

from __future__ import annotations

from collections.abc import Collection


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
