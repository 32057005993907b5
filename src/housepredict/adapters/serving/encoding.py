"""Encode houses as numbers. Training and serving use the same encoding."""

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
    """The input columns of a model, which are derived from its features.

    The columns are, in this order: logarithms of amounts, the features themselves, target encodings, and rotated axes.
    Features are identified by their positions in the schema.

    Attributes:
        lowest: the smallest training value of each feature, of shape (features,). Smaller values are clipped to it,
            because a linear model would extrapolate without limit.
        highest: the largest training value of each feature, of shape (features,). Larger values are clipped to it.
        logged: the features that are amounts, of shape (logarithms,). Each has an additional column ln(1 + amount).
        turned: the two features that each rotated axis combines, of shape (axes, 2). Rotated axes are useful because
            trees split only along axes, but the border between two neighborhoods rarely follows a meridian.
        weights: the weights of the two features in each rotated axis, of shape (axes, 2).
        grouped: the features with too many categories for one-hot columns, of shape (groups,), or None if there are no
            such features.
        levels: the target encoding of each category of the grouped features, of shape (groups, codes + 1), or None if
            there are no such features. A category's code is its position in `Feature.categories`, and `codes` is
            the maximum number of categories. The last value is for missing and unknown categories.
        features: the number of features.
        sources: the feature from which each column is derived, of shape (columns,). For a rotated axis, this is the
            first of its two features.
        for_features: the slice of columns that are the features themselves.
        for_levels: the slice of columns that are target encodings.
        for_lines: the slice of columns for linear models. It excludes rotated axes, because they are linear
            combinations of other columns.
        for_trees: the slice of columns for trees. It excludes logarithms, because a split on the logarithm of an amount
            is equivalent to a split on the amount.

    Raises:
        ValueError: if the shapes of the arrays don't match.
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
            raise ValueError("each feature must have a lowest value that is at most its highest value")
        if self.turned.shape != self.weights.shape or self.turned.shape[1] != 2:
            raise ValueError("a rotated axis must have two features with a weight each")
        if len(levels) != grouped.size or not levels.shape[1]:
            raise ValueError("each grouped feature must have at least one level")
        if ((named < 0) | (named >= self.features)).any():
            raise ValueError("columns must be derived from existing features")
        self.sources = np.concatenate([self.logged, np.arange(self.features), grouped, self.turned[:, 0]])
        features, levels_end = self.logged.size + self.features, self.sources.size - len(self.turned)
        self.for_features, self.for_levels = slice(self.logged.size, features), slice(features, levels_end)
        self.for_lines, self.for_trees = slice(0, levels_end), slice(self.logged.size, self.sources.size)

    @property
    def players(self) -> NDArray[np.int64]:
        """The index of the player to which each column belongs, of shape (columns,).

        A player (in the sense of Shapley values) is a feature, or a group of features that share rotated axes. The
        contributions of such features can't be separated. Players are in the order of their first features.
        """
        players = np.arange(self.features)
        for first, second in self.turned:
            players[np.isin(players, players[[first, second]])] = players[[first, second]].min()
        return np.unique(players, return_inverse=True)[1][self.sources]

    def __call__(self, matrix: Matrix) -> Matrix:
        """Return the derived columns for encoded houses, of shape (houses, columns)."""
        columns: Matrix = np.empty((len(matrix), self.sources.size), order="F")
        clipped = columns[:, self.for_features]
        np.clip(matrix, self.lowest, self.highest, out=clipped)
        columns[:, : self.logged.size] = np.log1p(clipped[:, self.logged])
        if self.grouped is not None and self.levels is not None:
            # missing (NaN) and unknown codes get the last level: fmin ignores NaN
            codes = np.fmin(clipped[:, self.grouped], self.levels.shape[1] - 1).astype(np.int64)
            columns[:, self.for_levels] = self.levels[np.arange(len(self.levels)), codes]
        for column, (first, second), (first_weight, second_weight) in zip(
            range(self.for_levels.stop, self.sources.size), self.turned.tolist(), self.weights.tolist(), strict=True
        ):
            columns[:, column] = first_weight * clipped[:, first] + second_weight * clipped[:, second]
        return columns


Matrix = NDArray[np.float64]
"""Encoded houses, of shape (houses, features), in column-major (Fortran) order."""

_Convert = Callable[[Value | None], Value | None]


@define
class Encoder:
    """Encodes valid houses as rows of numbers, with one column per feature in schema order.

    Numeric values are unchanged. Booleans become 0 or 1, dates become their proleptic Gregorian ordinal in days, and
    categories become their position in `Feature.categories`. Unknown categories become NaN, and so do missing values,
    except that a missing sale date is replaced with the schema's valuation date.
    """

    _schema: FeatureSchema
    _columns: list[tuple[str, _Convert | None]] = field(init=False)

    @_columns.default
    def _converters(self) -> list[tuple[str, _Convert | None]]:
        return [(feature.name, _converter(feature, self._schema)) for feature in self._schema.features]

    def __call__(self, houses: Sequence[House]) -> Matrix:
        """Encode houses as a matrix of shape (houses, features)."""
        rows = [house.values for house in houses]
        columns = [
            [convert(row.get(name)) for row in rows] if convert else [row.get(name) for row in rows]
            for name, convert in self._columns
        ]
        # NumPy converts None to NaN and True to 1
        return np.array(columns, dtype=np.float64).T


def _converter(feature: Feature, schema: FeatureSchema) -> _Convert | None:
    match feature.kind:
        case Kind.CATEGORY:
            return {category: position for position, category in enumerate(feature.categories)}.get  # type: ignore[return-value]  # dict.get accepts any hashable value
        case Kind.DATE:
            valuation_date = schema.valuation_date if feature.name == schema.sale_date else None
            default = valuation_date.toordinal() if valuation_date else None
            return lambda text: default if text is None else date.fromisoformat(str(text)).toordinal()
        case Kind.NUMBER | Kind.INTEGER | Kind.BOOLEAN:
            return None
        case _:
            assert_never(feature.kind)
