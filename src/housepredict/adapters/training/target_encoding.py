"""What categories say of the price that are too many for a column each."""

from __future__ import annotations

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.training.candidates import Table
from housepredict.adapters.training.linear_models import MAX_CATEGORIES, predicted, ridge


def with_levels(table: Table, folds: NDArray[np.int64]) -> Table:
    """The sales with a column more for each feature of over 255 categories: how much dearer houses of a category are.

    What is averaged is what a ridge regression on the other features leaves of the logarithms of the prices. A sale's
    own column comes from the other folds, so that no model learns to trust what a sale says of itself.
    """
    grouped = np.array([column for column, count in enumerate(table.categories) if count > MAX_CATEGORIES])
    if not grouped.size:
        return table
    left, codes = _left_without(table, grouped), table.features[:, grouped]
    width = max(table.categories)
    whole = table.seen_by(evolve(table.columns, grouped=grouped, levels=_levels(codes, left, width)))
    for fold in np.unique(folds):
        own = folds == fold
        others = evolve(whole.columns, levels=_levels(codes[~own], left[~own], width))
        whole.values[own] = others(table.features[own])
    return whole


def _left_without(table: Table, grouped: NDArray[np.int64]) -> NDArray[np.float64]:
    kept = np.delete(np.arange(table.columns.for_lines.stop), table.columns.logged.size + grouped)
    others = table.for_lines[:, kept]
    if not kept.size:
        return table.log_prices
    line = ridge([table.line_categories[column] for column in kept], others, table.log_prices)
    return table.log_prices - predicted(line, others)


def _levels(codes: Matrix, left: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The levels of some features, of shape (features, width + 1); see Columns."""
    return np.array([_shrunk_means(column, left, width) for column in codes.T])


def _shrunk_means(codes: NDArray[np.float64], left: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """For each code λ · (its mean - the mean of all), with λ = n / (n + σ² / τ²) for the n sales that have it.

    σ² is the variance within the codes, τ² between them: what few sales have is near the mean of all, 0, and what none
    has is there. (Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes, SIGKDD
    Explorations 2001; scikit-learn's TargetEncoder with `smooth` = σ² / τ². Its "auto" has a σ² for each code, and so
    believes all that one sale says of one.)
    """
    known = ~np.isnan(codes)
    places, values = codes[known].astype(np.int64), left[known]
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
