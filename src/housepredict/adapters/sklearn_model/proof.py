"""The parity check: a serving form predicts what the model that it was made of predicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from housepredict.adapters.serving.encoding import Matrix
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import FeatureSchema, Kind
from housepredict.domain.validation import MAX_MAGNITUDE

Predict = Callable[[Matrix], NDArray[np.float64]]
"""Predicts a number for each row of a matrix."""

_MOST_NAMED = 3


def demand_equal(
    model: Predict,
    form: Predict,
    rows: Matrix,
    names: Sequence[str],
    slack: NDArray[np.float64] | float = 0.0,
) -> None:
    """Check that a model and its serving form predict the same for every row, to within the slack.

    Args:
        names: what each column of the rows holds, to name the columns responsible for a difference.

    Raises:
        RefusedModel: if they differ; names the columns without which the difference is at most half as large.
    """
    expected, actual = model(rows), form(rows)
    off = np.abs(expected - actual)
    differing = ~(off <= slack)
    if differing.any():
        worst = int(np.argmax(np.where(differing, np.nan_to_num(off, nan=np.inf), -np.inf)))
        columns = _responsible(model, form, rows[worst], names)
        raise RefusedModel(
            f"The serving form differs from the model for {differing.sum()} of {len(rows)} houses, at most "
            f"{actual[worst]} instead of {expected[worst]}; "
            + (
                f"exclude the column responsible: {', '.join(columns)}"
                if columns
                else "no single column is responsible"
            )
        )


def _responsible(model: Predict, form: Predict, row: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """The columns without which the two differ by at most half as much, most responsible first."""
    rows = np.repeat(row[np.newaxis], len(row) + 1, axis=0)
    rows[np.diag_indices(len(row))] = np.nan
    *without, whole = np.abs(model(rows) - form(rows)).tolist()
    order = sorted(range(len(row)), key=without.__getitem__)
    columns = dict.fromkeys(names[column] for column in order if without[column] <= whole / 2)
    return list(columns)[:_MOST_NAMED]


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
