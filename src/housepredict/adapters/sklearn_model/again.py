"""A recipe that a search has found, on other sales: what it would have been worth when only those were known."""

from __future__ import annotations

from collections.abc import Sequence

from joblib import cpu_count, delayed

from housepredict.adapters.serving.log_prices import LogPrices
from housepredict.adapters.sklearn_model.flattening import flatten
from housepredict.adapters.sklearn_model.levels import with_levels
from housepredict.adapters.sklearn_model.preparing import encoded, table_of, trend_days
from housepredict.adapters.sklearn_model.processes import results_of
from housepredict.adapters.sklearn_model.recipes import Recipe, make
from housepredict.adapters.sklearn_model.search import enough_of, folds_of
from housepredict.adapters.sklearn_model.spread import fit_calibration
from housepredict.domain.estimates import Calibration
from housepredict.domain.features import FeatureSchema
from housepredict.domain.sales import Sale


def again(
    schema: FeatureSchema, sales: Sequence[Sale], recipe: Recipe, seed: int, *, scaled: bool, error_scale: float
) -> tuple[LogPrices, Calibration]:
    """A serving form fitted to these sales, and the calibration of its intervals by a second model, fitted beside it to
    all folds but one.

    Only the recipe, the kind of intervals, `scaled` or plain, and `error_scale` come from elsewhere: intervals are
    evaluated as they are served, however few sales one fold has. The five folds of a search would cost five fits.
    """
    matrix, prices, folds = encoded(schema, sales)
    plain = table_of(schema, matrix, prices, trend_days(schema, matrix, prices, seed))
    known = enough_of(len(plain))
    kept, others = known[folds[known] == 0], known[folds[known] != 0]
    table, blind_table = parts = [with_levels(plain, folds), with_levels(plain.rows(others), folds[others])]
    fits = (delayed(make)(recipe, part, seed) for part in parts)
    with results_of(fits, min(len(parts), cpu_count())) as results:
        model, blind = results
    log_prices = blind.predict(plain.rows(kept).seen_by(blind_table.columns))
    own_folds = folds_of([sales[row].house_key for row in kept.tolist()])
    spread, calibration = fit_calibration(
        table.rows(kept), log_prices, own_folds, seed, scaled=scaled, error_scale=error_scale
    )
    return model.form(table, flatten(spread) if spread else None), calibration
