"""Prepare training tables, and fit the chosen candidate again to other sales."""

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
    """The attribution of a model, from its serving form and the table that it was fitted to."""
    players = form.columns.players[form.columns.for_trees]
    return Attribution(
        means=form.linear.terms(table.for_lines).mean(axis=0),
        squared=paths(model.trees[SQUARED], form.squared, players) if form.squared else None,
        absolute=paths(model.trees[ABSOLUTE], form.absolute, players) if form.absolute else None,
    )


def paths(estimator: HistGradientBoostingRegressor, form: Trees, players: NDArray[np.int64]) -> Paths:
    """The paths through the trees of an estimator and its serving form; see TreeContributions for `players`."""
    # the masks of the serving form lack only the leaves to the left of a right turn
    masks = form.masks.copy()
    ratios = np.ones((players.max() + 1, *form.leaves.shape))
    leaves = np.ones(len(form.leaves), dtype=np.int64)
    for split in splits_of(estimator):
        left = ~split.turns_right(form.axes[split.feature])
        own = masks[form.first_cells[split.feature] :, split.tree][: left.size]
        own[left] &= ~np.uint32(split.right_leaves())
        shares = ratios[players[split.feature], split.tree]
        shares[split.first : split.middle] *= split.left_share
        shares[split.middle : split.last] *= 1 - split.left_share
        leaves[split.tree] += 1
    there = np.arange(MAX_LEAVES) < leaves[:, np.newaxis]
    mean = (form.leaves * ratios.prod(axis=0))[there].sum()
    return Paths(masks, ratios, mean)


_TURNS = np.radians([22.5, 45.0, 67.5, 112.5, 135.0, 157.5])
_YEAR = 365.0
"""Days that a trend may go on for after the last sale."""
_ORIGINS = (0.7, 0.8, 0.9)
_LEAST_CURVED = 1e-3
"""Amounts get a logarithm if their range is at least this share of the largest."""


def encoded(schema: FeatureSchema, sales: Sequence[Sale]) -> tuple[Matrix, NDArray[np.float64], NDArray[np.int64]]:
    """The encoded houses, their prices, and their folds in a search."""
    prices = np.array([sale.price for sale in sales], dtype=np.float64)
    return Encoder(schema)([sale.house for sale in sales]), prices, folds_of([sale.house_key for sale in sales])


def table_of(schema: FeatureSchema, matrix: Matrix, prices: NDArray[np.float64], days: float) -> TrainingTable:
    """The training table of encoded houses. A trend goes on for `days` after the last sale."""
    features = schema.features
    numeric = [feature.kind in (Kind.NUMBER, Kind.INTEGER) for feature in features]
    ranged = [feature.kind is not Kind.CATEGORY for feature in features]
    with np.errstate(invalid="ignore"):
        lowest = np.where(ranged, np.fmin.reduce(matrix, axis=0), -np.inf)
        highest = np.where(ranged, np.fmax.reduce(matrix, axis=0), np.inf)
    # a feature that no sale has is 0
    lowest, highest = np.nan_to_num(lowest, nan=0.0), np.nan_to_num(highest, nan=0.0)
    for column, feature in enumerate(features):
        if feature.name == schema.sale_date:
            highest[column] += days
    # within a narrow range far from zero a logarithm is a line, of which rounding leaves a few digits
    curved = lowest <= (1 - _LEAST_CURVED) * highest
    logged = [column for column in range(len(features)) if numeric[column] and curved[column] and lowest[column] >= 0]
    turned, weights = _turned(schema, matrix)
    columns = DerivedFeatures(lowest, highest, np.array(logged, dtype=np.int64), turned, weights)
    categories = [len(feature.categories) if feature.kind is Kind.CATEGORY else 0 for feature in features]
    return TrainingTable(columns, [feature.name for feature in features], categories, columns(matrix), np.log(prices))


def trend_days(schema: FeatureSchema, matrix: Matrix, prices: NDArray[np.float64], seed: int) -> float:
    """The days that a trend goes on for after the last sale: 365, or 0.

    It is the one that would have estimated the sales after some earlier days better (rolling origin).
    """
    column = next((at for at, feature in enumerate(schema.features) if feature.name == schema.sale_date), None)
    if column is None:
        return 0.0
    dates = matrix[:, column]
    errors: dict[float, list[NDArray[np.float64]]] = {0.0: [], _YEAR: []}
    for origin in _ORIGINS:
        first, last = np.quantile(dates, [origin, origin + 0.1])
        past, future = dates < first, (dates >= first) & (dates <= last)
        if past.sum() < 100 or not future.any():  # too few to fit a model
            return 0.0
        tables = {days: table_of(schema, matrix[past], prices[past], days) for days in errors}
        # the columns of the training sales are the same for all days
        model = fit_candidate(Candidate(on_a_line=True, leaves=16, iterations=100, share=0.0), tables[0.0], seed)
        for days, table in tables.items():
            log_prices = model.predict(table.columns, table.columns(matrix[future]))
            errors[days].append(log_prices - np.log(prices[future]))
    scores = {days: score_of(np.concatenate(each)) for days, each in errors.items()}
    return min(scores, key=lambda days: (scores[days], days))


def _turned(schema: FeatureSchema, matrix: Matrix) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Axes between a parallel and a meridian, and their weights, both of shape (axes, 2)."""
    names = [feature.name for feature in schema.features]
    pair = coordinates(schema)
    if pair is None:
        return np.empty((0, 2), dtype=np.int64), np.empty((0, 2))
    latitude, longitude = map(names.index, pair)
    # a degree of longitude is shorter, the further from the equator
    shrunk = np.cos(np.radians(np.nanmean(matrix[:, latitude])))
    turned = np.array([[latitude, longitude]] * len(_TURNS), dtype=np.int64)
    return turned, np.column_stack([np.cos(_TURNS), shrunk * np.sin(_TURNS)])


def refit(
    schema: FeatureSchema, sales: Sequence[Sale], candidate: Candidate, seed: int, *, scaled: bool, error_scale: float
) -> tuple[LogPrices, Calibration]:
    """Fit a candidate to these sales, and calibrate its intervals by a second model that lacks one fold.

    The candidate, the kind of intervals (`scaled` or plain) and `error_scale` are those of the first training, so that
    intervals are evaluated as they are served, however few sales one fold has. Calibrating on all five folds, as a
    search does, would cost five fits.
    """
    matrix, prices, folds = encoded(schema, sales)
    plain = table_of(schema, matrix, prices, trend_days(schema, matrix, prices, seed))
    rows = sampled_rows(len(plain))
    inside, others = rows[folds[rows] == 0], rows[folds[rows] != 0]
    tables = [with_target_encoding(plain, folds), with_target_encoding(plain.rows(others), folds[others])]
    fits = (delayed(fit_candidate)(candidate, table, seed) for table in tables)
    with results_of(fits, min(len(tables), cpu_count())) as results:
        model, second = results
    table, columns = tables[0], tables[1].columns
    log_prices = second.predict(columns, columns(plain.features[inside]))
    inside_folds = folds_of([sales[row].house_key for row in inside.tolist()])
    spread, calibration = fit_calibration(
        table.rows(inside), log_prices, inside_folds, seed, scaled=scaled, error_scale=error_scale
    )
    return model.form(table, flatten(spread) if spread else None), calibration
