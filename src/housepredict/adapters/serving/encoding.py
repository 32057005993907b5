"""Houses as numbers: the one encoding that models are trained with and served with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import assert_never

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value

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
