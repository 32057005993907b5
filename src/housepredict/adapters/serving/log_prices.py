"""The serving form of a model of log prices: a linear model, and trees for what it leaves."""

from __future__ import annotations

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.adapters.serving.checks import array_of
from housepredict.adapters.serving.columns import Columns
from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.serving.trees import Trees


@define(eq=False)
class LogPrices:
    """The natural logarithm of a price as a sum: a linear model's, and the mean of two sets of trees.

    The one set was fitted to squared errors and the other, which counts as `share`, a scalar, to absolute ones: means
    and medians. `spread` are trees for the logarithm of the error to be expected; their last column is the logarithm
    of the price. Raises ValueError if the parts do not fit together.
    """

    columns: Columns
    linear: Linear
    share: NDArray[np.float64] = field(validator=array_of(np.float64, 0))
    squared: Trees | None = None
    absolute: Trees | None = None
    spread: Trees | None = None

    def __attrs_post_init__(self) -> None:
        for_trees = self.columns.for_trees.stop - self.columns.for_trees.start
        if self.linear.features != self.columns.for_lines.stop:
            raise ValueError("the linear model must take the logarithms and the features")
        for trees, expected in ((self.squared, for_trees), (self.absolute, for_trees), (self.spread, for_trees + 1)):
            if trees and trees.features != expected:
                raise ValueError("the trees must take the features and the turned axes")

    @property
    def features(self) -> int:
        """How many features the model takes."""
        return self.columns.features

    @property
    def weights(self) -> tuple[float, float]:
        """How much the squared and the absolute trees count."""
        return 1 - float(self.share), float(self.share)

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
