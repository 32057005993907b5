"""How sure a model is: trees for the error to be expected of a house, and how many such errors sale prices are off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.sklearn_model.boosting import boost
from housepredict.adapters.sklearn_model.recipes import Table
from housepredict.domain.estimates import Calibration

_LEAST_ERROR = 1e-3
"""A smaller error than this, as a share of the price, is luck."""
_ENOUGH_TO_TELL_HOUSES_APART = 400
_BEYOND = 10
"""So many sales must lie outside an interval, or where it ends is anyone's guess."""


def how_sure(
    sales: Table, log_prices: NDArray[np.float64], folds: NDArray[np.int64], seed: int
) -> tuple[Any, Calibration]:
    """The trees of `fit_spread`, and the calibration to them, from what models said of sales that they were kept from:
    `log_prices`. `folds` are those of the sales.
    """
    errors = sales.log_prices - log_prices
    seen = np.column_stack([sales.for_trees, log_prices])
    spreads = spreads_out_of_fold(sales.categorical, seen, errors, folds, seed)
    return fit_spread(sales.categorical, seen, errors, seed), calibrate(errors, spreads)


def fit_spread(categorical: list[int], columns: Matrix, errors: NDArray[np.float64], seed: int) -> Any:
    """Trees for the size of an error, on a logarithmic scale; None where the sales are too few to tell houses apart."""
    if len(errors) < _ENOUGH_TO_TELL_HOUSES_APART:
        return None
    size = np.maximum(np.abs(errors), _LEAST_ERROR)
    return boost(categorical, columns, size, loss="gamma", leaves=8, iterations=150, seed=seed, least_leaf=40)


def spreads_out_of_fold(
    categorical: list[int], columns: Matrix, errors: NDArray[np.float64], folds: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """The spread of each sale by trees that were not fitted to it."""
    spreads = np.ones(len(errors))
    for fold in np.unique(folds):
        trees = fit_spread(categorical, columns[folds != fold], errors[folds != fold], seed)
        if trees:
            spreads[folds == fold] = trees.predict(columns[folds == fold])
    return spreads


def calibrate(errors: NDArray[np.float64], spreads: NDArray[np.float64]) -> Calibration:
    """From ln(sale price / estimate) of sales that the model had not learned from, and their spreads."""
    scores = np.sort(np.abs(errors) / spreads)
    tenths = [within for tenth in range(1, 10) if (within := _within(scores, tenth / 10)) is not None]
    return Calibration(
        within_80=_within(scores, 0.8),
        within_90=_within(scores, 0.9),
        deviation=float(np.std(errors / spreads)),
        within_tenths=tuple(tenths),
    )


def _within(scores: NDArray[np.float64], level: float) -> float | None:
    """The conformal quantile: the smallest score that at least level · (n + 1) do not exceed."""
    if round(len(scores) * (1 - level), 9) < _BEYOND:
        return None
    return float(scores[int(np.ceil(level * (len(scores) + 1))) - 1])
