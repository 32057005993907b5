"""How a model of log prices is made: what may be chosen, and the making of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np
from attrs import asdict, evolve, frozen
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from housepredict.adapters.serving.encoding import DerivedFeatures, Matrix
from housepredict.adapters.serving.linear import Linear, LogPrices
from housepredict.adapters.serving.trees import Trees
from housepredict.adapters.training.boosting import boost, check_tree_parity, raw_predictions
from housepredict.adapters.training.linear_models import check_linear_parity, linear_form, predicted, ridge
from housepredict.adapters.training.serving_form import check_parity, flatten
from housepredict.domain.training_options import Algorithm, Effort

SQUARED, ABSOLUTE = "squared_error", "absolute_error"
_MIN_ITERATIONS = 256


@frozen
class Candidate:
    """A ridge regression, if `on_a_line`, and `iterations` trees of `leaves` for what it leaves: both for squared and
    for absolute errors, the latter counting as `share`. Without iterations there are no trees.
    """

    on_a_line: bool
    leaves: int = 2
    iterations: int = 0
    share: float = 0.5

    @property
    def algorithm(self) -> Algorithm:
        """What it is called."""
        return Algorithm.BOOSTING if self.iterations else Algorithm.RIDGE

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses that trees are fitted to."""
        if not self.iterations:
            return ()
        return tuple(loss for loss, weight in ((SQUARED, 1 - self.share), (ABSOLUTE, self.share)) if weight)

    def variants(self) -> list[Candidate]:
        """What comes of the same fits: fewer trees, and other shares."""
        if not self.iterations:
            return [self]
        counts = [self.iterations >> shift for shift in range(4)]
        return [evolve(self, iterations=count, share=share) for count in counts for share in (0.5, 1.0, 0.0)]


