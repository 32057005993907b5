"""Train a model: find the best candidate, fit it, convert it to its serving form, and check that both agree."""

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
from attrs import define
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from housepredict.adapters.serving.attribution import Attribution
from housepredict.adapters.serving.encoding import Encoder, Matrix
from housepredict.adapters.serving.loader import (
    ESTIMATOR_FILE,
    EXPLANATION_FILE,
    SERVING_FILE,
    ServingForm,
    pack,
    read_contributions,
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
from housepredict.adapters.training.refit import attribution, encoded, refit, table_of, trend_days
from housepredict.adapters.training.search import FOLDS, left_out, search
from housepredict.adapters.training.serving_form import flatten, odd_rows
from housepredict.adapters.training.target_encoding import with_target_encoding
from housepredict.domain.estimates import Calibration
from housepredict.domain.features import FeatureSchema, House, Kind
from housepredict.domain.ports import CalibratedModel, Progress, TrainedModel, Valuation, no_progress
from housepredict.domain.sales import Sale
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions

if TYPE_CHECKING:
    from housepredict.adapters.serving.linear import Linear, LogPrices
    from housepredict.adapters.serving.trees import Trees

_MAX_EXPLAINED = 100
"""Maximum number of houses to check explanations for. One explanation takes as long as a hundred estimates."""


@define
class SklearnTrainer:
    """A Trainer that uses scikit-learn.

    `candidates` takes an algorithm, an effort and a number of sales, and returns the candidates to search. `seconds` is
    the clock used to enforce the time limit. `jobs` is the number of worker processes (-1: one per core).
    """

    _candidates: Callable[[Algorithm, Effort, int], Sequence[Candidate]] = candidates
    _seconds: Callable[[], float] = monotonic
    _jobs: int = -1

    def fit(
        self, schema: FeatureSchema, sales: Sequence[Sale], options: TrainingOptions, progress: Progress
    ) -> TrainedModel:
        if options.algorithm is Algorithm.LINEAR:
            return _fit_linear(schema, sales, progress)
        started, limit, seed = self._seconds(), options.time_limit, options.seed
        candidates = self._candidates(options.algorithm, options.effort, len(sales))
        matrix, prices, folds = encoded(schema, sales)
        table = table_of(schema, matrix, prices, trend_days(schema, matrix, prices, seed))
        is_over = None if limit is None else lambda: self._seconds() - started >= limit
        result = search(candidates, table, folds, seed, progress, is_over, self._jobs)
        table = with_target_encoding(table, folds)
        model = fit_candidate(result.candidate, table, seed)
        compared_sales, compared_folds = table.rows(result.rows), folds[result.rows]
        irreproducible = None
        if result.compared < len(candidates):
            compared = f"{result.compared} of {len(candidates)} candidates compared"
            irreproducible = f"the time limit of {limit:g} s ended the search with {compared}"

        def refit_to(sales: Sequence[Sale], *, scaled: bool) -> CalibratedModel:
            form, calibration = refit(
                schema, sales, result.candidate, seed, scaled=scaled, error_scale=result.error_scale
            )
            return CalibratedModel(_make_predictor(schema, form), calibration)

        def with_intervals(*, scaled: bool) -> TrainedModel:
            spread, calibration = fit_calibration(
                compared_sales, result.log_prices, compared_folds, seed, scaled=scaled, error_scale=result.error_scale
            )
            serving = pack(model.form(table, flatten(spread) if spread else None))
            form = cast("LogPrices", unpack(serving, result.candidate.algorithm))
            for rows in (matrix, odd_rows(schema, matrix)):
                values = table.columns(rows)
                model.check_parity(form, values, table.names)
                if spread:
                    for_spread = np.column_stack([values[:, table.columns.for_trees], form.log_prices(values)])
                    names = [*table.names[table.columns.for_trees], "the estimate"]
                    check_tree_parity(spread, cast("Trees", form.spread), for_spread, names)
            return TrainedModel(
                predict=_make_predictor(schema, form),
                calibration=calibration,
                artifact={
                    SERVING_FILE: serving,
                    EXPLANATION_FILE: _pack_explanation(schema, form, attribution(model, form, table), matrix),
                    ESTIMATOR_FILE: _dump({**model.parts(), "spread": spread}),
                },
                algorithm=result.candidate.algorithm,
                libraries=_LIBRARIES,
                refit=partial(refit_to, scaled=scaled),
                irreproducible=irreproducible,
                with_plain_intervals=partial(with_intervals, scaled=False) if scaled else None,
            )

        return with_intervals(scaled=enough_for_spread(compared_folds))


_LIBRARIES = {
    "python": platform.python_version(),
    "numpy": np.__version__,
    "scikit-learn": sklearn.__version__,
    "joblib": joblib.__version__,
}


def _make_predictor(schema: FeatureSchema, form: ServingForm) -> Callable[[Sequence[House]], Valuation]:
    encode = Encoder(schema)
    return lambda houses: valuation(form, encode(houses))


def _fit_linear(schema: FeatureSchema, sales: Sequence[Sale], progress: Progress) -> TrainedModel:
    matrix, prices, folds = encoded(schema, sales)
    pipeline, form, calibration = _fit_line(schema, matrix, prices, folds, progress)
    serving = pack(form)
    form = cast("Linear", unpack(serving, Algorithm.LINEAR))
    for rows in (matrix, odd_rows(schema, matrix)):
        check_linear_parity(pipeline, form, rows, [feature.name for feature in schema.features])
    explanation = _pack_explanation(schema, form, Attribution(form.terms(matrix).mean(axis=0)), matrix)
    progress(FOLDS + 1, FOLDS + 1)

    def refit_to(sales: Sequence[Sale]) -> CalibratedModel:
        _, form, calibration = _fit_line(schema, *encoded(schema, sales), no_progress)
        return CalibratedModel(_make_predictor(schema, form), calibration)

    return TrainedModel(
        predict=_make_predictor(schema, form),
        calibration=calibration,
        artifact={SERVING_FILE: serving, EXPLANATION_FILE: explanation, ESTIMATOR_FILE: _dump(pipeline)},
        algorithm=Algorithm.LINEAR,
        libraries=_LIBRARIES,
        refit=refit_to,
    )


def _fit_line(
    schema: FeatureSchema,
    matrix: Matrix,
    prices: NDArray[np.float64],
    folds: NDArray[np.int64],
    progress: Progress,
) -> tuple[Pipeline, Linear, Calibration]:
    """Fit a least-squares model to all sales, convert it to its serving form, and calibrate its intervals.

    The intervals are calibrated on out-of-fold estimates.
    """
    categories = [len(feature.categories) if feature.kind is Kind.CATEGORY else 0 for feature in schema.features]
    counts = (1, 2) if needs_error_scale(len(prices)) else (1,)
    estimates, spreads = np.empty((2, len(counts), len(prices)))
    for fold in range(FOLDS):
        progress(fold, FOLDS + 1)
        in_fold = folds == fold
        for count in counts:
            is_training = ~left_out(folds, fold, count)
            form = linear_form(categories, least_squares(categories, matrix[is_training], prices[is_training]))
            estimates[count - 1, in_fold], spreads[count - 1, in_fold] = form.valuation(matrix[in_fold])
    pipeline = least_squares(categories, matrix, prices)
    # no interval around an estimate of zero or less contains the sale price
    ratios = np.divide(prices, estimates, where=estimates > 0, out=np.full(estimates.shape, np.inf))
    errors = np.log(ratios)
    error_scale = error_scale_of(*errors / spreads) if len(counts) > 1 else 1.0
    return pipeline, linear_form(categories, pipeline), calibrate(errors[0] * error_scale, spreads[0])


def _pack_explanation(schema: FeatureSchema, form: ServingForm, attribution: Attribution, matrix: Matrix) -> bytes:
    """Return the content of the explanation file.

    Args:
        schema: the feature schema.
        form: the serving form of the model.
        attribution: the data to explain estimates with.
        matrix: the encoded training houses, used to check explanations.

    Raises:
        RefusedModel: if the contributions don't add up to the model's output.
    """
    content = pack(attribution)
    contributions = read_contributions(content, form)
    for rows in (matrix, odd_rows(schema, matrix)):
        contributions.check_sum(rows[:: -(-len(rows) // _MAX_EXPLAINED)])
    return content


def _dump(estimator: Any) -> bytes:
    buffer = BytesIO()
    joblib.dump(estimator, buffer, compress=3)
    return buffer.getvalue()
