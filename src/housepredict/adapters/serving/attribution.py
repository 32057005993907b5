"""What explains a model: what its serving form leaves out, since prices are had without it, and what comes of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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
    """What the sales of the training were like to a model: `means`, of shape (columns,), of the terms of its line, and
    the paths through its trees.
    """

    means: NDArray[np.float64] = field(validator=array_of(np.float64, 1))
    squared: Paths | None = None
    absolute: Paths | None = None


class Attributed(Protocol):
    """An Attribution, whose parts may be made each time that they are asked for."""

    @property
    def means(self) -> NDArray[np.float64]:
        """See Attribution."""

    @property
    def squared(self) -> Paths | None:
        """See Attribution."""

    @property
    def absolute(self) -> Paths | None:
        """See Attribution."""


@define(eq=False)
class Contributions:
    """What each player adds to what a form says: from `base` on, in prices for a Linear and in logarithms else.

    `players`, of shape (features,), is the player of each feature; see DerivedFeatures. A term of the line adds
    what it is above its mean.
    """

    _form: Linear | LogPrices
    _means: NDArray[np.float64]
    base: float
    players: NDArray[np.int64]
    _trees: Sequence[tuple[float, TreeContributions]] = ()

    @classmethod
    def of(cls, form: Linear | LogPrices, attribution: Attributed) -> Contributions:
        """Those of a form. Raises ValueError if the attribution is of another one."""
        line, means = form if isinstance(form, Linear) else form.linear, attribution.means
        if means.size != line.features:
            raise ValueError("there must be a mean for each term of the line")
        base = float(line.intercept + means.sum())
        if isinstance(form, Linear):
            if attribution.squared or attribution.absolute:
                raise ValueError("there must be no paths, a line having no trees")
            return cls(form, means, base, np.arange(form.features))
        columns, found = form.columns, []
        of_features, of_trees = columns.players[columns.for_features], columns.players[columns.for_trees]
        for name, weight in zip(("squared", "absolute"), form.weights, strict=True):
            trees, paths = getattr(form, name), getattr(attribution, name)
            if trees and paths and paths.are_of(trees, of_features.max() + 1):
                base += weight * float(paths.mean)
                found.append((weight, TreeContributions.of(trees, paths, of_trees)))
            elif trees or paths:
                raise ValueError("the paths must be those of the trees")
            del paths  # before there are others: they may be as large as the model
        return cls(form, means, base, of_features, found)

    def __call__(self, matrix: Matrix) -> Matrix:
        """Contributions, of shape (houses, players), to what the form says of encoded houses."""
        form, means = self._form, self._means
        if isinstance(form, Linear):
            return form.terms(matrix) - means
        columns = form.columns(matrix)
        found = np.zeros((len(matrix), self.players.max() + 1))
        for_lines = columns[:, form.columns.for_lines]
        np.add.at(found.T, form.columns.players[form.columns.for_lines], (form.linear.terms(for_lines) - means).T)
        for weight, trees in self._trees:
            found += weight * trees(columns[:, form.columns.for_trees])
        return found

    def prove(self, matrix: Matrix) -> None:
        """Raise RefusedModel unless they add up to what the form says of encoded houses."""
        form, amounts = self._form, self(matrix)
        says = form.prices(matrix) if isinstance(form, Linear) else form.log_prices(form.columns(matrix))
        off = np.abs(self.base + amounts.sum(axis=1) - says)
        # what is added up may be large, a date's term say, and the sum small
        size = np.abs(amounts).sum(axis=1) + np.abs(self._means).sum() + abs(self.base)
        if not (off <= 1e-9 + 1e-12 * size).all():
            raise RefusedModel(f"Contributions do not add up to what the model says: they are off by {off.max()}")
