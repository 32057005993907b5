"""The proof that a serving form predicts as the model that it was made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import Matrix
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import FeatureSchema, Kind
from housepredict.domain.validation import MAX_MAGNITUDE


def demand_equal(
    model: NDArray[np.float64], form: NDArray[np.float64], slack: NDArray[np.float64] | float = 0.0
) -> None:
    """Raise RefusedModel unless both predict the same for every row, or differ by no more than the slack."""
    differing = np.flatnonzero(~(np.abs(model - form) <= slack))
    if differing.size:
        first = differing[0]
        raise RefusedModel(
            f"The serving form differs from the model for {differing.size} of {model.size} houses: "
            f"{form[first]} instead of {model[first]}, for one"
        )


def odd_rows(schema: FeatureSchema, matrix: Matrix) -> Matrix:
    """Houses unlike any sale: without each feature, without all, with numbers as large as they may be, and with each
    category, also those that no sale of the training has.
    """
    numeric = [feature.kind is not Kind.CATEGORY for feature in schema.features]
    whole = [np.where(numeric, value, np.nan) for value in (np.nan, -MAX_MAGNITUDE, MAX_MAGNITUDE)]
    changed: list[NDArray[np.float64]] = []
    for column, feature in enumerate(schema.features):
        for value in (np.nan, *range(len(feature.categories))):
            row = matrix[len(changed) % len(matrix)].copy()
            row[column] = value
            changed.append(row)
    return np.array(whole + changed)
