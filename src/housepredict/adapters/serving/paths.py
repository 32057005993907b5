"""What each player contributes to what trees say: Shapley values by the paths to the leaves.

What trees say of a house of which some players alone are known is the mean over the leaves that it may end in: at a
split on any other player it goes both ways, as often as the houses of the training did. (The path-dependent expectation
of Lundberg et al., Nature Machine Intelligence 2, 2020, here for players of several columns.) So a leaf counts as a
product with a factor for each player on its path: of one that is known, 1 or 0, whether the house agrees with all of
the path's splits on its columns or not; of another, the share of the training's houses that went along them.

Let each player be known with probability t, and the mean is a polynomial in t. A player's Shapley value is the integral
of its derivative by the player's own probability, t from 0 to 1 (Owen, Management Science 18, 1972). The degree is
below the number of players on the path, so Gauss-Legendre quadrature with half as many nodes is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.adapters.serving.checks import array_of
from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.trees import Trees

_CHUNK = 1 << 17
"""Leaves that are gone through at once."""


@define(eq=False)
class Paths:
    """The paths to the leaves of trees.

    `masks`, of the trees' shape (cells, trees), have a bit for each leaf: whether the cell agrees with all of the
    path's splits on its column. `ratios`, of shape (players, trees, leaves), are the shares of the training's houses
    that went along the path's splits on a player, 1 where there are none. `mean` is what the trees say where no player
    is known. Raises ValueError for ratios that are none.
    """

    masks: NDArray[np.uint32] = field(validator=array_of(np.uint32, 2))
    ratios: NDArray[np.float64] = field(validator=array_of(np.float64, 3))
    mean: NDArray[np.float64] = field(validator=array_of(np.float64, 0))

    def __attrs_post_init__(self) -> None:
        if ((self.ratios <= 0) | (self.ratios > 1)).any():
            raise ValueError("ratios must be shares of houses, and none of them 0")

    def are_of(self, trees: Trees, players: int) -> bool:
        """Whether these can be the paths through the trees, with so many players on them."""
        return self.masks.shape == trees.masks.shape and self.ratios.shape == (players, *trees.leaves.shape)


@define(eq=False)
class _Masks:
    """The masks of paths, in a fraction of their memory: a tree tells few cells of a feature apart, so that most masks
    are those of the cell before. `numbers`, of the shape of the masks, count the different ones of a feature and a tree
    from its first cell on; `firsts`, of shape (features, trees), are where those begin in `different`.
    """

    numbers: NDArray[np.unsignedinteger]
    firsts: NDArray[np.int64]
    different: NDArray[np.uint32]

    @classmethod
    def of(cls, masks: NDArray[np.uint32], starts: NDArray[np.int64]) -> _Masks:
        """The same masks; `starts`, of shape (features,), are the first cells of the features."""
        # feature by feature, so that what is in between is small
        blocks = np.split(masks, starts[1:])
        is_new = [np.vstack([np.ones_like(block[:1], bool), block[1:] != block[:-1]]) for block in blocks]
        counts = np.array([np.count_nonzero(new, axis=0) for new in is_new])
        numbers = np.empty(masks.shape, np.min_scalar_type(counts.max()))
        for block, new in zip(np.split(numbers, starts[1:]), is_new, strict=True):
            np.cumsum(new, axis=0, dtype=numbers.dtype, out=block)
        # those of one tree after the other; the first of them is number 1
        different = np.concatenate([block.T[new.T] for block, new in zip(blocks, is_new, strict=True)])
        firsts = counts.ravel().cumsum() - counts.ravel() - 1
        return cls(numbers, firsts.reshape(counts.shape), different)

    def take(self, cells: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The masks of cells of shape (houses, features), of shape (houses, features, trees)."""
        return self.different.take(self.firsts + self.numbers.take(cells, axis=0))


@define(eq=False)
class _SameLength:
    """The paths that this many players stand on: `leaves` are their leaves, `players` and `ratios`, of shape (length,
    paths), who stands on them.
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
        """Of each player on each path, of shape (houses, length, paths), as is `agrees`."""
        slopes = np.zeros_like(agrees)
        for node, weight in self._quadrature:
            factors = node * agrees + (1 - node) * self.ratios
            slopes += weight * factors.prod(axis=1, keepdims=True) / factors
        return slopes * (agrees - self.ratios) * values


@define(eq=False)
class TreeContributions:
    """What each player contributes. `players`, of shape (features,), says which of them each of the trees' features
    belongs to; each has at least one.
    """

    _trees: Trees
    _masks: _Masks
    _lengths: Sequence[_SameLength]
    _players: NDArray[np.int64]
    _count: int

    @classmethod
    def of(cls, trees: Trees, paths: Paths, players: NDArray[np.int64]) -> TreeContributions:
        """Those of the paths through the trees, of which no array is kept: they are as large as the model again."""
        masks = _Masks.of(paths.masks, trees.first_cells)
        return cls(trees, masks, list(_sorted(paths.ratios)), players, len(paths.ratios))

    def __call__(self, matrix: Matrix) -> Matrix:
        """Contributions, of shape (houses, players)."""
        step = max(1, _CHUNK // self._trees.leaves.size)
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
