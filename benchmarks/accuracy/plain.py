"""The baselines: plain scikit-learn models of encoded houses, written in the usual way."""

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


def predictions(name: str, train: Array, prices: Array, test: Array) -> Array:
    """Fit a baseline, and return its estimates of the test houses, at least 1."""
    # the baselines can't use empty columns
    has_values = ~np.isnan(train).all(axis=0)
    predicted: Array = PLAIN[name]().fit(train[:, has_values], prices).predict(test[:, has_values])
    return np.maximum(predicted, 1.0)
