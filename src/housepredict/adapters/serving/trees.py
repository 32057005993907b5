"""The serving form of boosted trees: bit masks instead of walking trees.

The thresholds of all trees cut each feature's axis into cells, with one more for missing values. All splits of a tree
on a feature depend on its cell alone, so for each cell a tree has one mask: a bit for each of its leaves, numbered from
left to right, cleared if the cell turns right at a split with the leaf to its left. The house ends in the first leaf
whose bit is set in the masks of all features. (Lucchese et al., QuickScorer, SIGIR 2015, with the masks of a feature
combined beforehand.)

It takes only look-ups and bitwise ands: some 30 µs for one house and 500 trees, where walking them takes over a
millisecond, and no damaged array can make it loop forever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.adapters.serving.arrays import array_of
from housepredict.adapters.serving.encoding import Matrix

_CHUNK_OF_PATHS = 1 << 17
"""Leaves per batch."""


@define(eq=False)
class Paths:
    """The paths to the leaves of trees.

    `masks`, of the trees' shape (cells, trees), have a bit for each leaf: whether the cell agrees with all splits of
    the path on its column. `ratios`, of shape (players, trees, leaves), are the shares of the training houses that
    followed the path's splits on a player, 1 without any. `mean` is the output if no player is known.
    """

    masks: NDArray[np.uint32] = field(validator=array_of(np.uint32, 2))
    ratios: NDArray[np.float64] = field(validator=array_of(np.float64, 3))
    mean: NDArray[np.float64] = field(validator=array_of(np.float64, 0))

    def __attrs_post_init__(self) -> None:
        if ((self.ratios <= 0) | (self.ratios > 1)).any():
            raise ValueError("ratios must be shares of houses, and none of them 0")

    def are_of(self, trees: Trees, players: int) -> bool:
        """Whether these have the shape of the paths through the trees, with a number of players."""
        return self.masks.shape == trees.masks.shape and self.ratios.shape == (players, *trees.leaves.shape)


@define(eq=False)
class _Masks:
    """The masks of paths in a fraction of their memory: most masks equal that of the cell before. `numbers`, of the
    masks' shape, count the different ones of a feature and a tree from its first cell on; `firsts`, of shape (features,
    trees), are their starts in `different`.
    """

    numbers: NDArray[np.unsignedinteger]
    firsts: NDArray[np.int64]
    different: NDArray[np.uint32]

    @classmethod
    def of(cls, masks: NDArray[np.uint32], starts: NDArray[np.int64]) -> _Masks:
        """The same masks; `starts`, of shape (features,), are the first cells of the features."""
        # feature by feature, so that intermediate arrays are small
        blocks = np.split(masks, starts[1:])
        is_new = [np.vstack([np.ones_like(block[:1], bool), block[1:] != block[:-1]]) for block in blocks]
        counts = np.array([np.count_nonzero(new, axis=0) for new in is_new])
        numbers = np.empty(masks.shape, np.min_scalar_type(counts.max()))
        for block, new in zip(np.split(numbers, starts[1:]), is_new, strict=True):
            np.cumsum(new, axis=0, dtype=numbers.dtype, out=block)
        # tree after tree; the first number is 1
        different = np.concatenate([block.T[new.T] for block, new in zip(blocks, is_new, strict=True)])
        firsts = counts.ravel().cumsum() - counts.ravel() - 1
        return cls(numbers, firsts.reshape(counts.shape), different)

    def take(self, cells: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The masks of cells of shape (houses, features), of shape (houses, features, trees)."""
        return self.different.take(self.firsts + self.numbers.take(cells, axis=0))


