"""The serving form of a model of log prices: a linear model, and trees for what it leaves."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from attrs import define, field
from attrs.validators import optional
from numpy.typing import NDArray

from housepredict.adapters.serving.arrays import array_of
from housepredict.adapters.serving.encoding import DerivedFeatures, Matrix
from housepredict.adapters.serving.trees import Trees
from housepredict.domain.estimates import Unit


@define(eq=False)
class Linear:
    """A price as a sum: the intercept, and a term for each feature.

    `intercept` is a scalar. `means` and `coefficients`, of shape (features,), are for numbers; a missing one counts as
    its mean. `centers`, of shape (features,), is subtracted from each number before it is multiplied, so that a large
    number with a small spread keeps its digits; forms of older releases have none. `sizes`, of shape (features,), holds
    0 for a number, and for a category how many of `offsets` are its own: the terms of its codes, in order, and last the
    term of a house without it. Raises ValueError if the arrays do not fit together.
    """

    intercept: NDArray[np.float64] = field(validator=array_of(np.float64, 0))
    means: NDArray[np.float64] = field(validator=array_of(np.float64, 1))
    coefficients: NDArray[np.float64] = field(validator=array_of(np.float64, 1))
    sizes: NDArray[np.int64] = field(validator=array_of(np.int64, 1))
    offsets: NDArray[np.float64] = field(validator=array_of(np.float64, 1))
    centers: NDArray[np.float64] | None = field(default=None, validator=optional(array_of(np.float64, 1)))
    unit: ClassVar = Unit.PRICE
    features: int = field(init=False)
    _categories: NDArray[np.intp] = field(init=False)
    _last: NDArray[np.int64] = field(init=False)
    _starts: NDArray[np.int64] = field(init=False)

    def __attrs_post_init__(self) -> None:
        if not self.means.shape == self.coefficients.shape == self.sizes.shape:
            raise ValueError("there must be a mean, a coefficient and a size for each feature")
        if self.centers is not None and self.centers.shape != self.sizes.shape:
            raise ValueError("there must be a center for each feature, or for none")
        if (self.sizes < 0).any() or self.sizes.sum() != self.offsets.size:
            raise ValueError("the offsets must be as many as the sizes say")
        self.features = self.sizes.size
        self._categories = np.flatnonzero(self.sizes)
        sizes = self.sizes[self._categories]
        self._last = sizes - 1
        self._starts = sizes.cumsum() - sizes

    def terms(self, matrix: Matrix) -> Matrix:
        """What each feature adds to the price, of the matrix's shape."""
        terms: Matrix = np.where(np.isnan(matrix), self.means, matrix)
        if self.centers is not None:
            terms -= self.centers
        terms *= self.coefficients
        if self._categories.size:
            # fmin takes the number where the other is NaN: what is missing or beyond the codes gets the last offset
            codes = np.fmin(matrix[:, self._categories], self._last)
            terms[:, self._categories] = self.offsets[self._starts + codes.astype(np.int64)]
        return terms

    def prices(self, matrix: Matrix) -> NDArray[np.float64]:
        """Prices, of shape (houses,)."""
        # cumsum adds from left to right whatever the number of rows, so a house's price is the same in every batch
        total: Matrix = self.terms(matrix).cumsum(axis=1)[:, -1]
        return total + self.intercept

    def valuation(self, matrix: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Prices and their spreads, both of shape (houses,): errors on the price itself are about as large whatever
        the price, so in percent they are the smaller the dearer the house.
        """
        prices = self.prices(matrix)
        return prices, 1 / np.maximum(prices, 1.0)


@define(eq=False)
class LogPrices:
    """The natural logarithm of a price as a sum: of a linear model, and of two weighted sets of trees.

    One set was fitted to squared errors, and the other, whose weight is `share`, a scalar, to absolute errors: means
    and medians. `weights` are those of both sets. `spread` are trees for the logarithm of the expected error; their
    last column is the logarithm of the price.

    Raises:
        ValueError: if the parts don't fit together.
    """

    columns: DerivedFeatures
    linear: Linear
    share: NDArray[np.float64] = field(validator=array_of(np.float64, 0))
    squared: Trees | None = None
    absolute: Trees | None = None
    spread: Trees | None = None
    unit: ClassVar = Unit.LOG_PRICE
    features: int = field(init=False)
    weights: tuple[float, float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.features, self.weights = self.columns.features, (1 - float(self.share), float(self.share))
        for_trees = self.columns.for_trees.stop - self.columns.for_trees.start
        if self.linear.features != self.columns.for_lines.stop:
            raise ValueError("the linear model must take the logarithms and the features")
        for trees, expected in ((self.squared, for_trees), (self.absolute, for_trees), (self.spread, for_trees + 1)):
            if trees and trees.features != expected:
                raise ValueError("the trees must take the features and the turned axes")

    def log_prices(self, columns: Matrix) -> NDArray[np.float64]:
        """The natural logarithms of the prices, of shape (houses,), from all columns."""
        total = self.linear.prices(columns[:, self.columns.for_lines])
        for_trees = columns[:, self.columns.for_trees]
        for trees, weight in zip((self.squared, self.absolute), self.weights, strict=True):
            if trees:
                total = total + weight * trees.log_prices(for_trees)
        return total

    def valuation(self, matrix: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Prices and their spreads, both of shape (houses,)."""
        columns = self.columns(matrix)
        log_prices = self.log_prices(columns)
        with np.errstate(over="ignore"):  # beyond any price: infinite
            return np.exp(log_prices), self.spreads(columns, log_prices)

    def spreads(self, columns: Matrix, log_prices: NDArray[np.float64]) -> NDArray[np.float64]:
        """The errors to be expected, of shape (houses,), from all columns; 1 where nothing is known of them."""
        if self.spread is None:
            return np.ones(len(columns))
        return np.exp(self.spread.log_prices(np.column_stack([columns[:, self.columns.for_trees], log_prices])))
