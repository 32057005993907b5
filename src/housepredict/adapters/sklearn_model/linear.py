"""Least squares on the price itself."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.linear import Linear
from housepredict.adapters.sklearn_model.proof import demand_equal, odd_rows
from housepredict.domain.features import FeatureSchema, Kind
from housepredict.domain.ports import Progress

_MAX_CATEGORIES = 255
"""As many of a feature have a column each; the rare ones beyond share one, and unseen ones go there too."""


@frozen
class LeastSquares:
    """A pipeline from encoded houses to prices, and its serving form. A missing number counts as its mean."""

    def fit(
        self, schema: FeatureSchema, matrix: Matrix, prices: NDArray[np.float64], _seed: int, progress: Progress
    ) -> Pipeline:
        """A fitted pipeline."""
        progress(0, 1)
        one_hot = OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=_MAX_CATEGORIES, sparse_output=False
        )
        mean = SimpleImputer(keep_empty_features=True)
        columns = [
            (str(column), one_hot if feature.kind is Kind.CATEGORY else mean, [column])
            for column, feature in enumerate(schema.features)
        ]
        pipeline = Pipeline([("columns", ColumnTransformer(columns)), ("regression", LinearRegression())])
        pipeline.fit(matrix, prices)
        progress(1, 1)
        return pipeline

    def form(self, schema: FeatureSchema, pipeline: Pipeline) -> Linear:
        """The serving form of a fitted pipeline."""
        columns, regression = pipeline["columns"], pipeline["regression"]
        means, coefficients = np.zeros((2, len(schema.features)))
        sizes = np.zeros(len(schema.features), dtype=np.int64)
        offsets = [np.empty(0)]
        for column, feature in enumerate(schema.features):
            transformer = columns.named_transformers_[str(column)]
            own = regression.coef_[columns.output_indices_[str(column)]]
            if feature.kind is Kind.CATEGORY:
                codes = np.append(np.arange(len(feature.categories), dtype=np.float64), np.nan)
                sizes[column] = codes.size
                offsets.append(transformer.transform(codes[:, np.newaxis]) @ own)
            else:
                means[column], coefficients[column] = transformer.statistics_[0], own[0]
        return Linear(np.asarray(regression.intercept_), means, coefficients, sizes, np.concatenate(offsets))

    def prove(self, schema: FeatureSchema, pipeline: Pipeline, form: Linear, matrix: Matrix) -> None:
        """Raise RefusedModel unless both give every house the same price, but for the order of their additions."""
        for rows in (matrix, odd_rows(schema, matrix)):
            size = np.abs(form.terms(rows)).sum(axis=1) + abs(form.intercept)
            demand_equal(pipeline.predict(rows), form.prices(rows), 1e-12 * size)
