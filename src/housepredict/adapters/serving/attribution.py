"""What explains a model: what its serving form leaves out, since prices are had without it, and what comes of both."""

from __future__ import annotations

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.adapters.serving.checks import array_of
from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.serving.log_prices import LogPrices
from housepredict.adapters.serving.paths import Paths, TreeContributions
from housepredict.domain.errors import RefusedModel


@define(eq=False)
class Attribution:
    """What the sales of the training were like to a model: `means`, of shape (columns,), of the terms of its line, and
    the paths through its trees.
    """

    means: NDArray[np.float64] = field(validator=array_of(np.float64, 1))
    squared: Paths | None = None
    absolute: Paths | None = None


@define(eq=False)
class Contributions:
    """What each player adds to what a form says: from `base` on, in prices for a Linear and in logarithms else.

    `players`, of shape (features,), is the player of each feature; see Columns. A term of the line adds what it is
    above its mean. Raises ValueError if the attribution is of another form.
    """

    _form: Linear | LogPrices
    _attribution: Attribution
    base: float = field(init=False)
    players: NDArray[np.int64] = field(init=False)
    _trees: list[tuple[float, TreeContributions]] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        form, attribution = self._form, self._attribution
        line = form if isinstance(form, Linear) else form.linear
        if attribution.means.size != line.features:
            raise ValueError("there must be a mean for each term of the line")
        self.base = float(line.intercept + attribution.means.sum())
        if isinstance(form, Linear):
            if attribution.squared or attribution.absolute:
                raise ValueError("there must be no paths, a line having no trees")
            self.players = np.arange(form.features)
            return
        columns = form.columns
        self.players = columns.players[columns.for_features]
        sets = ((form.squared, attribution.squared), (form.absolute, attribution.absolute))
        for (trees, paths), weight in zip(sets, form.weights, strict=True):
            if trees and paths and paths.are_of(trees, self.players.max() + 1):
                self.base += weight * float(paths.mean)
                self._trees.append((weight, TreeContributions(trees, paths, columns.players[columns.for_trees])))
            elif trees or paths:
                raise ValueError("the paths must be those of the trees")

    def __call__(self, matrix: Matrix) -> Matrix:
        """Contributions, of shape (houses, players), to what the form says of encoded houses."""
        form, means = self._form, self._attribution.means
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
        size = np.abs(amounts).sum(axis=1) + np.abs(self._attribution.means).sum() + abs(self.base)
        if not (off <= 1e-9 + 1e-12 * size).all():
            raise RefusedModel(f"Contributions do not add up to what the model says: they are off by {off.max()}")
