"""What is said of the houses of a table, as columns beside those that it has."""

from __future__ import annotations

from collections.abc import Sequence

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import LEVELS, Prediction

PRICE_COLUMNS = (
    "predicted_price",
    *(f"{bound}_{level}" for level in LEVELS for bound in ("low", "high")),
    "prediction_id",
    "warnings",
    "error",
)
"""The names of the columns."""

NUMBERS = 1 + 2 * len(LEVELS)
"""How many of them hold numbers; the others hold text."""


def cells_of(outcome: Prediction | InvalidHouses) -> Sequence[str | float | None]:
    """The cells of a row: its prediction, or what is wrong with it."""
    if isinstance(outcome, InvalidHouses):
        return (*[None] * (len(PRICE_COLUMNS) - 1), "; ".join(each.describe() for each in outcome.violations))
    estimate = outcome.estimate
    bounds = {each.level: (each.low, each.high) for each in estimate.intervals}
    intervals = [bound for level in LEVELS for bound in bounds.get(level, (None, None))]
    warnings = "; ".join(each.message for each in estimate.warnings) or None
    return (estimate.price, *intervals, str(outcome.id), warnings, None)