def candidates(algorithm: Algorithm, effort: Effort, sales: int) -> list[Candidate]:
    """What a search compares for so many sales, simplest first."""
    line = Candidate(on_a_line=True)
    match effort:
        case Effort.LOW:
            most, shapes = 500, [(True, 31)]
        case Effort.NORMAL:
            most, shapes = 1000, [(True, 6), (False, 6), (True, 31)]
        case Effort.HIGH:
            most, shapes = 2000, [(True, 6), (False, 6), (True, 31), (False, 31), (True, 16)]
        case _:
            assert_never(effort)
    # few sales have told all they can after few trees
    most = min(most, max(_MIN_ITERATIONS, sales // 8))
    boosted = [Candidate(on_a_line=on_a_line, leaves=leaves, iterations=most) for on_a_line, leaves in shapes]
    match algorithm:
        case Algorithm.RIDGE:
            return [line]
        case Algorithm.BOOSTING:
            return boosted
        case Algorithm.AUTO:
            return [line, *boosted]
        case Algorithm.LINEAR:
            raise ValueError("least squares on the price is not among the candidates: there is nothing to search")
        case _:
            assert_never(algorithm)


@frozen(eq=False)
class Table:
    """Sales as arrays: all columns, the logarithms of the prices, and the name of each feature and how many categories
    it has.
    """

    columns: DerivedFeatures
    feature_names: Sequence[str]
    categories: Sequence[int]
    values: Matrix
    log_prices: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, which: NDArray[Any]) -> Table:
        """Some of the sales."""
        return evolve(self, values=self.values[which], log_prices=self.log_prices[which])

    def seen_by(self, columns: DerivedFeatures) -> Table:
        """The same sales in other columns of the same features."""
        return evolve(self, columns=columns, values=columns(self.features))

    @property
    def names(self) -> list[str]:
        """The feature that each column follows from; of a turned axis, the first of its two."""
        grouped = () if self.columns.grouped is None else self.columns.grouped
        features = range(len(self.feature_names))
        sources = (*self.columns.logged, *features, *grouped, *self.columns.turned[:, 0])
        return [self.feature_names[feature] for feature in sources]

    @property
    def features(self) -> Matrix:
        """The features themselves."""
        return self.values[:, self.columns.for_features]

    @property
    def for_lines(self) -> Matrix:
        """The columns for a linear model."""
        return self.values[:, self.columns.for_lines]

    @property
    def for_trees(self) -> Matrix:
        """The columns for trees."""
        return self.values[:, self.columns.for_trees]

    @property
    def line_categories(self) -> list[int]:
        """How many categories each column for a linear model has."""
        counts = [0] * self.columns.for_lines.stop
        counts[self.columns.for_features] = self.categories
        return counts

    @property
    def categorical(self) -> list[int]:
        """The columns for trees that are categories."""
        return [column for column, count in enumerate(self.categories) if count]


@frozen(eq=False)
class Model:
    """What a candidate made, as scikit-learn has it. Without a line, `base` is what trees start from."""

    candidate: Candidate
    base: float
    line: Pipeline | None
    trees: dict[str, Any]

    def form(self, table: Table, spread: Trees | None) -> LogPrices:
        """The serving form."""
        flat = {loss: flatten(estimator) for loss, estimator in self.trees.items()}
        return LogPrices(
            columns=table.columns,
            linear=linear_form(table.line_categories, self.line) if self.line else _constant(table, self.base),
            squared=flat.get(SQUARED),
            absolute=flat.get(ABSOLUTE),
            share=np.asarray(float(self.candidate.share)),
            spread=spread,
        )

    def predict(self, table: Table) -> NDArray[np.float64]:
        """Logarithms of prices."""
        total = predicted(self.line, table.for_lines) if self.line else np.full(len(table), self.base)
        for loss, estimator in self.trees.items():
            weight = self.candidate.share if loss == ABSOLUTE else 1 - self.candidate.share
            total = total + weight * raw_predictions(estimator, table.for_trees)
        return total

    def parts(self) -> dict[str, Any]:
        """What scikit-learn made, to inspect."""
        return {"recipe": asdict(self.candidate), "line": self.line, "base": self.base, "trees": self.trees}

    def prove(self, form: LogPrices, table: Table) -> None:
        """Raise RefusedModel unless the form and its parts predict as this does."""
        if self.line:
            check_linear_parity(self.line, form.linear, table.for_lines, table.names[table.columns.for_lines])
        for loss, trees in ((SQUARED, form.squared), (ABSOLUTE, form.absolute)):
            if trees:
                check_tree_parity(self.trees[loss], trees, table.for_trees, table.names[table.columns.for_trees])

        def predict(columns: Matrix) -> NDArray[np.float64]:
            return self.predict(evolve(table, values=columns, log_prices=np.zeros(len(columns))))

        check_parity(predict, form.log_prices, table.values, table.names, 1e-9)


def fit_candidate(candidate: Candidate, table: Table, seed: int) -> Model:
    """Follow a candidate."""
    line, base, left = start(candidate, table)
    trees = {loss: fit_trees(candidate, table, left, loss, seed) for loss in candidate.losses}
    return Model(candidate, base, line, trees)


def start(candidate: Candidate, table: Table) -> tuple[Pipeline | None, float, NDArray[np.float64]]:
    """What trees are fitted on top of, and what is left for them."""
    if not candidate.on_a_line:
        base = float(np.median(table.log_prices))
        return None, base, table.log_prices - base
    line = ridge(table.line_categories, table.for_lines, table.log_prices)
    return line, 0.0, table.log_prices - predicted(line, table.for_lines)


def fit_trees(candidate: Candidate, table: Table, left: NDArray[np.float64], loss: str, seed: int) -> Any:
    """The trees of a candidate for one of its losses."""
    return boost(
        table.categorical,
        table.for_trees,
        left,
        loss=loss,
        leaves=candidate.leaves,
        iterations=candidate.iterations,
        seed=seed,
    )


def _constant(table: Table, value: float) -> Linear:
    features = table.columns.for_lines.stop
    return Linear(
        np.asarray(value), np.zeros(features), np.zeros(features), np.zeros(features, dtype=np.int64), np.empty(0)
    )
