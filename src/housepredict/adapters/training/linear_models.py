"""Fit linear models: least squares for the price, and ridge regression for the log price."""

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
"""Maximum number of one-hot columns per feature. If a feature has more categories, the rarest ones share one column."""

_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_ROWS_PER_CHUNK = 20_000
_MAX_FITTED = 30_000
"""Maximum number of sales to fit a ridge regression to. More sales would make the fit slower but not better."""


def least_squares(categories: Sequence[int], matrix: Matrix, prices: NDArray[np.float64]) -> Pipeline:
    """Fit a least-squares regression of prices on encoded houses.

    `categories` is the number of categories in each column of `matrix` (0 for a numeric column).
    """
    return _fit(categories, matrix, prices, LinearRegression())


def ridge(categories: Sequence[int], matrix: Matrix, log_prices: NDArray[np.float64]) -> Pipeline:
    """Fit a ridge regression of log prices on derived columns. The penalty is chosen by leave-one-out validation.

    `categories` is the number of categories in each column of `matrix` (0 for a numeric column).
    """
    step = -(-len(matrix) // _MAX_FITTED)
    return _fit(categories, matrix[::step], log_prices[::step], RidgeCV(_PENALTIES))


def _fit(categories: Sequence[int], matrix: Matrix, targets: NDArray[np.float64], regression: object) -> Pipeline:
    # Scaling makes a fit independent of the unit and origin of each column. Without it, least squares would ignore
    # columns whose values are relatively small, and ridge would penalize them more. The first scaler only centers,
    # because otherwise rounding would lose the variance of large numbers with a small range.
    number = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(with_std=False), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False)
    columns = [(str(column), one_hot if count else number, [column]) for column, count in enumerate(categories)]
    return Pipeline([("columns", ColumnTransformer(columns)), ("regression", regression)]).fit(matrix, targets)


def predicted(pipeline: Pipeline, matrix: Matrix) -> NDArray[np.float64]:
    """Return a pipeline's predictions, of shape (houses,). Houses are processed in chunks to save memory."""
    starts = range(0, max(len(matrix), 1), _ROWS_PER_CHUNK)
    return np.concatenate([pipeline.predict(matrix[start : start + _ROWS_PER_CHUNK]) for start in starts])


def linear_form(categories: Sequence[int], pipeline: Pipeline) -> Linear:
    """Convert a fitted pipeline to its serving form.

    `categories` is the number of categories in each input column (0 for a numeric column).
    """
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
    """Check that a pipeline and its serving form make the same predictions, except for rounding errors.

    Args:
        pipeline: the pipeline.
        form: the serving form of the pipeline.
        matrix: the input columns of the houses to predict for, of shape (houses, columns).
        names: the feature name for each column, to use in the error message.

    Raises:
        RefusedModel: if the predictions differ (see `check_parity`).
    """
    size = np.abs(form.terms(matrix)).sum(axis=1) + abs(form.intercept)
    check_parity(partial(predicted, pipeline), form.prices, matrix, names, 1e-12 * size)
