"""Prepare training tables, and refit the best candidate to different sales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from joblib import cpu_count, delayed
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from housepredict.adapters.serving.attribution import Attribution
from housepredict.adapters.serving.encoding import DerivedFeatures, Encoder, Matrix
from housepredict.adapters.serving.linear import LogPrices
from housepredict.adapters.serving.trees import MAX_LEAVES, Paths, Trees
from housepredict.adapters.training.calibration import fit_calibration
from housepredict.adapters.training.candidates import ABSOLUTE, SQUARED, Candidate, Model, TrainingTable, fit_candidate
from housepredict.adapters.training.search import folds_of, results_of, sampled_rows, score_of
from housepredict.adapters.training.serving_form import flatten, splits_of
from housepredict.adapters.training.target_encoding import with_target_encoding
from housepredict.domain.estimates import Calibration
from housepredict.domain.features import FeatureSchema, Kind, coordinates
from housepredict.domain.sales import Sale


def attribution(model: Model, form: LogPrices, table: TrainingTable) -> Attribution:
    """Compute the Attribution for a model, which is needed to explain its estimates.

    Args:
        model: the model.
        form: the serving form of the model.
        table: the sales that the model was fitted to.
    """
    players = form.columns.players[form.columns.for_trees]
    return Attribution(
        means=form.linear.terms(table.for_lines).mean(axis=0),
        squared=paths(model.trees[SQUARED], form.squared, players) if form.squared else None,
        absolute=paths(model.trees[ABSOLUTE], form.absolute, players) if form.absolute else None,
    )


def paths(estimator: HistGradientBoostingRegressor, form: Trees, players: NDArray[np.int64]) -> Paths:
    """Return the paths from root to leaf in each tree.

    Args:
        estimator: the trees.
        form: the serving form of the trees.
        players: the index of the player to which each input column of the trees belongs (see
            `DerivedFeatures.players`).
    """
    # serving masks clear the leaves left of a right turn; path masks also clear the leaves right of a left turn
    masks = form.masks.copy()
    ratios = np.ones((players.max() + 1, *form.leaves.shape))
    leaves = np.ones(len(form.leaves), dtype=np.int64)
    for split in splits_of(estimator):
        left = ~split.turns_right(form.axes[split.feature])
        split_masks = masks[form.first_cells[split.feature] :, split.tree][: left.size]
        split_masks[left] &= ~np.uint32(split.right_leaves())
        shares = ratios[players[split.feature], split.tree]
        shares[split.first : split.middle] *= split.left_share
        shares[split.middle : split.last] *= 1 - split.left_share
        leaves[split.tree] += 1
    exists = np.arange(MAX_LEAVES) < leaves[:, np.newaxis]
    mean = (form.leaves * ratios.prod(axis=0))[exists].sum()
    return Paths(masks, ratios, mean)


_ANGLES = np.radians([22.5, 45.0, 67.5, 112.5, 135.0, 157.5])
_YEAR_DAYS = 365.0
_ORIGINS = (0.7, 0.8, 0.9)
_MIN_RELATIVE_RANGE = 1e-3
"""Minimum range of a numeric feature, relative to its largest value, for adding a column with its logarithm."""


def encoded(schema: FeatureSchema, sales: Sequence[Sale]) -> tuple[Matrix, NDArray[np.float64], NDArray[np.int64]]:
    """Encode sales as arrays. Returns houses of shape (sales, features), and prices and folds of shape (sales,)."""
    prices = np.array([sale.price for sale in sales], dtype=np.float64)
    return Encoder(schema)([sale.house for sale in sales]), prices, folds_of([sale.house_key for sale in sales])


def table_of(schema: FeatureSchema, matrix: Matrix, prices: NDArray[np.float64], days: float) -> TrainingTable:
    """Build the training table from encoded houses and their prices.

    The model extrapolates the price trend until `days` days after the last sale. Dates after that day are treated as
    that day.
    """
    features = schema.features
    numeric = [feature.kind in (Kind.NUMBER, Kind.INTEGER) for feature in features]
    ranged = [feature.kind is not Kind.CATEGORY for feature in features]
    with np.errstate(invalid="ignore"):
        lowest = np.where(ranged, np.fmin.reduce(matrix, axis=0), -np.inf)
        highest = np.where(ranged, np.fmax.reduce(matrix, axis=0), np.inf)
    # features without any value are 0
    lowest, highest = np.nan_to_num(lowest, nan=0.0), np.nan_to_num(highest, nan=0.0)
    for column, feature in enumerate(features):
        if feature.name == schema.sale_date:
            highest[column] += days
    # in a narrow range far from zero, a logarithm is nearly linear and loses most of its digits to rounding
    curved = lowest <= (1 - _MIN_RELATIVE_RANGE) * highest
    logged = [column for column in range(len(features)) if numeric[column] and curved[column] and lowest[column] >= 0]
    turned, weights = _rotated_axes(schema, matrix)
    columns = DerivedFeatures(lowest, highest, np.array(logged, dtype=np.int64), turned, weights)
    categories = [len(feature.categories) if feature.kind is Kind.CATEGORY else 0 for feature in features]
    return TrainingTable(columns, [feature.name for feature in features], categories, columns(matrix), np.log(prices))


def trend_days(schema: FeatureSchema, matrix: Matrix, prices: NDArray[np.float64], seed: int) -> float:
    """Choose for how many days after the last sale to extrapolate the price trend: 365 or 0.

    Both choices are evaluated with a rolling origin: for several dates, a model of the sales before the date estimates
    the sales after it. The choice with the smaller errors is returned.
    """
    names = [feature.name for feature in schema.features]
    if schema.sale_date not in names:
        return 0.0
    dates = matrix[:, names.index(schema.sale_date)]
    errors: dict[float, list[NDArray[np.float64]]] = {0.0: [], _YEAR_DAYS: []}
    for origin in _ORIGINS:
        first, last = np.quantile(dates, [origin, origin + 0.1])
        past, future = dates < first, (dates >= first) & (dates <= last)
        if past.sum() < 100 or not future.any():  # too few to fit a model
            return 0.0
        tables = {days: table_of(schema, matrix[past], prices[past], days) for days in errors}
        # the training columns don't depend on the days, so one model is enough
        model = fit_candidate(Candidate(on_a_line=True, leaves=16, iterations=100, share=0.0), tables[0.0], seed)
        for days, table in tables.items():
            log_prices = model.predict(table.columns, table.columns(matrix[future]))
            errors[days].append(log_prices - np.log(prices[future]))
    scores = {days: score_of(np.concatenate(origin_errors)) for days, origin_errors in errors.items()}
    return min(scores, key=lambda days: (scores[days], days))


def _rotated_axes(schema: FeatureSchema, matrix: Matrix) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return axes that combine latitude and longitude at several angles.

    Each axis is a weighted sum of two features.

    Returns:
        The positions of the two features, and their weights. Both arrays have the shape (axes, 2).
    """
    names = [feature.name for feature in schema.features]
    pair = coordinates(schema)
    if pair is None:
        return np.empty((0, 2), dtype=np.int64), np.empty((0, 2))
    latitude, longitude = map(names.index, pair)
    # a degree of longitude is shorter by the cosine of the latitude
    shrinkage = np.cos(np.radians(np.nanmean(matrix[:, latitude])))
    axes = np.array([[latitude, longitude]] * len(_ANGLES), dtype=np.int64)
    return axes, np.column_stack([np.cos(_ANGLES), shrinkage * np.sin(_ANGLES)])


