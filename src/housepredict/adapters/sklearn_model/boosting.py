"""Gradient-boosted trees on the logarithm of the price."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.trees import MAX_LEAVES, Trees
from housepredict.adapters.sklearn_model.flattening import flatten, splits_of
from housepredict.adapters.sklearn_model.proof import demand_equal, odd_rows
from housepredict.domain.features import FeatureSchema, Kind
from housepredict.domain.ports import Progress

_MAX_CATEGORIES = 255
"""As many of a feature can scikit-learn tell apart; the rare ones beyond count as missing."""

_ROWS_AT_ONCE = 256


@frozen
class Boosting:
    """An estimator from encoded houses to the natural logarithms of their prices, and its serving form."""

    iterations: int = 500

    def fit(
        self, schema: FeatureSchema, matrix: Matrix, prices: NDArray[np.float64], seed: int, progress: Progress
    ) -> HistGradientBoostingRegressor:
        """A fitted estimator."""
        categorical = [column for column, feature in enumerate(schema.features) if feature.kind is Kind.CATEGORY]
        matrix = matrix.copy(order="F")
        for column in categorical:
            _keep_frequent(matrix[:, column])
        # scikit-learn cannot cut an axis without values; one value alone is never asked about
        matrix[:, np.isnan(matrix).all(axis=0)] = 0.0
        # many small steps, each split choosing among a few features only: sound for hundreds of sales and for millions
        estimator = HistGradientBoostingRegressor(
            learning_rate=0.05,
            max_leaf_nodes=31,
            min_samples_leaf=10,
            l2_regularization=10.0,
            max_features=0.3,
            categorical_features=categorical,
            early_stopping=False,
            warm_start=True,
            random_state=seed,
        )
        # a warm start goes on where the last one ended: the trees are those of a single fit
        step = -(-self.iterations // 10)
        for done in range(0, self.iterations, step):
            progress(done, self.iterations)
            estimator.set_params(max_iter=min(done + step, self.iterations)).fit(matrix, np.log(prices))
        progress(self.iterations, self.iterations)
        return estimator

    def form(self, _schema: FeatureSchema, estimator: HistGradientBoostingRegressor) -> Trees:
        """The serving form of a fitted estimator."""
        return flatten(estimator)

    def prove(
        self, schema: FeatureSchema, estimator: HistGradientBoostingRegressor, form: Trees, matrix: Matrix
    ) -> None:
        """Raise RefusedModel unless both give every house the same logarithm of its price, to the last bit."""
        for rows in (matrix, odd_rows(schema, matrix), *_rows_at_splits(estimator, form, matrix)):
            demand_equal(estimator.predict(rows), form.log_prices(rows))


def _keep_frequent(codes: NDArray[np.float64]) -> None:
    known, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    rare = known[np.argsort(-counts, kind="stable")[_MAX_CATEGORIES:]]
    codes[np.isin(codes, rare)] = np.nan


def _rows_at_splits(estimator: HistGradientBoostingRegressor, form: Trees, matrix: Matrix) -> Iterator[Matrix]:
    """For each split of each tree, houses that come to it: on its threshold, right above it, and without the feature.

    They are houses of `matrix`, one feature changed. Of a category's split, they have codes of either side.
    """
    # 20,000 houses come to nearly every leaf, and so to the splits above it
    matrix = matrix[:: -(-len(matrix) // 20_000)]
    visitors = np.zeros((len(form.leaves), MAX_LEAVES), dtype=np.int64)
    trees = np.arange(len(form.leaves))
    for start in range(0, len(matrix), _ROWS_AT_ONCE):
        exits = form.exits(matrix[start : start + _ROWS_AT_ONCE])
        visitors[trees, exits] = np.arange(start, start + len(exits))[:, np.newaxis]
    probes = [
        (visitors[split.tree, split.first], split.feature, value)
        for split in splits_of(estimator)
        for value in split.probes()
    ]
    for start in range(0, len(probes), 16 * _ROWS_AT_ONCE):
        houses, features, values = zip(*probes[start : start + 16 * _ROWS_AT_ONCE], strict=True)
        rows = matrix[list(houses)]
        rows[np.arange(len(rows)), features] = values
        yield rows
