"""Two serving forms: a linear model of the price, and a combination of a linear model and trees for the log price."""

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
    """A linear model: the price is the intercept plus a term for each feature.

    The term of a numeric feature is coefficient · (value - center). The term of a categorical feature is looked up in
    `offsets`. LogPrices uses the same form for the log price.

    Attributes:
        intercept: the intercept, as a scalar.
        means: the values that replace missing values of numeric features, of shape (features,).
        coefficients: the coefficients of numeric features, of shape (features,).
        sizes: the number of `offsets` of each feature, of shape (features,): 0 for a numeric feature, and the number of
            categories plus one for a categorical feature.
        offsets: the terms of all categorical features, one feature after the other. Each feature has one term per
            category, followed by the term for a missing or unknown category.
        centers: the centers of numeric features, of shape (features,), or None in forms from older releases. Centering
            prevents a loss of precision for features with large values in a small range, such as dates.
        features: the number of features.

    Raises:
        ValueError: if the shapes of the arrays don't match.
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
            raise ValueError("each feature must have a mean, a coefficient and a size")
        if self.centers is not None and self.centers.shape != self.sizes.shape:
            raise ValueError("each feature must have a center, or none of them")
        if (self.sizes < 0).any() or self.sizes.sum() != self.offsets.size:
            raise ValueError("the number of offsets must be the sum of the sizes")
        self.features = self.sizes.size
        self._categories = np.flatnonzero(self.sizes)
        sizes = self.sizes[self._categories]
        self._last = sizes - 1
        self._starts = sizes.cumsum() - sizes

    def terms(self, matrix: Matrix) -> Matrix:
        """Return each feature's term for encoded houses, of shape (houses, features)."""
        terms: Matrix = np.where(np.isnan(matrix), self.means, matrix)
        if self.centers is not None:
            terms -= self.centers
        terms *= self.coefficients
        if self._categories.size:
            # missing (NaN) and unknown codes get the last offset: fmin ignores NaN
            codes = np.fmin(matrix[:, self._categories], self._last)
            terms[:, self._categories] = self.offsets[self._starts + codes.astype(np.int64)]
        return terms

    def prices(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the prices of encoded houses, of shape (houses,)."""
        # cumsum always adds from left to right, so a house's price doesn't depend on the batch size
        total: Matrix = self.terms(matrix).cumsum(axis=1)[:, -1]
        return total + self.intercept

    def valuation(self, matrix: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the prices of encoded houses and their spreads, both of shape (houses,).

        A spread is proportional to the expected relative error of a price. The absolute error of a linear model hardly
        depends on the price, so the spread is 1 / price.
        """
        prices = self.prices(matrix)
        return prices, 1 / np.maximum(prices, 1.0)


@define(eq=False)
class LogPrices:
    """A model of the natural logarithm of the price: a linear model plus the weighted sum of two sets of trees.

    Attributes:
        columns: the callable that derives the input columns of the linear model and of the trees from the features.
        linear: the linear model of the log price.
        share: the weight of `absolute`, a scalar from 0 to 1.
        squared: trees that minimize squared errors, and so estimate the mean of the log price. Their weight is
            1 - share.
        absolute: trees that minimize absolute errors, and so estimate the median of the log price.
        spread: trees that predict the logarithm of the expected error. Their last input column is the estimated log
            price.
        features: the number of features.
        weights: the weights of `squared` and `absolute`.

    Raises:
        ValueError: if the parts don't match.
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
            raise ValueError("the linear model must have a term for each of its columns")
        for trees, expected in ((self.squared, for_trees), (self.absolute, for_trees), (self.spread, for_trees + 1)):
            if trees and trees.features != expected:
                raise ValueError("the trees must have an axis for each of their columns")

    def log_prices(self, columns: Matrix) -> NDArray[np.float64]:
        """Return the estimated log prices of houses, of shape (houses,).

        Args:
            columns: the derived columns of the houses; see DerivedFeatures.
        """
        total = self.linear.prices(columns[:, self.columns.for_lines])
        for_trees = columns[:, self.columns.for_trees]
        for trees, weight in zip((self.squared, self.absolute), self.weights, strict=True):
            if trees:
                total = total + weight * trees.log_prices(for_trees)
        return total

    def valuation(self, matrix: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the prices of encoded houses and their spreads, both of shape (houses,)."""
        columns = self.columns(matrix)
        log_prices = self.log_prices(columns)
        with np.errstate(over="ignore"):  # a price that overflows is infinite
            return np.exp(log_prices), self.spreads(columns, log_prices)

    def spreads(self, columns: Matrix, log_prices: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the spreads of houses, of shape (houses,): the expected errors of the log prices.

        Without spread trees, the spread of every house is 1.

        Args:
            columns: the derived columns of the houses; see DerivedFeatures.
            log_prices: the estimated log prices of the houses, of shape (houses,).
        """
        if self.spread is None:
            return np.ones(len(columns))
        return np.exp(self.spread.log_prices(np.column_stack([columns[:, self.columns.for_trees], log_prices])))
