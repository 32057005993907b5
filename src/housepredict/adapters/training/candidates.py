"""Define and fit candidates: groups of settings for a model of log prices, which are compared in a search."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
    """Settings for a model of log prices: a ridge regression or a constant, plus boosted trees for the residuals.

    Attributes:
        on_a_line: whether the trees are added to a ridge regression rather than to a constant.
        leaves: the maximum number of leaves per tree.
        iterations: the number of trees for each loss (0: no trees).
        share: the weight of the trees that minimize absolute errors. The trees that minimize squared errors have the
            weight 1 - share.
    """

    on_a_line: bool
    leaves: int = 2
    iterations: int = 0
    share: float = 0.5

    @property
    def algorithm(self) -> Algorithm:
        """The algorithm of a model with these settings."""
        return Algorithm.BOOSTING if self.iterations else Algorithm.RIDGE

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses that the trees minimize."""
        return tuple(loss for loss in (SQUARED, ABSOLUTE) if self.iterations and self.weight(loss))

    def weight(self, loss: str) -> float:
        """Return the weight of the trees that minimize `loss`."""
        return self.share if loss == ABSOLUTE else 1 - self.share

    def variants(self) -> list[Candidate]:
        """Return the candidates that can be evaluated by fitting this candidate once.

        They are this candidate and its variants with fewer trees or a different share.
        """
        if not self.iterations:
            return [self]
        counts = [self.iterations >> shift for shift in range(4)]
        return [evolve(self, iterations=count, share=share) for count in counts for share in (0.5, 1.0, 0.0)]


