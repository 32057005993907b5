"""The serving form of boosted trees, which consists of bit masks and is evaluated without walking the trees.

The thresholds in all trees divide the axis of each feature into cells. Each feature has one more cell for missing
values. The cell that a house is in determines the outcome of all splits on that feature, so each tree needs only one
mask per cell. A mask has one bit per leaf, from left to right. The bit of a leaf is cleared if houses in the cell turn
right at a split that has the leaf on its left side. For each tree, the masks of the cells that a house is in are
combined with a bitwise AND. The house reaches the first leaf whose bit is still set. (See Lucchese et al., QuickScorer,
SIGIR 2015. QuickScorer has one mask per split. Here, all masks for the same cell are combined in advance.)

Evaluation consists of table lookups and bitwise ANDs. For one house and 500 trees, it takes about 30 µs, while walking
the trees would take more than a millisecond. Damaged arrays can't cause an endless loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.adapters.serving.arrays import array_of
from housepredict.adapters.serving.encoding import Matrix

_PATHS_PER_CHUNK = 1 << 17


@define(eq=False)
class Paths:
    """The paths from root to leaf in each tree, from which contributions are computed.

    A player is a feature or a group of features that contribute jointly; see `DerivedFeatures.players`.

    Attributes:
        masks: one mask per cell and tree, of shape (cells, trees). The mask has one bit per leaf. The bit is set if
            houses in the cell follow the path to the leaf at each split on the cell's feature.
        ratios: one ratio per player, tree and leaf, of shape (players, trees, leaves). The ratio is the share of
            training houses that follow the path to the leaf at splits on the player's features, or 1 if the path has no
            such splits.
        mean: the output when no feature is known, as a scalar.
    """

    masks: NDArray[np.uint32] = field(validator=array_of(np.uint32, 2))
    ratios: NDArray[np.float64] = field(validator=array_of(np.float64, 3))
    mean: NDArray[np.float64] = field(validator=array_of(np.float64, 0))

    def __attrs_post_init__(self) -> None:
        if ((self.ratios <= 0) | (self.ratios > 1)).any():
            raise ValueError("ratios must be above 0 and at most 1")

    def are_of(self, trees: Trees, players: int) -> bool:
        """Return whether the arrays have the right shapes for these trees and this number of players."""
        return self.masks.shape == trees.masks.shape and self.ratios.shape == (players, *trees.leaves.shape)


@define(eq=False)
class _Masks:
    """Path masks in compressed form. If consecutive cells have the same mask, which is common, it is stored once.

    The mask of a cell of feature f in tree t is `different[firsts[f, t] + numbers[cell, t]]`.

    Attributes:
        numbers: the number of each cell's mask, of shape (cells, trees). For each feature and tree, the stored masks
            are numbered from 1.
        firsts: the position in `different` of the first mask of each feature and tree, minus 1, of shape (features,
            trees).
        different: all stored masks, of shape (masks,).
    """

    numbers: NDArray[np.unsignedinteger]
    firsts: NDArray[np.int64]
    different: NDArray[np.uint32]

    @classmethod
    def of(cls, masks: NDArray[np.uint32], starts: NDArray[np.int64]) -> _Masks:
        """Compress masks.

        Args:
            masks: the masks, of shape (cells, trees).
            starts: the position of each feature's first cell, of shape (features,).
        """
        # feature by feature, to keep intermediate arrays small
        blocks = np.split(masks, starts[1:])
        is_new = [np.vstack([np.ones_like(block[:1], bool), block[1:] != block[:-1]]) for block in blocks]
        counts = np.array([np.count_nonzero(new, axis=0) for new in is_new])
        numbers = np.empty(masks.shape, np.min_scalar_type(counts.max()))
        for block, new in zip(np.split(numbers, starts[1:]), is_new, strict=True):
            np.cumsum(new, axis=0, dtype=numbers.dtype, out=block)
        # in the order of the trees; numbers start at 1
        different = np.concatenate([block.T[new.T] for block, new in zip(blocks, is_new, strict=True)])
        firsts = counts.ravel().cumsum() - counts.ravel() - 1
        return cls(numbers, firsts.reshape(counts.shape), different)

    def take(self, cells: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Return the masks of the cells that houses are in, of shape (houses, features, trees).

        Args:
            cells: the positions of the cells, of shape (houses, features); see `Trees.cells`.
        """
        return self.different.take(self.firsts + self.numbers.take(cells, axis=0))


