"""Models are fitted, turned into their serving form and proven here."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Protocol

import joblib
import numpy as np
import sklearn
from attrs import define, field
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it ships no annotations

from housepredict.adapters.serving.encoding import Encoder, Matrix
from housepredict.adapters.serving.loader import ESTIMATOR_FILE, SERVING_FILE, pack, unpack
from housepredict.adapters.sklearn_model.boosting import Boosting
from housepredict.adapters.sklearn_model.linear import LeastSquares
from housepredict.domain.features import FeatureSchema, House
from housepredict.domain.models import Algorithm, TrainingOptions
from housepredict.domain.ports import Fitted, Progress, Valuation
from housepredict.domain.sales import Sale

_WORTH_THREADS = 100_000
"""Sales from which on threads pay. They wait for each other at every node of every tree, spinning: with fewer sales
they gain next to nothing, and beside other busy processes a training was seen to take twenty times as long."""


class Method(Protocol):
    """One way to fit a model. The estimator is scikit-learn's, the form is one of those in `serving`."""

    def fit(
        self, schema: FeatureSchema, matrix: Matrix, prices: NDArray[np.float64], seed: int, progress: Progress, /
    ) -> Any:
        """The fitted estimator."""

    def form(self, schema: FeatureSchema, estimator: Any, /) -> Any:
        """The estimator's serving form."""

    def prove(self, schema: FeatureSchema, estimator: Any, form: Any, matrix: Matrix, /) -> None:
        """Raise RefusedModel unless the form predicts as the estimator does, on `matrix` and off it."""


def _methods() -> Mapping[Algorithm, Method]:
    return {Algorithm.LINEAR: LeastSquares(), Algorithm.BOOSTING: Boosting()}


@define
class SklearnTrainer:
    """Fits models with scikit-learn."""

    _methods: Mapping[Algorithm, Method] = field(factory=_methods)

    def fit(self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress) -> Fitted:
        """See ports.Trainer. What is proven is the serving form as it is read from its file."""
        algorithm = Algorithm.BOOSTING if options.algorithm is Algorithm.AUTO else options.algorithm
        method, encode = self._methods[algorithm], Encoder(schema)
        matrix = encode([sale.house for sale in sales])
        sale_prices = np.array([sale.price for sale in sales], dtype=np.float64)
        with threadpool_limits(1 if len(sales) < _WORTH_THREADS else None, user_api="openmp"):
            estimator = method.fit(schema, matrix, sale_prices, options.seed, progress)
            serving = pack(method.form(schema, estimator))
            form = unpack(serving, algorithm)
            method.prove(schema, estimator, form, matrix)

        def predict(houses: Sequence[House]) -> Valuation:
            return Valuation(form.prices(encode(houses)).tolist())

        return Fitted(
            artefact={SERVING_FILE: serving, ESTIMATOR_FILE: _dump(estimator)},
            predict=predict,
            algorithm=algorithm,
            libraries={
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scikit-learn": sklearn.__version__,
                "joblib": joblib.__version__,
            },
        )


def _dump(estimator: Any) -> bytes:
    buffer = BytesIO()
    joblib.dump(estimator, buffer, compress=3)
    return buffer.getvalue()
