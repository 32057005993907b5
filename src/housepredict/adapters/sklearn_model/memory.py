"""How much memory a training takes, by what trainings took."""

from __future__ import annotations

from housepredict.adapters.sklearn_model.search import enough_of
from housepredict.domain.sales import Extent

_MIB = 2**20
_PROCESS = 125 * _MIB  # with its libraries
_HELPERS = 26 * _MIB  # what joblib starts beside its jobs
_READ, _BOOSTED, _HANDED_ON = 190, 50, 170  # bytes a cell
_TREE = _MIB // 8


def memory_of(extent: Extent, trees: int, jobs: int) -> int:
    """About how many bytes a training takes on sales of this extent, with at most so many trees a set, and so many jobs
    side by side.

    Measured on the King County sales, with rows left out or repeated with small changes, and columns left out or added:
    the most private memory (RssAnon) that all processes of a training had at a time, in MiB, and what this says of it.
    A line is that of `linear` without trees, and of `ridge` with two jobs.

    | rows    | columns | trees | jobs | measured | here  |
    |---------|---------|-------|------|----------|-------|
    | 1,080   | 21      | 0     | 1    | 126      | 129   |
    | 21,613  | 21      | 0     | 1    | 203      | 207   |
    | 86,452  | 21      | 0     | 1    | 433      | 454   |
    | 259,356 | 21      | 0     | 1    | 1,040    | 1,112 |
    | 86,452  | 8       | 0     | 1    | 216      | 250   |
    | 21,613  | 60      | 0     | 1    | 353      | 360   |
    | 86,452  | 21      | 0     | 2    | 828      | 926   |
    | 1,080   | 21      | 256   | 1    | 139      | 162   |
    | 1,080   | 21      | 256   | 2    | 417      | 446   |
    | 21,613  | 21      | 500   | 1    | 267      | 291   |
    | 21,613  | 21      | 500   | 2    | 659      | 715   |
    | 21,613  | 21      | 1,000 | 1    | 334      | 354   |
    | 21,613  | 60      | 500   | 1    | 473      | 484   |
    | 86,452  | 21      | 500   | 1    | 568      | 603   |
    | 86,452  | 21      | 500   | 2    | 913      | 1,075 |
    """
    cells = extent.rows * extent.columns
    own = _PROCESS + cells * (_READ + (_BOOSTED if trees else 0)) + trees * _TREE
    if jobs == 1:
        return own
    looked_at = len(enough_of(max(extent.rows, 1))) * extent.columns
    return own + _HELPERS + jobs * (_PROCESS + looked_at * _HANDED_ON)
