"""Linear models: least squares on the price, and ridge regression on its logarithm."""

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
"""The most categories of a feature with a column each; rarer and unknown ones share one."""

_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
_AT_ONCE = 20_000
_MAX_FITTED = 30_000
"""More sales than this make a line slower to fit, and no better."""


def least_squares(categories: Sequence[int], matrix: Matrix, prices: NDArray[np.float64]) -> Pipeline:
    """A pipeline from encoded houses to prices. `categories` is the number of each column's, 0 for a number."""
    return _fitted(categories, matrix, prices, LinearRegression())


def ridge(categories: Sequence[int], matrix: Matrix, log_prices: NDArray[np.float64]) -> Pipeline:
    """A pipeline from columns (see DerivedFeatures) to logarithms of prices, its penalty chosen by leave-one-out."""
    every = -(-len(matrix) // _MAX_FITTED)
    return _fitted(categories, matrix[::every], log_prices[::every], RidgeCV(_PENALTIES))


def _fitted(categories: Sequence[int], matrix: Matrix, targets: NDArray[np.float64], regression: object) -> Pipeline:
    # A fit must not depend on the unit or the origin of a column: least squares cuts off columns that are small beside
    # others, and ridge penalizes them. The first scaler only centers: rounding loses the variance of a large number
    # with a small spread unless its mean is subtracted first.
    number = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(with_std=False), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES, sparse_output=False)
    columns = [(str(column), one_hot if count else number, [column]) for column, count in enumerate(categories)]
    return Pipeline([("columns", ColumnTransformer(columns)), ("regression", regression)]).fit(matrix, targets)


def predicted(pipeline: Pipeline, matrix: Matrix) -> NDArray[np.float64]:
    """The predictions of a pipeline, in batches: one-hot encoding takes memory for each category of each house."""
    starts = range(0, max(len(matrix), 1), _AT_ONCE)
    return np.concatenate([pipeline.predict(matrix[start : start + _AT_ONCE]) for start in starts])


def linear_form(categories: Sequence[int], pipeline: Pipeline) -> Linear:
    """The serving form of a fitted pipeline."""
    columns, regression = pipeline["columns"], pipeline["regression"]
    means, centers, coefficients = np.zeros((3, len(categories)))
    intercept = float(regression.intercept_)
    offsets = [np.empty(0)]
    for column, count in enumerate(categories):
        transformer = columns.named_transformers_[str(column)]
        own = regression.coef_[columns.output_indices_[str(column)]]
        if count:
            codes = np.append(np.arange(count, dtype=np.float64), np.nan)
            offsets.append(transformer.transform(codes[:, np.newaxis]) @ own)
            continue
        imputer, center, scaler = transformer
        means[column], centers[column] = imputer.statistics_[0], center.mean_[0]
        coefficients[column] = own[0] / scaler.scale_[0]
        intercept -= coefficients[column] * scaler.mean_[0]
    # a category has one more term than codes: that of a house without it
    sizes = np.array([count + 1 if count else 0 for count in categories], dtype=np.int64)
    return Linear(np.asarray(intercept), means, coefficients, sizes, np.concatenate(offsets), centers)


def check_linear_parity(pipeline: Pipeline, form: Linear, matrix: Matrix, names: Sequence[str]) -> None:
    """Check that both predict the same for every house, up to the order of their additions.

    Raises:
        RefusedModel: if they differ; `names` are those of the columns of the matrix.
    """
    size = np.abs(form.terms(matrix)).sum(axis=1) + abs(form.intercept)
    check_parity(partial(predicted, pipeline), form.prices, matrix, names, 1e-12 * size)