def refit(
    schema: FeatureSchema, sales: Sequence[Sale], candidate: Candidate, seed: int, *, scaled: bool, error_scale: float
) -> tuple[LogPrices, Calibration]:
    """Fit the best candidate to the earlier sales for an out-of-time evaluation, and calibrate its intervals.

    One fold is left out to fit a second model, and the intervals are calibrated on this model's errors in that fold. (A
    search calibrates on all five folds, but that would take five fits here.) `candidate`, `seed`, `scaled` and
    `error_scale` must be those of the model to be served, so that the evaluation applies to that model's intervals.

    Args:
        schema: the feature schema.
        sales: the sales to fit the candidate to.
        candidate: the candidate that the search chose.
        seed: the random seed.
        scaled: whether to fit spread trees.
        error_scale: the factor to multiply the errors by (see `error_scale_of`).

    Returns:
        The serving form of the model, and the calibration of its intervals.
    """
    matrix, prices, folds = encoded(schema, sales)
    plain = table_of(schema, matrix, prices, trend_days(schema, matrix, prices, seed))
    rows = sampled_rows(len(plain))
    left_out, others = rows[folds[rows] == 0], rows[folds[rows] != 0]
    tables = [with_target_encoding(plain, folds), with_target_encoding(plain.rows(others), folds[others])]
    fits = (delayed(fit_candidate)(candidate, table, seed) for table in tables)
    with results_of(fits, min(len(tables), cpu_count())) as results:
        model, second = results
    table, columns = tables[0], tables[1].columns
    log_prices = second.predict(columns, columns(plain.features[left_out]))
    left_out_folds = folds_of([sales[row].house_key for row in left_out.tolist()])
    spread, calibration = fit_calibration(
        table.rows(left_out), log_prices, left_out_folds, seed, scaled=scaled, error_scale=error_scale
    )
    return model.form(table, flatten(spread) if spread else None), calibration
