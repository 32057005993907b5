"""Models are searched for, fitted, turned into their serving form and proven here."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import joblib
import numpy as np
import sklearn
from attrs import define, evolve, frozen
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import Encoder, Matrix
from housepredict.adapters.serving.loader import ESTIMATOR_FILE, SERVING_FILE, pack, unpack, valuation
from housepredict.adapters.sklearn_model.boosting import prove_trees
from housepredict.adapters.sklearn_model.flattening import flatten
from housepredict.adapters.sklearn_model.levels import with_levels
from housepredict.adapters.sklearn_model.lines import least_squares, linear_form, prove_line
from housepredict.adapters.sklearn_model.preparing import table_of, trend_days
from housepredict.adapters.sklearn_model.proof import odd_rows
from housepredict.adapters.sklearn_model.recipes import Recipe, make, recipes
from housepredict.adapters.sklearn_model.search import FOLDS, folds_of, search
from housepredict.adapters.sklearn_model.spread import calibrate, fit_spread, spreads_out_of_fold
from housepredict.domain.estimates import Calibration
from housepredict.domain.features import FeatureSchema, House, Kind
from housepredict.domain.models import Algorithm, Effort, TrainingOptions
from housepredict.domain.ports import Fitted, Progress, Valuation
from housepredict.domain.sales import Sale

if TYPE_CHECKING:
    from housepredict.adapters.serving.linear import Linear
    from housepredict.adapters.serving.log_prices import LogPrices
    from housepredict.adapters.serving.trees import Trees


@frozen(eq=False)
class _Learned:
    """A model in its two forms: as scikit-learn has it, and packed to serve."""

    algorithm: Algorithm
    estimator: Any
    serving: bytes
    calibration: Calibration


@define
class SklearnTrainer:
    """Fits models with scikit-learn. `recipes` says what a search compares."""

    _recipes: Callable[[Algorithm, Effort, int], Sequence[Recipe]] = recipes

    def fit(self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress) -> Fitted:
        """See ports.Trainer. What is proven is the serving form as it is read from its file."""
        encode = Encoder(schema)
        matrix = encode([sale.house for sale in sales])
        prices = np.array([sale.price for sale in sales], dtype=np.float64)
        folds = folds_of([sale.house_key for sale in sales])
        if options.algorithm is Algorithm.LINEAR:
            learned = _linear(schema, matrix, prices, folds, progress)
        else:
            candidates = self._recipes(options.algorithm, options.effort, len(sales))
            learned = _log_prices(schema, matrix, prices, folds, options.seed, candidates, progress)
        form = unpack(learned.serving, learned.algorithm)

        def predict(houses: Sequence[House]) -> Valuation:
            return valuation(form, encode(houses))

        return Fitted(
            artefact={SERVING_FILE: learned.serving, ESTIMATOR_FILE: _dump(learned.estimator)},
            predict=predict,
            algorithm=learned.algorithm,
            libraries={
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scikit-learn": sklearn.__version__,
                "joblib": joblib.__version__,
            },
            calibration=learned.calibration,
        )


def _linear(
    schema: FeatureSchema,
    matrix: Matrix,
    prices: NDArray[np.float64],
    folds: NDArray[np.int64],
    progress: Progress,
) -> _Learned:
    categories = [len(feature.categories) if feature.kind is Kind.CATEGORY else 0 for feature in schema.features]
    kept_out, spreads = np.empty((2, len(prices)))
    for fold in range(FOLDS):
        progress(fold, FOLDS + 1)
        own = folds == fold
        form = linear_form(categories, least_squares(categories, matrix[~own], prices[~own]))
        kept_out[own], spreads[own] = form.valuation(matrix[own])
    pipeline = least_squares(categories, matrix, prices)
    serving = pack(linear_form(categories, pipeline))
    served = cast("Linear", unpack(serving, Algorithm.LINEAR))
    for rows in (matrix, odd_rows(schema, matrix)):
        prove_line(pipeline, served, rows)
    progress(FOLDS + 1, FOLDS + 1)
    # a line may say that a house costs nothing; its logarithm would be infinite
    errors = np.log(prices) - np.log(np.maximum(kept_out, prices.min() / 2))
    return _Learned(Algorithm.LINEAR, pipeline, serving, calibrate(errors, spreads))


def _log_prices(
    schema: FeatureSchema,
    matrix: Matrix,
    prices: NDArray[np.float64],
    folds: NDArray[np.int64],
    seed: int,
    candidates: Sequence[Recipe],
    progress: Progress,
) -> _Learned:
    days = trend_days(schema, matrix, prices, seed)
    table = table_of(schema, matrix, prices, days)
    found = search(candidates, table, folds, seed, progress)
    table = with_levels(table, folds)
    model = make(found.recipe, table, seed)
    known = table.rows(found.known)
    errors = known.log_prices - found.log_prices
    seen = np.column_stack([known.for_trees, found.log_prices])
    spreads = spreads_out_of_fold(table.categorical, seen, errors, folds[found.known], seed)
    spread = fit_spread(table.categorical, seen, errors, seed)
    algorithm = found.recipe.algorithm
    serving = pack(model.form(table, flatten(spread) if spread else None))
    form = cast("LogPrices", unpack(serving, algorithm))
    for rows in (matrix, odd_rows(schema, matrix)):
        asked = evolve(table, values=table.columns(rows), log_prices=np.zeros(len(rows)))
        model.prove(form, asked)
        if spread:
            prove_trees(
                spread, cast("Trees", form.spread), np.column_stack([asked.for_trees, form.log_prices(asked.values)])
            )
    return _Learned(algorithm, {**model.parts(), "spread": spread}, serving, calibrate(errors, spreads))


def _dump(estimator: Any) -> bytes:
    buffer = BytesIO()
    joblib.dump(estimator, buffer, compress=3)
    return buffer.getvalue()
