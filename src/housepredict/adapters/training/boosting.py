"""Gradient-boosted trees."""

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
"""scikit-learn's limit for a feature; the rarest categories beyond count as missing."""

_ROWS_AT_ONCE = 256

_WORTH_THREADS = 100_000
"""The fewest sales to use threads for. Threads spin at every node of every tree until all are done: with fewer sales
they gain little, and beside other busy processes a training took twenty times as long."""


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
    """Fit boosted trees. Raises ValueError for more leaves than a mask of the serving form has bits."""
    if leaves > MAX_LEAVES:
        raise ValueError(f"at most {MAX_LEAVES} leaves")
    columns = columns.copy(order="F")
    for column in categorical:
        _keep_frequent(columns[:, column])
    # scikit-learn can't bin a column without values; a column of one value is never split
    columns[:, np.isnan(columns).all(axis=0)] = 0.0
    # many small steps, with a few columns to choose from at each split, suit hundreds of sales and millions
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
    with threadpool_limits(1 if len(columns) < _WORTH_THREADS else None, user_api="openmp"):
        return estimator.fit(columns, targets)


def check_tree_parity(
    estimator: HistGradientBoostingRegressor, form: Trees, columns: Matrix, names: Sequence[str]
) -> None:
    """Check that both predict the same for every house, to the last bit.

    Raises:
        RefusedModel: if they differ; `names` are those of the columns.
    """
    for rows in (columns, *_rows_at_splits(estimator, form, columns)):
        check_parity(partial(raw_predictions, estimator), form.log_prices, rows, names)


def raw_predictions(estimator: HistGradientBoostingRegressor, columns: Matrix) -> NDArray[np.float64]:
    """The sums of the leaves, before the inverse link of the loss. One thread: several would wait for each other."""
    raw: NDArray[np.float64] = estimator._raw_predict(columns, n_threads=1)[:, 0]  # noqa: SLF001  # no public name
    return raw


def _keep_frequent(codes: NDArray[np.float64]) -> None:
    known, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    rare = known[np.argsort(-counts, kind="stable")[_MAX_CATEGORIES:]]
    codes[np.isin(codes, rare)] = np.nan


def _rows_at_splits(estimator: HistGradientBoostingRegressor, form: Trees, matrix: Matrix) -> Iterator[Matrix]:
    """For each split of each tree, houses that reach it: on its threshold, just above it, and without the feature; for
    a category, with codes of both sides. They are houses of `matrix` with one feature changed.
    """
    # 20,000 houses reach nearly every leaf, and so the splits above it
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
