"""Explain estimates by computing how much each feature contributes to them (Shapley values).

A player (in the sense of Shapley values) is a feature, or a group of features whose contributions can't be separated;
see `DerivedFeatures.players`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.adapters.serving.arrays import array_of
from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.linear import Linear, LogPrices
from housepredict.adapters.serving.trees import Paths, TreeContributions
from housepredict.domain.errors import RefusedModel


@define(eq=False)
class Attribution:
    """A summary of the training houses, from which contributions are computed.

    Attributes:
        means: the mean, over the training houses, of each term of the linear model. The shape is (columns,), where
            columns is the number of input columns of the linear model.
        squared: the paths through trees trained to minimize squared errors, or None if there are no such trees.
        absolute: the paths through trees trained to minimize absolute errors, or None if there are no such trees.
    """

    means: NDArray[np.float64] = field(validator=array_of(np.float64, 1))
    squared: Paths | None = None
    absolute: Paths | None = None


@define(eq=False)
class Contributions:
    """Computes how much each player contributes to the output of a serving form.

    A term of the linear model contributes its value minus its mean. The contributions of trees are Shapley values.

    Attributes:
        form: the serving form. For Linear, contributions are amounts of money. For LogPrices, they are differences of
            natural logarithms.
        base: the output when no feature is known. The output for a house is base + the sum of its contributions.
        players: the index of the player to which each feature belongs, of shape (features,).
    """

    form: Linear | LogPrices
    _means: NDArray[np.float64]
    base: float
    players: NDArray[np.int64]
    _trees: Sequence[tuple[float, TreeContributions]] = ()

    @classmethod
    def of(
        cls, form: Linear | LogPrices, means: NDArray[np.float64], paths: Callable[[str], Paths | None]
    ) -> Contributions:
        """Create the Contributions for a serving form from the parts of its Attribution.

        Args:
            form: the serving form.
            means: the `means` of the Attribution.
            paths: loads one attribute of the Attribution, `squared` or `absolute`, by name. Returns None if the
                Attribution doesn't have it. Each is loaded only when needed, since both may be as large as the model.

        Raises:
            ValueError: if the Attribution belongs to another form.
        """
        line = form if isinstance(form, Linear) else form.linear
        if means.size != line.features:
            raise ValueError("the linear model must have a mean for each term")
        base = float(line.intercept + means.sum())
        if isinstance(form, Linear):
            if paths("squared") or paths("absolute"):
                raise ValueError("a linear model must not have paths through trees")
            return cls(form, means, base, np.arange(form.features))
        columns, contributions = form.columns, []
        of_features, of_trees = columns.players[columns.for_features], columns.players[columns.for_trees]
        for name, weight in zip(("squared", "absolute"), form.weights, strict=True):
            trees, through = getattr(form, name), paths(name)
            if trees and through and through.are_of(trees, of_features.max() + 1):
                base += weight * float(through.mean)
                contributions.append((weight, TreeContributions.of(trees, through, of_trees)))
            elif trees or through:
                raise ValueError("the paths don't match the trees")
            del through  # free the memory before the next paths are read
        return cls(form, means, base, of_features, contributions)

    def __call__(self, matrix: Matrix) -> Matrix:
        """Return the contributions for encoded houses, of shape (houses, players)."""
        form, means = self.form, self._means
        if isinstance(form, Linear):
            return form.terms(matrix) - means
        columns = form.columns(matrix)
        amounts = np.zeros((len(matrix), self.players.max() + 1))
        for_lines = columns[:, form.columns.for_lines]
        np.add.at(amounts.T, form.columns.players[form.columns.for_lines], (form.linear.terms(for_lines) - means).T)
        for weight, trees in self._trees:
            amounts += weight * trees(columns[:, form.columns.for_trees])
        return amounts

    def check_sum(self, matrix: Matrix) -> None:
        """Check that, for each encoded house, the base and the contributions add up to the output of the form.

        Raises:
            RefusedModel: if they don't add up for a house.
        """
        form, amounts = self.form, self(matrix)
        expected = form.prices(matrix) if isinstance(form, Linear) else form.log_prices(form.columns(matrix))
        off = np.abs(self.base + amounts.sum(axis=1) - expected)
        # large amounts, such as the term of a date, may have a small sum
        size = np.abs(amounts).sum(axis=1) + np.abs(self._means).sum() + abs(self.base)
        if not (off <= 1e-9 + 1e-12 * size).all():
            raise RefusedModel(f"The contributions do not add up to the model's output: they are off by {off.max()}")
