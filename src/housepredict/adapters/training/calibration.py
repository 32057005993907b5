"""Calibrate prediction intervals, from the errors of out-of-fold estimates.

The half-width of an interval, on the log scale, is a quantile of past errors times the spread of the house. With spread
trees, the spread is the expected error of the house, and errors are measured in units of it. Without them, every spread
is 1, and errors are differences of log prices. The two units differ by a factor of about seven, so whether there are
spread trees is decided once, for calibration and for serving.
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
"""Smaller relative errors than this are coincidence."""
_ERROR_SCALES = (0.8, 1.1)
"""Values outside these limits contradict the learning curve."""
_MIN_LEAF = 40
_MIN_FOR_SPREAD = 400
"""With fewer sales, spread trees fit noise."""
_MIN_TO_SPLIT = 2 * _MIN_LEAF
"""With fewer sales, spread trees have no splits, and all houses have the same spread."""
_MIN_SCALED, _MAX_SCALED = 50, 2_000
"""With fewer sales there are no intervals; with more, a fifth of the sales makes little difference."""
_MIN_OUTSIDE = 10
"""The minimum number of sales outside an interval to determine its bounds."""


def enough_for_spread(folds: NDArray[np.int64]) -> bool:
    """Return whether there are enough sales for spread trees, even in the fit that leaves out the largest fold."""
    return _smallest_fit(folds) >= _MIN_FOR_SPREAD


def needs_error_scale(count: int) -> bool:
    """Return whether a fit to `count` sales has noticeably smaller errors than fits to four fifths of them."""
    return _MIN_SCALED <= count < _MAX_SCALED


def error_scale_of(errors: NDArray[np.float64], errors_of_smaller_fits: NDArray[np.float64]) -> float:
    """Estimate the factor from the errors of fits to four fifths of the sales to those of a fit to all sales.

    The scale e of errors for a share s of the sales is assumed to be a + b / s: the learning curve of Cortes et al.,
    *Learning Curves: Asymptotic Values and Rate of Convergence*, 1993, with an exponent of 1. It is extrapolated from
    two points: e(1) = e(4/5) - 0.6 · (e(3/5) - e(4/5)), where 0.6 is (1 / (4/5) - 1) / (1 / (3/5) - 1 / (4/5)).

    Args:
        errors: differences of log prices, by fits to four folds of five, of shape (sales,).
        errors_of_smaller_fits: those by fits to three folds of five, of shape (sales,).
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
    """Fit spread trees, and calibrate intervals with out-of-fold estimates and spreads.

    Args:
        sales: the sales to calibrate on.
        log_prices: the logarithms of the sales' out-of-fold estimates, of shape (sales,).
        folds: the fold of each sale, of shape (sales,). All sales of a house are in one fold.
        seed: the seed of the spread trees.
        scaled: whether to fit spread trees. They are omitted if the sales are too few for a single split.
        error_scale: see `error_scale_of`.

    Returns:
        The spread trees, or None for plain intervals; and the calibration, in the unit of these spreads.
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
    """Fit trees for the absolute error of log prices; `errors` is of shape (sales,)."""
    size = np.maximum(np.abs(errors), _MIN_ERROR)
    return boost(categorical, columns, size, loss="gamma", leaves=8, iterations=150, seed=seed, least_leaf=_MIN_LEAF)


def calibrate(errors: NDArray[np.float64], spreads: NDArray[np.float64]) -> Calibration:
    """Calibrate intervals with out-of-fold errors and spreads.

    Args:
        errors: ln(sale price / estimate), of shape (sales,); infinite for estimates of zero or less, since no interval
            around them contains the sale price.
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
    """Return the conformal quantile: the ⌈level · (n + 1)⌉-th smallest score; None if too few are larger."""
    if round(len(scores) * (1 - level), 9) < _MIN_OUTSIDE:
        return None
    return float(scores[int(np.ceil(level * (len(scores) + 1))) - 1])


def _smallest_fit(folds: NDArray[np.int64]) -> int:
    """Return the number of sales outside the largest fold."""
    return int(len(folds) - np.unique(folds, return_counts=True)[1].max(initial=0))
