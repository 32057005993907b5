"""Calibration of intervals, from the errors of estimates by models that were not fitted to the sales.

An interval is a factor times the spread of a house. Without spread trees every spread is 1, and the factor is an error
on a logarithmic scale; with them it counts expected errors. The two units differ by a factor of about seven, so whether
there are spread trees is decided once, for calibrating and for serving.
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
"""A smaller error than this, as a share of the price, is luck."""
_ERROR_SCALES = (0.8, 1.1)
"""Beyond these limits, errors don't follow the learning curve."""
_MIN_LEAF = 40
_MIN_FOR_SPREAD = 400
"""With fewer sales than this, spread trees fit noise."""
_MIN_TO_SPLIT = 2 * _MIN_LEAF
"""With fewer sales than this, spread trees have no splits, and so one spread for all houses."""
_MIN_SCALED, _MAX_SCALED = 50, 2_000
"""With fewer sales there are no intervals; with more, a fifth of them makes little difference."""
_MIN_OUTSIDE = 10
"""The fewest sales outside an interval that tell where it ends."""


def enough_for_spread(folds: NDArray[np.int64]) -> bool:
    """Whether intervals get spread trees, for the `scaled` of `fit_calibration`: the smallest fit of them, which lacks
    the largest fold, must have enough sales.
    """
    return _smallest_fit(folds) >= _MIN_FOR_SPREAD


def needs_error_scale(count: int) -> bool:
    """Whether a model of `count` sales makes noticeably smaller errors than fits that lack a fifth of them."""
    return _MIN_SCALED <= count < _MAX_SCALED


def error_scale_of(errors: NDArray[np.float64], errors_of_less: NDArray[np.float64]) -> float:
    """The factor from the errors of fits that lack one fold of five to those of a fit to all sales.

    The scale e of errors is taken to be a + b / n for n sales: the learning curve of Cortes et al., *Learning Curves:
    Asymptotic Values and Rate of Convergence*, 1993, with an exponent of 1. So it is continued on a line from the two
    known points: e(1) = e(4/5) - 0.6 · (e(3/5) - e(4/5)), where 0.6 is (1 / (4/5) - 1) / (1 / (3/5) - 1 / (4/5)).

    Args:
        errors: on a logarithmic scale, those of fits that lack one fold.
        errors_of_less: those of fits that lack two.
    """
    finite = np.isfinite(errors) & np.isfinite(errors_of_less)
    less, more = (np.sort(np.maximum(np.abs(each[finite]), _MIN_ERROR)) for each in (errors_of_less, errors))
    # the smallest errors say little about the scale, and a few of the largest too much
    compared = slice(int(0.3 * len(more)), int(0.95 * len(more)))
    if not len(more[compared]):
        return 1.0
    ratio = float(np.exp(np.mean(np.log(less[compared] / more[compared]))))
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
    """Fit spread trees, and calibrate intervals to the spreads of sales that the trees were not fitted to.

    Args:
        log_prices: estimates of the sales, by models that were not fitted to them.
        folds: those of the sales; all sales of a house are in one.
        scaled: whether there are to be spread trees. Too few sales for a single split get none all the same.
        error_scale: see `error_scale_of`.

    Returns:
        The spread trees, None for plain intervals, and the calibration in the unit that goes with them.
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
    """Trees for the size of an error, on a logarithmic scale."""
    size = np.maximum(np.abs(errors), _MIN_ERROR)
    return boost(categorical, columns, size, loss="gamma", leaves=8, iterations=150, seed=seed, least_leaf=_MIN_LEAF)


def calibrate(errors: NDArray[np.float64], spreads: NDArray[np.float64]) -> Calibration:
    """Calibrate intervals to ln(sale price / estimate) of sales that the model was not fitted to, and their spreads.

    An error is infinite where the estimate is no price: no interval around it holds the sale price.
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
    """The conformal quantile: the smallest score that at least level · (n + 1) do not exceed."""
    if round(len(scores) * (1 - level), 9) < _MIN_OUTSIDE:
        return None
    return float(scores[int(np.ceil(level * (len(scores) + 1))) - 1])


def _smallest_fit(folds: NDArray[np.int64]) -> int:
    """The number of sales without the largest fold."""
    return int(len(folds) - np.unique(folds, return_counts=True)[1].max(initial=0))
