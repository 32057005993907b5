"""Fit gradient-boosted trees with scikit-learn, and check them against their serving form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no annotations

from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.trees import MAX_LEAVES, Trees
from housepredict.adapters.training.serving_form import check_parity, splits_of

_MAX_CATEGORIES = 255
"""scikit-learn's maximum number of categories per feature. If there are more, the rarest ones count as missing."""

_ROWS_PER_CHUNK = 256

_MIN_SALES_FOR_THREADS = 100_000
"""Minimum number of sales for fitting trees in several threads.

With fewer sales, threads gain little, because they busy-wait for each other at every node of every tree. On a busy
machine, training took twenty times as long with threads as without.
"""


def boost(
    categorical: Sequence[int],
    columns: Matrix,
    targets: NDArray[np.float64],
    *,
    loss: str,
    leaves: int,
    iterations: int,
    seed: int,
    least_leaf: int = 10,
) -> HistGradientBoostingRegressor:
    """Fit gradient-boosted trees.

    Args:
        categorical: the positions of the columns that contain category codes.
        columns: the input columns, of shape (sales, columns).
        targets: the numbers to predict, of shape (sales,).
        loss: scikit-learn's name for the loss to minimize.
        leaves: the maximum number of leaves per tree.
        iterations: the number of trees.
        seed: the random seed.
        least_leaf: the minimum number of sales per leaf.

    Raises:
        ValueError: if `leaves` exceeds the number of bits in a mask of the serving form.
    """
    if leaves > MAX_LEAVES:
        raise ValueError(f"leaves must be at most {MAX_LEAVES}, not {leaves}")
    columns = columns.copy(order="F")
    for column in categorical:
        _keep_frequent(columns[:, column])
    # scikit-learn can't bin an empty column; a constant column is never split
    columns[:, np.isnan(columns).all(axis=0)] = 0.0
    # a low learning rate and few candidate columns per split work for hundreds of sales as well as for millions
    estimator = HistGradientBoostingRegressor(
        loss=loss,
        learning_rate=0.05,
        max_iter=iterations,
        max_leaf_nodes=leaves,
        min_samples_leaf=least_leaf,
        l2_regularization=10.0,
        max_features=0.3,
        categorical_features=list(categorical),
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(1 if len(columns) < _MIN_SALES_FOR_THREADS else None, user_api="openmp"):
        return estimator.fit(columns, targets)


def check_tree_parity(
    estimator: HistGradientBoostingRegressor, form: Trees, columns: Matrix, names: Sequence[str]
) -> None:
    """Check that trees and their serving form make exactly the same predictions.

    Both are compared for the houses in `columns`, and for houses on both sides of each split.

    Args:
        estimator: the trees.
        form: the serving form of the trees.
        columns: the input columns of the trees, of shape (houses, columns).
        names: the feature name for each column, to use in the error message.

    Raises:
        RefusedModel: if the predictions differ (see `check_parity`).
    """
    for rows in (columns, *_rows_at_splits(estimator, form, columns)):
        check_parity(partial(raw_predictions, estimator), form.log_prices, rows, names)


def raw_predictions(estimator: HistGradientBoostingRegressor, columns: Matrix) -> NDArray[np.float64]:
    """Return the sum of leaf values for each house, of shape (houses,), without applying the loss's inverse link."""
    # one thread, because several threads would mostly wait for each other
    raw: NDArray[np.float64] = estimator._raw_predict(columns, n_threads=1)[:, 0]  # noqa: SLF001  # no public API
    return raw


def _keep_frequent(codes: NDArray[np.float64]) -> None:
    """Replace the codes of the rarest categories in a column with NaN, in place."""
    known, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    rare = known[np.argsort(-counts, kind="stable")[_MAX_CATEGORIES:]]
    codes[np.isin(codes, rare)] = np.nan


def _rows_at_splits(estimator: HistGradientBoostingRegressor, form: Trees, matrix: Matrix) -> Iterator[Matrix]:
    """Yield houses that probe both sides of each split.

    Each house is a row of `matrix` with a changed value in the column of the split. In a numeric column, the new value
    is the threshold of the split, the next larger number, or NaN. In a column of category codes, it is a code from
    either side of the split, or NaN.
    """
    # 20,000 houses reach nearly every leaf, and therefore all splits above it
    matrix = matrix[:: -(-len(matrix) // 20_000)]
    examples = np.zeros((len(form.leaves), MAX_LEAVES), dtype=np.int64)  # a house in each leaf of each tree
    trees = np.arange(len(form.leaves))
    for start in range(0, len(matrix), _ROWS_PER_CHUNK):
        exits = form.exits(matrix[start : start + _ROWS_PER_CHUNK])
        examples[trees, exits] = np.arange(start, start + len(exits))[:, np.newaxis]
    probes = [
        (examples[split.tree, split.first], split.feature, value)
        for split in splits_of(estimator)
        for value in split.probes()
    ]
    for start in range(0, len(probes), 16 * _ROWS_PER_CHUNK):
        houses, features, values = zip(*probes[start : start + 16 * _ROWS_PER_CHUNK], strict=True)
        rows = matrix[list(houses)]
        rows[np.arange(len(rows)), features] = values
        yield rows
