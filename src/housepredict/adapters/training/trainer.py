"""Models are searched for, fitted, turned into their serving form and proven here."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import joblib
import numpy as np
import sklearn
from attrs import define, evolve, frozen
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from housepredict.adapters.serving.attribution import Attribution, Contributions
from housepredict.adapters.serving.encoding import Encoder, Matrix
from housepredict.adapters.serving.loader import (
    ESTIMATOR_FILE,
    EXPLANATION_FILE,
    SERVING_FILE,
    PackedAttribution,
    ServingForm,
    pack,
    unpack,
    valuation,
)
from housepredict.adapters.training.boosting import check_tree_parity
from housepredict.adapters.training.calibration import (
    calibrate,
    enough_for_spread,
    error_scale_of,
    fit_calibration,
    needs_error_scale,
)
from housepredict.adapters.training.candidates import Candidate, candidates, fit_candidate
from housepredict.adapters.training.linear_models import check_linear_parity, least_squares, linear_form
from housepredict.adapters.training.refit import again, attribution, encoded, table_of, trend_days
from housepredict.adapters.training.search import FOLDS, lacking, search
from housepredict.adapters.training.serving_form import flatten, odd_rows
from housepredict.adapters.training.target_encoding import with_levels
from housepredict.domain.estimates import Calibration
from housepredict.domain.features import FeatureSchema, House, Kind
from housepredict.domain.ports import Fitted, Learned, Progress, Valuation, no_progress
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions

if TYPE_CHECKING:
    from housepredict.adapters.serving.linear import Linear, LogPrices
    from housepredict.adapters.serving.trees import Trees

_PROVEN = 100
"""Houses whose explanations are proven: each takes as long as a hundred estimates."""


@frozen(eq=False)
class _Made:
    """A model in its two forms, as scikit-learn has it and packed to serve and to explain, how it is made again of
    other sales, and how to make it with plain intervals if these are scaled.
    """

    algorithm: Algorithm
    estimator: Any
    serving: bytes
    explanation: bytes
    calibration: Calibration
    again: Callable[[Sequence[Sale]], tuple[ServingForm, Calibration]]
    irreproducible: str | None = None
    plain: Callable[[], _Made] | None = None


@define
class SklearnTrainer:
    """Fits models with scikit-learn. `candidates` says what a search compares, `seconds` is the clock of its limit,
    `jobs` how many processes it takes, -1 for one a core.
    """

    _recipes: Callable[[Algorithm, Effort, int], Sequence[Candidate]] = candidates
    _seconds: Callable[[], float] = monotonic
    _jobs: int = -1

    def fit(self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress) -> Fitted:
        """See ports.Trainer. What is proven is the serving form as it is read from its file."""
        if options.algorithm is Algorithm.LINEAR:
            made = _linear(schema, sales, progress)
        else:
            made = self._log_prices(schema, sales, options, progress)
        return _fitted(schema, made)

    def _log_prices(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> _Made:
        started, limit, seed = self._seconds(), options.time_limit, options.seed
        candidates = self._recipes(options.algorithm, options.effort, len(sales))
        matrix, prices, folds = encoded(schema, sales)
        table = table_of(schema, matrix, prices, trend_days(schema, matrix, prices, seed))
        is_over = None if limit is None else lambda: self._seconds() - started >= limit
        found = search(candidates, table, folds, seed, progress, is_over, self._jobs)
        table = with_levels(table, folds)
        model = fit_candidate(found.candidate, table, seed)
        known, known_folds = table.rows(found.known), folds[found.known]
        algorithm = found.candidate.algorithm
        compared = f"{found.compared} of {len(candidates)} candidates compared"

        def finished(*, scaled: bool) -> _Made:
            spread, calibration = fit_calibration(
                known, found.log_prices, known_folds, seed, scaled=scaled, error_scale=found.error_scale
            )
            serving = pack(model.form(table, flatten(spread) if spread else None))
            form = cast("LogPrices", unpack(serving, algorithm))
            for rows in (matrix, odd_rows(schema, matrix)):
                asked = evolve(table, values=table.columns(rows), log_prices=np.zeros(len(rows)))
                model.prove(form, asked)
                if spread:
                    seen = np.column_stack([asked.for_trees, form.log_prices(asked.values)])
                    names = [*asked.names[asked.columns.for_trees], "the estimate"]
                    check_tree_parity(spread, cast("Trees", form.spread), seen, names)
            explanation = pack(attribution(model, form, table))
            _prove_explanation(schema, form, explanation, matrix)
            return _Made(
                algorithm=algorithm,
                estimator={**model.parts(), "spread": spread},
                serving=serving,
                explanation=explanation,
                calibration=calibration,
                again=partial(
                    again, schema, candidate=found.candidate, seed=seed, scaled=scaled, error_scale=found.error_scale
                ),
                irreproducible=None
                if found.compared == len(candidates)
                else f"the time limit of {limit:g} s ended the search with {compared}",
                plain=partial(finished, scaled=False) if scaled else None,
            )

        return finished(scaled=enough_for_spread(known_folds))


def _fitted(schema: FeatureSchema, made: _Made) -> Fitted:
    encode = Encoder(schema)

    def learned(form: ServingForm, calibration: Calibration) -> Learned:
        def predict(houses: Sequence[House]) -> Valuation:
            return valuation(form, encode(houses))

        return Learned(predict, calibration)

    plain = made.plain
    return Fitted(
        predict=learned(unpack(made.serving, made.algorithm), made.calibration).predict,
        calibration=made.calibration,
        artefact={
            SERVING_FILE: made.serving,
            EXPLANATION_FILE: made.explanation,
            ESTIMATOR_FILE: _dump(made.estimator),
        },
        algorithm=made.algorithm,
        libraries={
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "joblib": joblib.__version__,
        },
        again=lambda others: learned(*made.again(others)),
        irreproducible=made.irreproducible,
        plain=None if plain is None else lambda: _fitted(schema, plain()),
    )


def _linear(schema: FeatureSchema, sales: Sequence[Sale], progress: Progress) -> _Made:
    matrix, prices, folds = encoded(schema, sales)
    pipeline, form, calibration = _line(schema, matrix, prices, folds, progress)
    serving = pack(form)
    served = cast("Linear", unpack(serving, Algorithm.LINEAR))
    for rows in (matrix, odd_rows(schema, matrix)):
        check_linear_parity(pipeline, served, rows, [feature.name for feature in schema.features])
    explanation = pack(Attribution(served.terms(matrix).mean(axis=0)))
    _prove_explanation(schema, served, explanation, matrix)
    progress(FOLDS + 1, FOLDS + 1)

    def line_again(others: Sequence[Sale]) -> tuple[ServingForm, Calibration]:
        _, form, calibration = _line(schema, *encoded(schema, others), no_progress)
        return form, calibration

    return _Made(Algorithm.LINEAR, pipeline, serving, explanation, calibration, line_again)


def _line(
    schema: FeatureSchema,
    matrix: Matrix,
    prices: NDArray[np.float64],
    folds: NDArray[np.int64],
    progress: Progress,
) -> tuple[Pipeline, Linear, Calibration]:
    categories = [len(feature.categories) if feature.kind is Kind.CATEGORY else 0 for feature in schema.features]
    counts = (1, 2) if needs_error_scale(len(prices)) else (1,)
    kept_out, spreads = np.empty((2, len(counts), len(prices)))
    for fold in range(FOLDS):
        progress(fold, FOLDS + 1)
        own = folds == fold
        for count in counts:
            known = ~lacking(folds, fold, count)
            form = linear_form(categories, least_squares(categories, matrix[known], prices[known]))
            kept_out[count - 1, own], spreads[count - 1, own] = form.valuation(matrix[own])
    pipeline = least_squares(categories, matrix, prices)
    # no interval around a price of nothing or less holds a sale price
    ratios = np.divide(prices, kept_out, where=kept_out > 0, out=np.full(kept_out.shape, np.inf))
    errors = np.log(ratios)
    error_scale = error_scale_of(*errors / spreads) if len(counts) > 1 else 1.0
    return pipeline, linear_form(categories, pipeline), calibrate(errors[0] * error_scale, spreads[0])


def _prove_explanation(schema: FeatureSchema, form: ServingForm, explanation: bytes, matrix: Matrix) -> None:
    """Raise RefusedModel unless contributions, as they are read from their file, add up to what the form says."""
    contributions = Contributions.of(form, PackedAttribution(explanation))
    for rows in (matrix, odd_rows(schema, matrix)):
        contributions.prove(rows[:: -(-len(rows) // _PROVEN)])


def _dump(estimator: Any) -> bytes:
    buffer = BytesIO()
    joblib.dump(estimator, buffer, compress=3)
    return buffer.getvalue()
