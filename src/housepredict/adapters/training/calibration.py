"""Calibrate prediction intervals from the errors of out-of-fold estimates.

On the log scale, the half-width of an interval is a quantile of past errors, multiplied by the house's spread. With
spread trees, the spread is the expected error for the house, and past errors are measured in units of the spread.
Without spread trees, every spread is 1, and past errors are differences between estimated and actual log prices. These
two units differ by a factor of about seven, so calibration and serving must either both use spread trees or both do
without them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.training.boosting import boost
from housepredict.adapters.training.candidates import TrainingTable
from housepredict.domain.estimates import Calibration

_MIN_ERROR = 1e-3
"""Lower bound on relative errors. Smaller errors are coincidences, so they are increased to this value."""
_ERROR_SCALES = (0.8, 1.1)
"""Lower and upper bound on the error scale. Values outside these bounds would contradict the learning curve."""
_MIN_LEAF = 40
_MIN_FOR_SPREAD = 400
"""Minimum number of sales for spread trees. With fewer sales, they would fit noise."""
_MIN_TO_SPLIT = 2 * _MIN_LEAF
"""Minimum number of sales for a split in a spread tree. With fewer sales, all houses would have the same spread."""
_MIN_SCALED, _MAX_SCALED = 50, 2_000
"""An error scale is estimated only if the number of sales is in this range.

With fewer sales, there are no intervals. With more sales, leaving out a fifth of them makes little difference.
"""
_MIN_OUTSIDE = 10
"""Minimum number of sales that must lie outside an interval for its bounds to be determined."""


def enough_for_spread(folds: NDArray[np.int64]) -> bool:
    """Return whether enough sales for spread trees remain if the largest fold is left out.

    `folds` is the fold of each sale, of shape (sales,).
    """
    return _smallest_fit(folds) >= _MIN_FOR_SPREAD


def needs_error_scale(count: int) -> bool:
    """Return whether fitting to `count` sales rather than four fifths of them makes errors noticeably smaller."""
    return _MIN_SCALED <= count < _MAX_SCALED


def error_scale_of(errors: NDArray[np.float64], errors_of_smaller_fits: NDArray[np.float64]) -> float:
    """Estimate the error scale: the errors of a fit to all sales, divided by those of a fit to four fifths of them.

    Let e(s) be the size of the errors of a fit to a share s of the sales. It is assumed that e(s) = a + b / s, the
    learning curve in Cortes et al., *Learning Curves: Asymptotic Values and Rate of Convergence*, 1993, with an
    exponent of 1. Then e(1) can be extrapolated from two points: e(1) = e(4/5) - 0.6 · (e(3/5) - e(4/5)), where 0.6 is
    (1 / (4/5) - 1) / (1 / (3/5) - 1 / (4/5)).

    Args:
        errors: the differences between estimated and actual log prices if the estimates are made by fits to four of the
            five folds, of shape (sales,).
        errors_of_smaller_fits: the same differences for fits to three of the five folds.

    Returns:
        The estimate of e(1) / e(4/5).
    """
    finite = np.isfinite(errors) & np.isfinite(errors_of_smaller_fits)
    smaller, larger = (
        np.sort(np.maximum(np.abs(fit_errors[finite]), _MIN_ERROR)) for fit_errors in (errors_of_smaller_fits, errors)
    )
    # the smallest errors are mostly chance, and the largest would dominate the scale
    compared = slice(int(0.3 * len(larger)), int(0.95 * len(larger)))
    if not len(larger[compared]):
        return 1.0
    ratio = float(np.exp(np.mean(np.log(smaller[compared] / larger[compared]))))
    return float(np.clip(1 - 0.6 * (ratio - 1), *_ERROR_SCALES))


def fit_calibration(
    sales: TrainingTable,
    log_prices: NDArray[np.float64],
    folds: NDArray[np.int64],
    seed: int,
    *,
    scaled: bool,
    error_scale: float = 1.0,
) -> tuple[Any, Calibration]:
    """Fit spread trees, and calibrate intervals from out-of-fold estimates and spreads.

    Args:
        sales: the sales to calibrate on.
        log_prices: the logarithm of each sale's out-of-fold estimate, of shape (sales,).
        folds: the fold of each sale, of shape (sales,). All sales of a house are in the same fold.
        seed: the random seed for the spread trees.
        scaled: whether to fit spread trees. They are always omitted if there are too few sales for a single split.
        error_scale: the factor to multiply the errors by (see `error_scale_of`).

    Returns:
        The spread trees (None if they are omitted), and the calibration in units of the spread.
    """
    errors = (sales.log_prices - log_prices) * error_scale
    spread, spreads = None, np.ones(len(errors))
    if scaled and _smallest_fit(folds) >= _MIN_TO_SPLIT:
        columns = np.column_stack([sales.for_trees, log_prices])
        spread = fit_spread(sales.categorical, columns, errors, seed)
        for fold in np.unique(folds):
            inside = folds == fold
            trees = fit_spread(sales.categorical, columns[~inside], errors[~inside], seed)
            spreads[inside] = trees.predict(columns[inside])
    return spread, calibrate(errors, spreads)


def fit_spread(categorical: list[int], columns: Matrix, errors: NDArray[np.float64], seed: int) -> Any:
    """Fit trees that predict the absolute error of the log price.

    Args:
        categorical: the positions of the columns that contain category codes.
        columns: the input columns, of shape (sales, columns).
        errors: the differences between estimated and actual log prices, of shape (sales,).
        seed: the random seed.
    """
    size = np.maximum(np.abs(errors), _MIN_ERROR)
    return boost(categorical, columns, size, loss="gamma", leaves=8, iterations=150, seed=seed, least_leaf=_MIN_LEAF)


def calibrate(errors: NDArray[np.float64], spreads: NDArray[np.float64]) -> Calibration:
    """Calibrate intervals from out-of-fold errors and spreads.

    Args:
        errors: ln(sale price / estimate), of shape (sales,). If an estimate is zero or less, the error is infinite,
            because no interval around the estimate contains the sale price.
        spreads: the spread of each house, of shape (sales,).
    """
    signed = errors / spreads
    scores = np.sort(np.abs(signed))
    tenths = [within for tenth in range(1, 10) if (within := _within(scores, tenth / 10)) is not None]
    return Calibration(
        within_80=_within(scores, 0.8),
        within_90=_within(scores, 0.9),
        deviation=float(np.std(signed[np.isfinite(signed)])),
        within_tenths=tuple(tenths),
    )


def _within(scores: NDArray[np.float64], level: float) -> float | None:
    """Return the conformal quantile, which is the ⌈level · (n + 1)⌉-th of n scores in ascending order.

    Returns None if too few scores are larger.
    """
    if round(len(scores) * (1 - level), 9) < _MIN_OUTSIDE:
        return None
    return float(scores[int(np.ceil(level * (len(scores) + 1))) - 1])


def _smallest_fit(folds: NDArray[np.int64]) -> int:
    """Return the number of sales that remain if the largest fold is left out. `folds` is the fold of each sale."""
    return int(len(folds) - np.unique(folds, return_counts=True)[1].max(initial=0))
