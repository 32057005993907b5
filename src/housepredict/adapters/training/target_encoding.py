"""Target encoding: use mean price levels for features that have too many categories for one-hot columns."""

from __future__ import annotations

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import DerivedFeatures
from housepredict.adapters.training.candidates import TrainingTable
from housepredict.adapters.training.linear_models import MAX_CATEGORIES, predicted, ridge


def with_target_encoding(table: TrainingTable, folds: NDArray[np.int64]) -> TrainingTable:
    """Add a column for each feature with more than 255 categories: the mean price level of a house's category.

    The price level of a sale is its residual in a ridge regression of log prices on the other features. In the
    returned table, the mean for a sale is computed from the sales in other folds, so that the sale's own price doesn't
    leak into it.
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
    """Return the residuals of a ridge regression of log prices on the features that aren't in `grouped`.

    The residuals have the shape (sales,). `grouped` contains the positions of the features with too many categories.
    """
    others = np.delete(np.arange(table.columns.for_lines.stop), table.columns.logged.size + grouped)
    if not others.size:
        return table.log_prices
    columns = table.for_lines[:, others]
    line = ridge([table.line_categories[column] for column in others], columns, table.log_prices)
    return table.log_prices - predicted(line, columns)


def _shrunk_means(codes: NDArray[np.float64], residuals: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the shrunk mean of the residuals for each code from 0 to `width`, of shape (width + 1,).

    The shrunk mean for a code is λ · (mean for the code - overall mean). λ is n / (n + σ² / τ²), where n is the number
    of sales with the code, σ² is the variance within codes, and τ² is the variance between codes. The fewer sales a
    code has, the closer its shrunk mean is to zero. (See Micci-Barreca, A preprocessing scheme for high-cardinality
    categorical attributes, SIGKDD Explorations 2001. This is the same as scikit-learn's TargetEncoder with `smooth` =
    σ² / τ². With "auto", TargetEncoder would estimate σ² for each code separately, and would therefore fully trust a
    code with a single sale.)
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
