"""Houses as numbers: the one encoding that models are trained with and served with."""

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
    """Logarithms of amounts, the features themselves, levels of categories, and coordinates in turned axes, in this
    order.

    A feature counts as `lowest` or `highest`, both of shape (features,), where it lies beyond: a model knows nothing
    there, and a line would go anywhere. Of the features `logged`, of shape (logarithms,), ln(1 + amount) is a column
    each. The features `grouped`, of shape (groups,), have too many categories to tell all apart: `levels`, of shape
    (groups, codes + 1), holds how much dearer houses of a code are, and last what those without a known one get; both
    are None where there is no such feature. `turned`, of shape (axes, 2), names two features each, `weights`, of the
    same shape, what they count: trees cut along axes alone, and a border between neighbourhoods rarely runs along a
    meridian.
    """

    lowest: NDArray[np.float64] = field(validator=array_of(np.float64, 1, finite=False))
    highest: NDArray[np.float64] = field(validator=array_of(np.float64, 1, finite=False))
    logged: NDArray[np.int64] = field(validator=array_of(np.int64, 1))
    turned: NDArray[np.int64] = field(validator=array_of(np.int64, 2))
    weights: NDArray[np.float64] = field(validator=array_of(np.float64, 2))
    grouped: NDArray[np.int64] | None = field(default=None, validator=optional(array_of(np.int64, 1)))
    levels: NDArray[np.float64] | None = field(default=None, validator=optional(array_of(np.float64, 2)))

    def __attrs_post_init__(self) -> None:
        grouped = np.empty(0, dtype=np.int64) if self.grouped is None else self.grouped
        levels = np.empty((0, 1)) if self.levels is None else self.levels
        named = np.concatenate([self.logged, self.turned.ravel(), grouped])
        if self.lowest.shape != self.highest.shape or not (self.lowest <= self.highest).all():
            raise ValueError("there must be a lowest and a highest value for each feature, in this order")
        if self.turned.shape != self.weights.shape or self.turned.shape[1] != 2:
            raise ValueError("a turned axis must be of two features")
        if len(levels) != grouped.size or not levels.shape[1]:
            raise ValueError("there must be levels for each feature that has them, one at least")
        if ((named < 0) | (named >= self.features)).any():
            raise ValueError("columns must follow from features that there are")

    @property
    def features(self) -> int:
        """How many features a house has."""
        return self.lowest.size

    @property
    def players(self) -> NDArray[np.int64]:
        """Which player each column belongs to, of shape (columns,), numbered in the order of their features.

        A player is what contributes to a price as one: a feature, or all features that turned axes connect, since what
        such an axis says takes all of them to tell.
        """
        own = np.arange(self.features)
        for first, second in self.turned:
            own[np.isin(own, own[[first, second]])] = own[[first, second]].min()
        own = np.unique(own, return_inverse=True)[1]
        grouped = np.empty(0, dtype=np.int64) if self.grouped is None else self.grouped
        return np.concatenate([own[self.logged], own, own[grouped], own[self.turned[:, 0]]])

    @property
    def all(self) -> int:
        """How many columns there are."""
        return self.logged.size + self.features + self._groups + len(self.turned)

    @property
    def for_features(self) -> slice:
        """The columns that are the features themselves."""
        return slice(self.logged.size, self.logged.size + self.features)

    @property
    def for_levels(self) -> slice:
        """The columns that are levels of categories."""
        start = self.logged.size + self.features
        return slice(start, start + self._groups)

    @property
    def _groups(self) -> int:
        return 0 if self.grouped is None else self.grouped.size

    @property
    def for_lines(self) -> slice:
        """The columns for a linear model: all but turned axes, which would tell it nothing new."""
        return slice(0, self.logged.size + self.features + self._groups)

    @property
    def for_trees(self) -> slice:
        """The columns for trees: all but logarithms, which would tell them nothing new."""
        return slice(self.logged.size, self.all)

    def __call__(self, matrix: Matrix) -> Matrix:
        """All columns of encoded houses."""
        columns: Matrix = np.empty((len(matrix), self.all), order="F")
        within = columns[:, self.for_features]
        np.clip(matrix, self.lowest, self.highest, out=within)
        columns[:, : self.logged.size] = np.log1p(within[:, self.logged])
        if self.grouped is not None and self.levels is not None:
            # fmin takes the number where the other is NaN: what is missing or beyond the codes gets the last level
            codes = np.fmin(within[:, self.grouped], self.levels.shape[1] - 1).astype(np.int64)
            columns[:, self.for_levels] = self.levels[np.arange(len(self.levels)), codes]
        for column, (first, second), (weight, other) in zip(
            range(self.for_levels.stop, self.all), self.turned.tolist(), self.weights.tolist(), strict=True
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
    `Feature.categories`. What is missing becomes NaN, and so does a category that the schema does not name. A house
    without a sale date is sold on the schema's valuation date.
    """

    _schema: FeatureSchema
    _columns: list[tuple[str, _Convert | None]] = field(init=False)

    @_columns.default
    def _converters(self) -> list[tuple[str, _Convert | None]]:
        return [(feature.name, _converter(feature, self._schema)) for feature in self._schema.features]

    def __call__(self, houses: Sequence[House]) -> Matrix:
        """The matrix of a batch."""
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
