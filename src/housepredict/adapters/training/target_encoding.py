"""Target encoding: the mean price level of each category of a feature that has too many for a column each."""

from __future__ import annotations

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import DerivedFeatures
from housepredict.adapters.training.candidates import TrainingTable
from housepredict.adapters.training.linear_models import MAX_CATEGORIES, predicted, ridge


def with_target_encoding(table: TrainingTable, folds: NDArray[np.int64]) -> TrainingTable:
    """Add a column to the sales for each feature of over 255 categories: the mean price level of the category.

    Averaged are the residuals of a ridge regression of the logarithms of the prices on the other features. A sale's own
    column comes from the other folds, so that no model learns from a price what it is to estimate.
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
        own = folds == fold
        encoded.values[own] = columns_from(~own)(table.features[own])
    return encoded


def _residuals(table: TrainingTable, grouped: NDArray[np.int64]) -> NDArray[np.float64]:
    others = np.delete(np.arange(table.columns.for_lines.stop), table.columns.logged.size + grouped)
    if not others.size:
        return table.log_prices
    columns = table.for_lines[:, others]
    line = ridge([table.line_categories[column] for column in others], columns, table.log_prices)
    return table.log_prices - predicted(line, columns)


def _shrunk_means(codes: NDArray[np.float64], residuals: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """For each code λ · (its mean - the mean of all), with λ = n / (n + σ² / τ²) for its n sales; shape (width + 1,).

    σ² is the variance within the codes, τ² between them: a code of few sales is near the mean of all, 0, and a code of
    none is 0. (Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes, SIGKDD Explorations
    2001; scikit-learn's TargetEncoder with `smooth` = σ² / τ². Its "auto" has a σ² for each code, and so trusts a code
    of one sale fully.)
    """
    known = ~np.isnan(codes)
    places, values = codes[known].astype(np.int64), residuals[known]
    levels, counts = np.zeros(width + 1), np.bincount(places, minlength=width + 1)
    if not values.size:
        return levels
    values = values - values.mean()
    had = counts > 0
    means = np.bincount(places, values, minlength=width + 1)[had] / counts[had]
    total = values @ values
    within = max(total - counts[had] @ means**2, 0.0) / max(values.size - had.sum(), 1)
    between = max(total / values.size - within, 0.0)
    if between:
        levels[had] = means * counts[had] / (counts[had] + within / between)
    return levels