def candidates(algorithm: Algorithm, effort: Effort, sales: int) -> list[Candidate]:
    """Return the candidates to search for an algorithm, an effort and a number of sales, simplest first.

    Raises:
        ValueError: if the algorithm is `linear`, which has no candidates.
    """
    line = Candidate(on_a_line=True)
    match effort:
        case Effort.LOW:
            iterations, shapes = 500, [(True, 31)]
        case Effort.NORMAL:
            iterations, shapes = 1000, [(True, 6), (False, 6), (True, 31)]
        case Effort.HIGH:
            iterations, shapes = 2000, [(True, 6), (False, 6), (True, 31), (False, 31), (True, 16)]
        case _:
            assert_never(effort)
    # with few sales, more trees don't improve the model
    iterations = min(iterations, max(_MIN_ITERATIONS, sales // 8))
    boosted = [Candidate(on_a_line=on_a_line, leaves=leaves, iterations=iterations) for on_a_line, leaves in shapes]
    match algorithm:
        case Algorithm.RIDGE:
            return [line]
        case Algorithm.BOOSTING:
            return boosted
        case Algorithm.AUTO:
            return [line, *boosted]
        case Algorithm.LINEAR:
            raise ValueError("the algorithm `linear` has no settings to search")
        case _:
            assert_never(algorithm)


@frozen(eq=False)
class TrainingTable:
    """Sales in the form of arrays.

    Attributes:
        columns: the function that computes the derived columns from the features.
        feature_names: the name of each feature.
        categories: the number of categories of each feature (0 for a feature that isn't categorical).
        values: the derived columns, of shape (sales, columns).
        log_prices: the natural logarithms of the sale prices, of shape (sales,).
    """

    columns: DerivedFeatures
    feature_names: Sequence[str]
    categories: Sequence[int]
    values: Matrix
    log_prices: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, which: NDArray[Any]) -> TrainingTable:
        """Return a table of the selected sales. `which` is an array of positions or a mask."""
        return evolve(self, values=self.values[which], log_prices=self.log_prices[which])

    def with_columns(self, columns: DerivedFeatures) -> TrainingTable:
        """Return a table of the same sales with different derived columns."""
        return evolve(self, columns=columns, values=columns(self.features))

    @property
    def names(self) -> list[str]:
        """The name of the feature that each column is derived from (if there are two features, the first)."""
        return [self.feature_names[feature] for feature in self.columns.sources]

    @property
    def features(self) -> Matrix:
        """The columns of `values` that contain the features as encoded, without derived columns such as logarithms."""
        return self.values[:, self.columns.for_features]

    @property
    def for_lines(self) -> Matrix:
        """The columns of `values` that linear models use as input."""
        return self.values[:, self.columns.for_lines]

    @property
    def for_trees(self) -> Matrix:
        """The columns of `values` that trees use as input."""
        return self.values[:, self.columns.for_trees]

    @property
    def line_categories(self) -> list[int]:
        """The number of categories in each input column of a linear model (0 for a numeric column)."""
        counts = [0] * self.columns.for_lines.stop
        counts[self.columns.for_features] = self.categories
        return counts

    @property
    def categorical(self) -> list[int]:
        """The positions, within `for_trees`, of the columns that contain category codes."""
        return [column for column, count in enumerate(self.categories) if count]


@frozen(eq=False)
class Model:
    """A fitted candidate.

    Attributes:
        candidate: the settings.
        base: the constant that the trees are added to if `line` is None.
        line: the ridge regression that the trees are added to, or None.
        trees: the fitted trees, by loss.
    """

    candidate: Candidate
    base: float
    line: Pipeline | None
    trees: dict[str, Any]

    def form(self, table: TrainingTable, spread: Trees | None) -> LogPrices:
        """Convert the model to its serving form.

        Args:
            table: the sales that the model was fitted to, with the definition of the derived columns.
            spread: the serving form of the spread trees, or None if there are none.
        """
        flat = {loss: flatten(estimator) for loss, estimator in self.trees.items()}
        zeros = np.zeros(table.columns.for_lines.stop)
        constant = Linear(np.asarray(self.base), zeros, zeros, zeros.astype(np.int64), np.empty(0))
        return LogPrices(
            columns=table.columns,
            linear=linear_form(table.line_categories, self.line) if self.line else constant,
            squared=flat.get(SQUARED),
            absolute=flat.get(ABSOLUTE),
            share=np.asarray(float(self.candidate.share)),
            spread=spread,
        )

    def predict(self, columns: DerivedFeatures, values: Matrix) -> NDArray[np.float64]:
        """Return the log prices of houses, of shape (houses,).

        Args:
            columns: the definition of the derived columns.
            values: the derived columns of the houses, of shape (houses, columns).
        """
        total = predicted(self.line, values[:, columns.for_lines]) if self.line else np.full(len(values), self.base)
        for loss, estimator in self.trees.items():
            total = total + self.candidate.weight(loss) * raw_predictions(estimator, values[:, columns.for_trees])
        return total

    def parts(self) -> dict[str, Any]:
        """Return the estimators and settings for inspection."""
        return {"recipe": asdict(self.candidate), "line": self.line, "base": self.base, "trees": self.trees}

    def check_parity(self, form: LogPrices, values: Matrix, names: Sequence[str]) -> None:
        """Check that the model and its serving form make the same predictions, both part by part and as a whole.

        Args:
            form: the serving form of the model.
            values: the derived columns of the houses to predict for, of shape (houses, columns).
            names: the feature name for each column, to use in the error message.

        Raises:
            RefusedModel: if the predictions differ (see `serving_form.check_parity`).
        """
        for_lines, for_trees = form.columns.for_lines, form.columns.for_trees
        if self.line:
            check_linear_parity(self.line, form.linear, values[:, for_lines], names[for_lines])
        for loss, trees in ((SQUARED, form.squared), (ABSOLUTE, form.absolute)):
            if trees:
                check_tree_parity(self.trees[loss], trees, values[:, for_trees], names[for_trees])
        check_parity(partial(self.predict, form.columns), form.log_prices, values, names, 1e-9)


def fit_candidate(candidate: Candidate, table: TrainingTable, seed: int) -> Model:
    """Fit a candidate to all sales in a table."""
    line, base, residuals = start(candidate, table)
    trees = {loss: fit_trees(candidate, table, residuals, loss, seed) for loss in candidate.losses}
    return Model(candidate, base, line, trees)


def start(candidate: Candidate, table: TrainingTable) -> tuple[Pipeline | None, float, NDArray[np.float64]]:
    """Fit the base model, a ridge regression or a constant, which the trees correct.

    Returns:
        The ridge regression (or None), the constant (0 with a ridge regression), and the residuals, of shape (sales,).
    """
    if not candidate.on_a_line:
        base = float(np.median(table.log_prices))
        return None, base, table.log_prices - base
    line = ridge(table.line_categories, table.for_lines, table.log_prices)
    return line, 0.0, table.log_prices - predicted(line, table.for_lines)


def fit_trees(candidate: Candidate, table: TrainingTable, residuals: NDArray[np.float64], loss: str, seed: int) -> Any:
    """Fit trees that minimize `loss`, with the settings of a candidate. `residuals` has shape (sales,)."""
    return boost(
        table.categorical,
        table.for_trees,
        residuals,
        loss=loss,
        leaves=candidate.leaves,
        iterations=candidate.iterations,
        seed=seed,
    )
