"""Contributions of features to estimates, computed from a serving form and its training houses."""

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
    """The training houses as a model sees them: `means`, of shape (columns,), of the terms of its line, and the paths
    through its trees.
    """

    means: NDArray[np.float64] = field(validator=array_of(np.float64, 1))
    squared: Paths | None = None
    absolute: Paths | None = None


@define(eq=False)
class Contributions:
    """The contribution of each player to a form's output: from `base` on, in prices for a Linear and in logarithms
    for LogPrices.

    `players`, of shape (features,), is the player of each feature; see DerivedFeatures. A term of the line contributes
    its difference from its mean.
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
        """The contributions to a form, from the parts of its Attribution.

        Args:
            paths: reads the paths through the trees of a name. They are not kept: they may be as large as the model.

        Raises:
            ValueError: if the attribution is of another form.
        """
        line = form if isinstance(form, Linear) else form.linear
        if means.size != line.features:
            raise ValueError("there must be a mean for each term of the line")
        base = float(line.intercept + means.sum())
        if isinstance(form, Linear):
            if paths("squared") or paths("absolute"):
                raise ValueError("there must be no paths, a line having no trees")
            return cls(form, means, base, np.arange(form.features))
        columns, contributions = form.columns, []
        of_features, of_trees = columns.players[columns.for_features], columns.players[columns.for_trees]
        for name, weight in zip(("squared", "absolute"), form.weights, strict=True):
            trees, through = getattr(form, name), paths(name)
            if trees and through and through.are_of(trees, of_features.max() + 1):
                base += weight * float(through.mean)
                contributions.append((weight, TreeContributions.of(trees, through, of_trees)))
            elif trees or through:
                raise ValueError("the paths must be those of the trees")
            del through  # before the next are read
        return cls(form, means, base, of_features, contributions)

    def __call__(self, matrix: Matrix) -> Matrix:
        """Contributions, of shape (houses, players), to the form's output for encoded houses."""
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
        """Check that contributions add up to the form's output for encoded houses.

        Raises:
            RefusedModel: if they don't.
        """
        form, amounts = self.form, self(matrix)
        expected = form.prices(matrix) if isinstance(form, Linear) else form.log_prices(form.columns(matrix))
        off = np.abs(self.base + amounts.sum(axis=1) - expected)
        # the amounts may be large, such as a date's term, and their sum small
        size = np.abs(amounts).sum(axis=1) + np.abs(self._means).sum() + abs(self.base)
        if not (off <= 1e-9 + 1e-12 * size).all():
            raise RefusedModel(f"Contributions do not add up to what the model says: they are off by {off.max()}")
