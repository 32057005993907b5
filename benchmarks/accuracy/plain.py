"""Plain scikit-learn models of encoded houses, as most would write them: what is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

Array = NDArray[np.float64]


def _on_log(estimator: BaseEstimator) -> BaseEstimator:
    return TransformedTargetRegressor(make_pipeline(SimpleImputer(), estimator), func=np.log, inverse_func=np.exp)


PLAIN: Mapping[str, Callable[[], BaseEstimator]] = {
    "linear regression": lambda: make_pipeline(SimpleImputer(), LinearRegression()),
    "linear regression, log": lambda: _on_log(LinearRegression()),
    "hist gradient boosting": lambda: HistGradientBoostingRegressor(random_state=1),
    "hist gradient boosting, log": lambda: _on_log(HistGradientBoostingRegressor(random_state=1)),
    "hist boosting, log, 1000 trees": lambda: _on_log(
        HistGradientBoostingRegressor(random_state=1, learning_rate=0.05, max_iter=1000)
    ),
    "gradient boosting, log": lambda: _on_log(GradientBoostingRegressor(random_state=1)),
    "random forest, log": lambda: _on_log(RandomForestRegressor(200, random_state=1, n_jobs=-1)),
    "extra trees, log": lambda: _on_log(ExtraTreesRegressor(200, random_state=1, n_jobs=-1)),
}


def predictions(name: str, matrix: Array, prices: Array, asked: Array) -> Array:
    """Prices of the houses asked, never below nothing."""
    # a column that no sale has means nothing to any of them
    there = ~np.isnan(matrix).all(axis=0)
    predicted: Array = PLAIN[name]().fit(matrix[:, there], prices).predict(asked[:, there])
    return np.maximum(predicted, 1.0)
