"""Houses as numbers: the one encoding for training and for serving."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import assert_never

import numpy as np
from attrs import define, field
from attrs.validators import optional
from numpy.typing import NDArray

from housepredict.adapters.serving.arrays import array_of
from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value


@define(eq=False)
class DerivedFeatures:
    """The columns of a model: logarithms of amounts, the features themselves, target encodings, and turned axes.

    They are in this order. `lowest` and `highest`, both of shape (features,), are the bounds that features are clipped
    to: beyond them nothing is known, and a line would go anywhere. Each of the features `logged`, of shape
    (logarithms,), has a column of ln(1 + amount). The features `grouped`, of shape (groups,), have too many categories
    for a column each: `levels`, of shape (groups, codes + 1), is the target encoding of each code, and last that of
    an unknown one; both are None if there is no such feature. `turned`, of shape (axes, 2), names two features for each
    axis, and `weights`, of the same shape, their weights: trees split along axes only, and the border between two
    neighborhoods rarely runs along a meridian.

    `sources`, of shape (columns,), is the feature that each column is derived from; of a turned axis, the first of its
    two. The slices select columns: `for_lines` all but turned axes, which add nothing to a line, and `for_trees` all
    but logarithms, which add nothing to trees.

    Raises:
        ValueError: if the arrays don't fit together.
    """

    lowest: NDArray[np.float64] = field(validator=array_of(np.float64, 1, finite=False))
    highest: NDArray[np.float64] = field(validator=array_of(np.float64, 1, finite=False))
    logged: NDArray[np.int64] = field(validator=array_of(np.int64, 1))
    turned: NDArray[np.int64] = field(validator=array_of(np.int64, 2))
    weights: NDArray[np.float64] = field(validator=array_of(np.float64, 2))
    grouped: NDArray[np.int64] | None = field(default=None, validator=optional(array_of(np.int64, 1)))
    levels: NDArray[np.float64] | None = field(default=None, validator=optional(array_of(np.float64, 2)))
    features: int = field(init=False)
    sources: NDArray[np.int64] = field(init=False)
    for_features: slice = field(init=False)
    for_levels: slice = field(init=False)
    for_lines: slice = field(init=False)
    for_trees: slice = field(init=False)

    def __attrs_post_init__(self) -> None:
        grouped = np.empty(0, dtype=np.int64) if self.grouped is None else self.grouped
        levels = np.empty((0, 1)) if self.levels is None else self.levels
        named = np.concatenate([self.logged, self.turned.ravel(), grouped])
        self.features = self.lowest.size
        if self.lowest.shape != self.highest.shape or not (self.lowest <= self.highest).all():
            raise ValueError("there must be a lowest and a highest value for each feature, in this order")
        if self.turned.shape != self.weights.shape or self.turned.shape[1] != 2:
            raise ValueError("a turned axis must be of two features")
        if len(levels) != grouped.size or not levels.shape[1]:
            raise ValueError("there must be levels for each feature that has them, one at least")
        if ((named < 0) | (named >= self.features)).any():
            raise ValueError("columns must follow from features that there are")
        self.sources = np.concatenate([self.logged, np.arange(self.features), grouped, self.turned[:, 0]])
        features, levels_end = self.logged.size + self.features, self.sources.size - len(self.turned)
        self.for_features, self.for_levels = slice(self.logged.size, features), slice(features, levels_end)
        self.for_lines, self.for_trees = slice(0, levels_end), slice(self.logged.size, self.sources.size)

    @property
    def players(self) -> NDArray[np.int64]:
        """The player that each column belongs to, of shape (columns,), numbered in the order of their features.

        A player is what contributes to a price as one: a feature, or all features that turned axes connect.
        """
        players = np.arange(self.features)
        for first, second in self.turned:
            players[np.isin(players, players[[first, second]])] = players[[first, second]].min()
        return np.unique(players, return_inverse=True)[1][self.sources]

    def __call__(self, matrix: Matrix) -> Matrix:
        """All columns of encoded houses, of shape (houses, columns)."""
        columns: Matrix = np.empty((len(matrix), self.sources.size), order="F")
        within = columns[:, self.for_features]
        np.clip(matrix, self.lowest, self.highest, out=within)
        columns[:, : self.logged.size] = np.log1p(within[:, self.logged])
        if self.grouped is not None and self.levels is not None:
            # fmin takes the number where the other is NaN: what is missing or beyond the codes gets the last level
            codes = np.fmin(within[:, self.grouped], self.levels.shape[1] - 1).astype(np.int64)
            columns[:, self.for_levels] = self.levels[np.arange(len(self.levels)), codes]
        for column, (first, second), (weight, other) in zip(
            range(self.for_levels.stop, self.sources.size), self.turned.tolist(), self.weights.tolist(), strict=True
        ):
            columns[:, column] = weight * within[:, first] + other * within[:, second]
        return columns


Matrix = NDArray[np.float64]
"""Encoded houses, of shape (houses, features), a column in one piece (Fortran order)."""

_Convert = Callable[[Value | None], Value | None]


@define
class Encoder:
    """Encodes houses that were checked against a schema, its features in order.

    Numbers stay as they are; booleans become 0 and 1, dates their ordinal in days, categories their position in
    `Feature.categories`. A missing value and a category that the schema doesn't name become NaN. A house without a sale
    date is sold on the schema's valuation date.
    """

    _schema: FeatureSchema
    _columns: list[tuple[str, _Convert | None]] = field(init=False)

    @_columns.default
    def _converters(self) -> list[tuple[str, _Convert | None]]:
        return [(feature.name, _converter(feature, self._schema)) for feature in self._schema.features]

    def __call__(self, houses: Sequence[House]) -> Matrix:
        """Encode a batch, as a matrix of shape (houses, features)."""
        rows = [house.values for house in houses]
        columns = [
            [convert(row.get(name)) for row in rows] if convert else [row.get(name) for row in rows]
            for name, convert in self._columns
        ]
        # numpy reads None as NaN, True as 1
        return np.array(columns, dtype=np.float64).T


def _converter(feature: Feature, schema: FeatureSchema) -> _Convert | None:
    match feature.kind:
        case Kind.CATEGORY:
            return {category: position for position, category in enumerate(feature.categories)}.get  # type: ignore[return-value]  # dict.get takes what is no key, too
        case Kind.DATE:
            sold_now = schema.valuation_date if feature.name == schema.sale_date else None
            absent = sold_now.toordinal() if sold_now else None
            return lambda text: absent if text is None else date.fromisoformat(str(text)).toordinal()
        case Kind.NUMBER | Kind.INTEGER | Kind.BOOLEAN:
            return None
        case _:
            assert_never(feature.kind)
