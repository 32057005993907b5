"""The serving form of boosted trees: no tree is walked.

The thresholds of all trees cut each feature's axis into cells, with one cell more for what is missing. All that a tree
asks about a feature depends on its cell alone. So for each cell a tree has one mask: a bit for each of its leaves,
numbered from left to right, cleared where the cell's value turns right somewhere and so leaves the leaf behind. The
house ends in the first leaf that all of its features leave standing. (Lucchese et al., QuickScorer, SIGIR 2015, with
the masks of a feature combined beforehand.)

Look-ups and bit-wise ands are all there is to it. A lone house takes some 30 µs for 500 trees, where walking them level
after level takes over a millisecond, and no array, however damaged, can send it astray or keep it forever.
"""

from __future__ import annotations

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.adapters.serving.checks import array_of
from housepredict.adapters.serving.encoding import Matrix

MAX_LEAVES = 32
"""The most leaves a tree may have: the bits of a mask."""

_CHUNK = 1 << 18
"""Masks that are looked up at once: 1 MiB, which a processor's cache holds."""


@define(eq=False)
class Trees:
    """Boosted trees on the logarithm of a price, or of something else.

    `cuts` holds the thresholds of each feature after those of the one before it, ascending and ending in infinity, and
    `sizes`, of shape (features,), how many are its own: cell i is what lies above cut i - 1 and not above cut i, the
    cell after the last is for what is missing. A category's cuts are its codes. `masks`, of shape (cells, trees), has
    the cells of all features in the same order. `leaves`, of shape (trees, at most 32), holds the leaves' values; the
    baseline is in those of the first tree. Raises ValueError if the arrays do not fit together.
    """

    cuts: NDArray[np.float64] = field(validator=array_of(np.float64, 1, finite=False))
    sizes: NDArray[np.int64] = field(validator=array_of(np.int64, 1))
    masks: NDArray[np.uint32] = field(validator=array_of(np.uint32, 2))
    leaves: NDArray[np.float64] = field(validator=array_of(np.float64, 2))
    _axes: list[NDArray[np.float64]] = field(init=False)
    _first_cells: NDArray[np.int64] = field(init=False)
    _first_leaves: NDArray[np.int64] = field(init=False)

    def __attrs_post_init__(self) -> None:
        cells, trees = self.masks.shape
        if not self.sizes.size or (self.sizes < 1).any() or self.sizes.sum() != self.cuts.size:
            raise ValueError("the cuts must be as many as the sizes say, and at least one a feature")
        self._axes = np.split(self.cuts, self.sizes.cumsum()[:-1])
        if any(axis[-1] != np.inf or not (axis[:-1] < axis[1:]).all() for axis in self._axes):
            raise ValueError("the cuts of each feature must ascend and end in infinity")
        if cells != self.cuts.size + self.features:
            raise ValueError("there must be a mask for each cell")
        if not trees or len(self.leaves) != trees or not 0 < self.leaves.shape[1] <= MAX_LEAVES:
            raise ValueError(f"there must be leaves for each tree, at most {MAX_LEAVES}")
        # some leaf that exists must be left standing, whatever the cells
        standing = np.bitwise_and.reduce(self.masks, axis=0)
        if not (standing & ((1 << self.leaves.shape[1]) - 1)).all():
            raise ValueError("a house must always end in a leaf")
        self._first_cells = (self.sizes + 1).cumsum() - (self.sizes + 1)
        self._first_leaves = np.arange(trees) * self.leaves.shape[1]

    @property
    def features(self) -> int:
        """How many features the model takes."""
        return self.sizes.size

    @property
    def first_cells(self) -> NDArray[np.int64]:
        """The first cell of each feature."""
        return self._first_cells

    def cells(self, matrix: Matrix) -> NDArray[np.int64]:
        """The cells that houses lie in, as rows of `masks`, of shape (houses, features)."""
        cells = np.array([axis.searchsorted(column) for axis, column in zip(self._axes, matrix.T, strict=True)])
        return cells.T + self._first_cells

    def exits(self, matrix: Matrix) -> NDArray[np.uint8]:
        """The number of the leaf that each house ends in, of shape (houses, trees). For some hundred houses at once."""
        standing = np.bitwise_and.reduce(self.masks.take(self.cells(matrix), axis=0), axis=1)
        # the zeros below the lowest bit that is set
        exits: NDArray[np.uint8] = np.bitwise_count(~standing & (standing - 1))
        return exits

    def log_prices(self, matrix: Matrix) -> NDArray[np.float64]:
        """The sums of the leaves that houses end in, of shape (houses,)."""
        step = max(1, _CHUNK // (self.features * len(self.leaves)))
        chunks = [self._log_prices(matrix[start : start + step]) for start in range(0, len(matrix), step)]
        return np.concatenate(chunks) if chunks else np.empty(0)

    def _log_prices(self, matrix: Matrix) -> NDArray[np.float64]:
        values = self.leaves.take(self.exits(matrix) + self._first_leaves)
        # cumsum adds tree after tree, as scikit-learn does; sum would add in pairs
        total: NDArray[np.float64] = values.cumsum(axis=1)[:, -1]
        return total