@define(eq=False)
class _SameLength:
    """The paths with the same number of players: their `leaves`, `players` and `ratios`, of shape (length, paths)."""

    leaves: NDArray[np.int64]
    players: NDArray[np.int64]
    ratios: NDArray[np.float64]
    _quadrature: list[tuple[float, float]] = field(init=False)

    @_quadrature.default
    def _nodes_and_weights(self) -> list[tuple[float, float]]:
        nodes, weights = np.polynomial.legendre.leggauss(-(-len(self.players) // 2))
        return list(zip((nodes + 1) / 2, weights / 2, strict=True))

    def contributions(self, values: NDArray[np.float64], agrees: NDArray[np.float64]) -> NDArray[np.float64]:
        """The contribution of each player on each path, of shape (houses, length, paths) like `agrees`."""
        slopes = np.zeros_like(agrees)
        for node, weight in self._quadrature:
            factors = node * agrees + (1 - node) * self.ratios
            slopes += weight * factors.prod(axis=1, keepdims=True) / factors
        return slopes * (agrees - self.ratios) * values


@define(eq=False)
class TreeContributions:
    """The contribution of each player. `players`, of shape (features,), are those of the trees' features."""

    _trees: Trees
    _masks: _Masks
    _lengths: Sequence[_SameLength]
    _players: NDArray[np.int64]
    _count: int

    @classmethod
    def of(cls, trees: Trees, paths: Paths, players: NDArray[np.int64]) -> TreeContributions:
        """The contributions by the paths through trees. Their arrays, as large as the model, are not kept."""
        masks = _Masks.of(paths.masks, trees.first_cells)
        return cls(trees, masks, list(_sorted(paths.ratios)), players, len(paths.ratios))

    def __call__(self, matrix: Matrix) -> Matrix:
        """Contributions, of shape (houses, players)."""
        step = max(1, _CHUNK_OF_PATHS // self._trees.leaves.size)
        chunks = [self._contributions(matrix[start : start + step]) for start in range(0, len(matrix), step)]
        return np.concatenate(chunks) if chunks else np.empty((0, self._count))

    def _contributions(self, matrix: Matrix) -> Matrix:
        houses, players, (trees, width) = len(matrix), self._count, self._trees.leaves.shape
        agreeing = self._agreeing(matrix).reshape(houses, -1)
        found = np.zeros(houses * players)
        rows = players * np.arange(houses)[:, np.newaxis, np.newaxis]
        for paths in self._lengths:
            tree, leaf = np.divmod(paths.leaves, width)
            masks = agreeing.take(paths.players * trees + tree, axis=1)
            agrees = (masks >> leaf.astype(np.uint32) & np.uint32(1)).astype(np.float64)
            added = paths.contributions(self._trees.leaves.ravel()[paths.leaves], agrees)
            found += np.bincount((rows + paths.players).ravel(), added.ravel(), found.size)
        return found.reshape(houses, players)

    def _agreeing(self, matrix: Matrix) -> NDArray[np.uint32]:
        """The leaves that each player of each house agrees with, as bits, of shape (houses, players, trees)."""
        order = np.argsort(self._players, kind="stable")
        cells = self._trees.cells(matrix)
        masks = self._masks.take(cells)[:, order]
        starts = np.searchsorted(self._players[order], np.arange(self._count))
        agreeing: NDArray[np.uint32] = np.bitwise_and.reduceat(masks, starts, axis=1)
        return agreeing


def _sorted(ratios: NDArray[np.float64]) -> Iterator[_SameLength]:
    flat = ratios.reshape(len(ratios), -1)
    lengths = np.count_nonzero(flat < 1, axis=0)
    for length in np.unique(lengths[lengths > 0]):
        leaves = np.flatnonzero(lengths == length)
        players = np.nonzero(flat[:, leaves].T < 1)[1].reshape(-1, length).T
        yield _SameLength(leaves, players, flat[players, leaves])


MAX_LEAVES = 32
"""The most leaves a tree may have: the bits of a mask."""

_CHUNK = 1 << 18
"""Masks that are looked up at once: 1 MiB, which a processor's cache holds."""


@define(eq=False)
class Trees:
    """Boosted trees for the logarithm of a price, or of an error.

    `cuts` holds the thresholds of each feature after those of the one before it, ascending and ending in infinity, and
    `sizes`, of shape (features,), the number of each: cell i lies above cut i - 1 and not above cut i, and the cell
    after the last is for a missing value. A category's cuts are its codes. `masks`, of shape (cells, trees), has the
    cells of all features in the same order. `leaves`, of shape (trees, at most 32), holds the leaves' values; the
    baseline is in those of the first tree. `axes` are the cuts by feature, and `first_cells`, of shape (features,), the
    first cell of each.

    Raises:
        ValueError: if the arrays don't fit together.
    """

    cuts: NDArray[np.float64] = field(validator=array_of(np.float64, 1, finite=False))
    sizes: NDArray[np.int64] = field(validator=array_of(np.int64, 1))
    masks: NDArray[np.uint32] = field(validator=array_of(np.uint32, 2))
    leaves: NDArray[np.float64] = field(validator=array_of(np.float64, 2))
    features: int = field(init=False)
    axes: list[NDArray[np.float64]] = field(init=False)
    first_cells: NDArray[np.int64] = field(init=False)
    _first_leaves: NDArray[np.int64] = field(init=False)

    def __attrs_post_init__(self) -> None:
        cells, trees = self.masks.shape
        if not self.sizes.size or (self.sizes < 1).any() or self.sizes.sum() != self.cuts.size:
            raise ValueError("the cuts must be as many as the sizes say, and at least one a feature")
        self.features = self.sizes.size
        self.axes = np.split(self.cuts, self.sizes.cumsum()[:-1])
        if any(axis[-1] != np.inf or not (axis[:-1] < axis[1:]).all() for axis in self.axes):
            raise ValueError("the cuts of each feature must ascend and end in infinity")
        if cells != self.cuts.size + self.features:
            raise ValueError("there must be a mask for each cell")
        if not trees or len(self.leaves) != trees or not 0 < self.leaves.shape[1] <= MAX_LEAVES:
            raise ValueError(f"there must be leaves for each tree, at most {MAX_LEAVES}")
        # whatever the cells, the bit of a leaf must remain
        standing = np.bitwise_and.reduce(self.masks, axis=0)
        if not (standing & ((1 << self.leaves.shape[1]) - 1)).all():
            raise ValueError("a house must always end in a leaf")
        self.first_cells = (self.sizes + 1).cumsum() - (self.sizes + 1)
        self._first_leaves = np.arange(trees) * self.leaves.shape[1]

    def cells(self, matrix: Matrix) -> NDArray[np.int64]:
        """The cells that houses lie in, as rows of `masks`, of shape (houses, features)."""
        cells = np.array([axis.searchsorted(column) for axis, column in zip(self.axes, matrix.T, strict=True)])
        return cells.T + self.first_cells

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
