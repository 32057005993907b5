"""Linear models: least squares on the price, and ridge regression on the log price."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.training.serving_form import check_parity

MAX_CATEGORIES = 255
"""The maximum number of one-hot columns of a feature. Rarer and unknown categories share one."""

_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_ROWS_PER_CHUNK = 20_000
_MAX_FITTED = 30_000
"""More sales make a ridge regression slower to fit but no better."""


def least_squares(categories: Sequence[int], matrix: Matrix, prices: NDArray[np.float64]) -> Pipeline:
    """Fit least squares from encoded houses to prices. `categories` counts those of each column, 0 for numbers."""
    return _fit(categories, matrix, prices, LinearRegression())


def ridge(categories: Sequence[int], matrix: Matrix, log_prices: NDArray[np.float64]) -> Pipeline:
    """Fit a ridge regression from derived columns to log prices, its penalty chosen by leave-one-out validation."""
    step = -(-len(matrix) // _MAX_FITTED)
    return _fit(categories, matrix[::step], log_prices[::step], RidgeCV(_PENALTIES))


def _fit(categories: Sequence[int], matrix: Matrix, targets: NDArray[np.float64], regression: object) -> Pipeline:
    # Scaling makes a fit independent of the unit and the origin of a column: least squares ignores columns that are
    # small relative to others, and ridge penalizes them. The first scaler only centers: otherwise rounding would lose
    # the variance of a large number with a small range.
    number = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(with_std=False), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False)
    columns = [(str(column), one_hot if count else number, [column]) for column, count in enumerate(categories)]
    return Pipeline([("columns", ColumnTransformer(columns)), ("regression", regression)]).fit(matrix, targets)


def predicted(pipeline: Pipeline, matrix: Matrix) -> NDArray[np.float64]:
    """Return the predictions of a pipeline, of shape (houses,), in chunks to limit the memory of one-hot encoding."""
    starts = range(0, max(len(matrix), 1), _ROWS_PER_CHUNK)
    return np.concatenate([pipeline.predict(matrix[start : start + _ROWS_PER_CHUNK]) for start in starts])


def linear_form(categories: Sequence[int], pipeline: Pipeline) -> Linear:
    """Convert a fitted pipeline to its serving form."""
    columns, regression = pipeline["columns"], pipeline["regression"]
    means, centers, coefficients = np.zeros((3, len(categories)))
    intercept = float(regression.intercept_)
    offsets = [np.empty(0)]
    for column, count in enumerate(categories):
        transformer = columns.named_transformers_[str(column)]
        column_coefficients = regression.coef_[columns.output_indices_[str(column)]]
        if count:
            codes = np.append(np.arange(count, dtype=np.float64), np.nan)
            offsets.append(transformer.transform(codes[:, np.newaxis]) @ column_coefficients)
            continue
        imputer, center, scaler = transformer
        means[column], centers[column] = imputer.statistics_[0], center.mean_[0]
        coefficients[column] = column_coefficients[0] / scaler.scale_[0]
        intercept -= coefficients[column] * scaler.mean_[0]
    # one term per code, and one for a missing category
    sizes = np.array([count + 1 if count else 0 for count in categories], dtype=np.int64)
    return Linear(np.asarray(intercept), means, coefficients, sizes, np.concatenate(offsets), centers)


def check_linear_parity(pipeline: Pipeline, form: Linear, matrix: Matrix, names: Sequence[str]) -> None:
    """Check that a pipeline and its serving form predict the same for every house, up to rounding.

    Raises:
        RefusedModel: if the predictions differ; see `check_parity`.
    """
    size = np.abs(form.terms(matrix)).sum(axis=1) + abs(form.intercept)
    check_parity(partial(predicted, pipeline), form.prices, matrix, names, 1e-12 * size)