@define(eq=False)
class _SameLength:
    """The paths that involve the same number of players. This number is called the length of a path.

    A path involves a player if it has a split on one of the player's features.

    Attributes:
        leaves: the position of each path's leaf among the leaves of all trees, of shape (paths,).
        players: the players that each path involves, of shape (length, paths).
        ratios: the ratio of each of these players (see Paths), of shape (length, paths).
    """

    leaves: NDArray[np.int64]
    players: NDArray[np.int64]
    ratios: NDArray[np.float64]
    _quadrature: list[tuple[float, float]] = field(init=False)

    @_quadrature.default
    def _nodes_and_weights(self) -> list[tuple[float, float]]:
        nodes, weights = np.polynomial.legendre.leggauss(-(-len(self.players) // 2))
        return list(zip((nodes + 1) / 2, weights / 2, strict=True))

    def contributions(self, values: NDArray[np.float64], agrees: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much each player contributes on each path, of shape (houses, length, paths).

        Args:
            values: the value of each path's leaf, of shape (paths,).
            agrees: an array of shape (houses, length, paths). An item is 1 if the house follows the path at all splits
                on the player's features, and otherwise 0.
        """
        slopes = np.zeros_like(agrees)
        for node, weight in self._quadrature:
            factors = node * agrees + (1 - node) * self.ratios
            slopes += weight * factors.prod(axis=1, keepdims=True) / factors
        return slopes * (agrees - self.ratios) * values


@define(eq=False)
class TreeContributions:
    """Computes how much each player contributes to the output of trees (Shapley values)."""

    _trees: Trees
    _masks: _Masks
    _lengths: Sequence[_SameLength]
    _players: NDArray[np.int64]
    _count: int

    @classmethod
    def of(cls, trees: Trees, paths: Paths, players: NDArray[np.int64]) -> TreeContributions:
        """Create the TreeContributions for `trees` from the paths through these trees.

        The masks of the paths are compressed. `players` is the index of the player to which each input column of the
        trees belongs, of shape (features,).
        """
        masks = _Masks.of(paths.masks, trees.first_cells)
        return cls(trees, masks, list(_group_by_length(paths.ratios)), players, len(paths.ratios))

    def __call__(self, matrix: Matrix) -> Matrix:
        """Return the contributions for encoded houses, of shape (houses, players)."""
        step = max(1, _PATHS_PER_CHUNK // self._trees.leaves.size)
        chunks = [self._contributions(matrix[start : start + step]) for start in range(0, len(matrix), step)]
        return np.concatenate(chunks) if chunks else np.empty((0, self._count))

    def _contributions(self, matrix: Matrix) -> Matrix:
        houses, players, (trees, width) = len(matrix), self._count, self._trees.leaves.shape
        agreeing = self._agreeing(matrix).reshape(houses, -1)
        total = np.zeros(houses * players)
        rows = players * np.arange(houses)[:, np.newaxis, np.newaxis]
        for paths in self._lengths:
            tree, leaf = np.divmod(paths.leaves, width)
            masks = agreeing.take(paths.players * trees + tree, axis=1)
            agrees = (masks >> leaf.astype(np.uint32) & np.uint32(1)).astype(np.float64)
            amounts = paths.contributions(self._trees.leaves.ravel()[paths.leaves], agrees)
            total += np.bincount((rows + paths.players).ravel(), amounts.ravel(), total.size)
        return total.reshape(houses, players)

    def _agreeing(self, matrix: Matrix) -> NDArray[np.uint32]:
        """Return a mask for each house, player and tree, of shape (houses, players, trees).

        The bit of a leaf is set if the house follows the path to the leaf at all splits on the player's features.
        """
        order = np.argsort(self._players, kind="stable")
        cells = self._trees.cells(matrix)
        masks = self._masks.take(cells)[:, order]
        starts = np.searchsorted(self._players[order], np.arange(self._count))
        agreeing: NDArray[np.uint32] = np.bitwise_and.reduceat(masks, starts, axis=1)
        return agreeing


def _group_by_length(ratios: NDArray[np.float64]) -> Iterator[_SameLength]:
    flat = ratios.reshape(len(ratios), -1)
    lengths = np.count_nonzero(flat < 1, axis=0)
    for length in np.unique(lengths[lengths > 0]):
        leaves = np.flatnonzero(lengths == length)
        players = np.nonzero(flat[:, leaves].T < 1)[1].reshape(-1, length).T
        yield _SameLength(leaves, players, flat[players, leaves])


MAX_LEAVES = 32
"""Maximum number of leaves per tree, which is the number of bits in a mask."""

_CHUNK = 1 << 18
"""Maximum number of masks to look up at a time. Together, they take 1 MiB, which fits into the CPU cache."""


@define(eq=False)
class Trees:
    """Boosted trees that predict the logarithm of a price or of an error.

    Attributes:
        cuts: the thresholds of all features, one feature after the other. The thresholds of each feature ascend and end
            with infinity. Cell i of a feature contains the values above cut i - 1 and up to cut i. The last cell of a
            feature is for missing values. For a categorical feature, the cuts are the codes of the categories.
        sizes: the number of cuts per feature, of shape (features,).
        masks: the masks of all cells, one feature after the other, of shape (cells, trees).
        leaves: the leaf values, of shape (trees, leaves), with at most 32 leaves. The values in the first tree include
            the baseline.
        features: the number of features.
        axes: the cuts of each feature, as separate arrays.
        first_cells: the position of each feature's first cell in `masks`, of shape (features,).

    Raises:
        ValueError: if the arrays don't match each other, or if there could be a house that reaches no leaf.
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
            raise ValueError("the number of cuts must be the sum of the sizes, and each feature must have a cut")
        self.features = self.sizes.size
        self.axes = np.split(self.cuts, self.sizes.cumsum()[:-1])
        if any(axis[-1] != np.inf or not (axis[:-1] < axis[1:]).all() for axis in self.axes):
            raise ValueError("the cuts of each feature must ascend and end with infinity")
        if cells != self.cuts.size + self.features:
            raise ValueError("each cell must have a mask")
        if not trees or len(self.leaves) != trees or not 0 < self.leaves.shape[1] <= MAX_LEAVES:
            raise ValueError(f"each tree must have 1 to {MAX_LEAVES} leaves")
        # in any combination of cells, the bit of at least one leaf must remain set
        remaining = np.bitwise_and.reduce(self.masks, axis=0)
        if not (remaining & ((1 << self.leaves.shape[1]) - 1)).all():
            raise ValueError("every house must end in a leaf")
        self.first_cells = (self.sizes + 1).cumsum() - (self.sizes + 1)
        self._first_leaves = np.arange(trees) * self.leaves.shape[1]

    def cells(self, matrix: Matrix) -> NDArray[np.int64]:
        """Return the cell that each house is in for each feature, of shape (houses, features).

        A cell is identified by its position in `masks`.
        """
        cells = np.array([axis.searchsorted(column) for axis, column in zip(self.axes, matrix.T, strict=True)])
        return cells.T + self.first_cells

    def exits(self, matrix: Matrix) -> NDArray[np.uint8]:
        """Return the index of the leaf that each house reaches in each tree, of shape (houses, trees).

        To limit the use of memory, pass only a few hundred houses at a time.
        """
        remaining = np.bitwise_and.reduce(self.masks.take(self.cells(matrix), axis=0), axis=1)
        # the position of the lowest set bit is the number of zeros below it
        exits: NDArray[np.uint8] = np.bitwise_count(~remaining & (remaining - 1))
        return exits

    def log_prices(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the output for each house, of shape (houses,): the sum of the values of the leaves that it reaches."""
        step = max(1, _CHUNK // (self.features * len(self.leaves)))
        chunks = [self._log_prices(matrix[start : start + step]) for start in range(0, len(matrix), step)]
        return np.concatenate(chunks) if chunks else np.empty(0)

    def _log_prices(self, matrix: Matrix) -> NDArray[np.float64]:
        values = self.leaves.take(self.exits(matrix) + self._first_leaves)
        # cumsum adds tree by tree, as scikit-learn does; sum would add pairwise, with other rounding errors
        total: NDArray[np.float64] = values.cumsum(axis=1)[:, -1]
        return total
