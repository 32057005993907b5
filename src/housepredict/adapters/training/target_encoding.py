"""Target encoding: mean price levels for features with too many categories for one-hot columns."""

from __future__ import annotations

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import DerivedFeatures
from housepredict.adapters.training.candidates import TrainingTable
from housepredict.adapters.training.linear_models import MAX_CATEGORIES, predicted, ridge


def with_target_encoding(table: TrainingTable, folds: NDArray[np.int64]) -> TrainingTable:
    """Add a column for each feature with more than 255 categories: the mean price level of the category.

    The price level is the residual of a ridge regression of log prices on the other features. The value of a sale is
    computed from the other folds, so that it doesn't leak the price of the sale.
    """
    grouped = np.array([column for column, count in enumerate(table.categories) if count > MAX_CATEGORIES])
    if not grouped.size:
        return table
    residuals, codes = _residuals(table, grouped), table.features[:, grouped]

    def columns_from(rows: NDArray[np.bool_]) -> DerivedFeatures:
        levels = [_shrunk_means(column, residuals[rows], max(table.categories)) for column in codes[rows].T]
        return evolve(table.columns, grouped=grouped, levels=np.array(levels))

    encoded = table.with_columns(columns_from(np.ones(len(table), dtype=bool)))
    for fold in np.unique(folds):
        in_fold = folds == fold
        encoded.values[in_fold] = columns_from(~in_fold)(table.features[in_fold])
    return encoded


def _residuals(table: TrainingTable, grouped: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the residuals, of shape (sales,), of a ridge regression of log prices without the grouped features."""
    others = np.delete(np.arange(table.columns.for_lines.stop), table.columns.logged.size + grouped)
    if not others.size:
        return table.log_prices
    columns = table.for_lines[:, others]
    line = ridge([table.line_categories[column] for column in others], columns, table.log_prices)
    return table.log_prices - predicted(line, columns)


def _shrunk_means(codes: NDArray[np.float64], residuals: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return λ · (mean of the code - mean of all) for each code, with λ = n / (n + σ² / τ²); of shape (width + 1,).

    n is the code's number of sales, σ² the variance within codes, and τ² the variance between them. So the fewer sales
    a code has, the closer it is to the overall mean, 0. (Micci-Barreca, A preprocessing scheme for high-cardinality
    categorical attributes, SIGKDD Explorations 2001; scikit-learn's TargetEncoder with `smooth` = σ² / τ². Its "auto"
    estimates σ² for each code, and so fully trusts a code with a single sale.)
    """
    is_known = ~np.isnan(codes)
    positions, values = codes[is_known].astype(np.int64), residuals[is_known]
    levels, counts = np.zeros(width + 1), np.bincount(positions, minlength=width + 1)
    if not values.size:
        return levels
    values = values - values.mean()
    has_sales = counts > 0
    means = np.bincount(positions, values, minlength=width + 1)[has_sales] / counts[has_sales]
    total = values @ values
    within = max(total - counts[has_sales] @ means**2, 0.0) / max(values.size - has_sales.sum(), 1)
    between = max(total / values.size - within, 0.0)
    if between:
        levels[has_sales] = means * counts[has_sales] / (counts[has_sales] + within / between)
    return levels
