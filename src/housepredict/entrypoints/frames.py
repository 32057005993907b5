"""Data frames in and out: of pandas, Polars, PyArrow and what else narwhals knows; it is imported with the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from housepredict.domain.errors import InvalidHouses, MissingExtra
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import FeatureSchema, Kind
from housepredict.domain.price_columns import NUMBERS, PRICE_COLUMNS, cells_of
from housepredict.domain.validation import Rule, Violation, pointer_to

COLUMNS = PRICE_COLUMNS[:-1]
"""What a frame of predictions has; errors are raised."""


class DataFrame(Protocol):
    """A data frame of whatever library."""

    @property
    def columns(self) -> Any:
        """Its columns, or their names."""

    def __len__(self) -> int:
        """How many rows it has."""


FrameT = TypeVar("FrameT", bound=DataFrame)


def houses_of(frame: DataFrame, schema: FeatureSchema) -> Sequence[Mapping[str, object]]:
    """The rows of a frame as houses: of its columns those that are features, and of a row what is not missing.

    Raises TypeError for what is no data frame, InvalidHouses for two columns of one feature, and MissingExtra.
    """
    opened = _opened(frame)
    found = [(feature, column) for column in opened.columns if (feature := schema.named(column))]
    counts = Counter(feature.name for feature, _ in found)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise InvalidHouses(
            [Violation(pointer_to(name), Rule.DUPLICATE, "is more than one column") for name in repeated]
        )
    columns = {feature.name: _values(opened[column], feature.kind) for feature, column in found}
    return [
        {name: values[row] for name, values in columns.items() if values[row] is not None} for row in range(len(opened))
    ]


def frame_of(predictions: Sequence[Prediction], like: FrameT) -> FrameT:
    """Predictions as a frame of the same kind, with the same index where that kind has one."""
    import narwhals as nw

    opened = _opened(like)
    cells = zip(*(cells_of(each)[:-1] for each in predictions), strict=True)
    types = [nw.Float64()] * NUMBERS + [nw.String()] * (len(COLUMNS) - NUMBERS)
    columns = {name: list(column) for name, column in zip(COLUMNS, cells, strict=True)}
    made = nw.from_dict(columns, dict(zip(COLUMNS, types, strict=True)), backend=opened.implementation)
    native: Any = made.to_native()
    if (index := nw.maybe_get_index(opened)) is not None:
        native.index = index
    return native  # type: ignore[no-any-return]  # of the kind of `like`


def _opened(frame: DataFrame) -> Any:
    try:
        import narwhals as nw
    except ImportError as error:
        raise MissingExtra.named("dataframes", "Estimating data frames") from error
    try:
        return nw.from_native(frame, eager_only=True)
    except TypeError as error:
        kind = type(frame).__name__
        raise TypeError(
            f"a house is a mapping, and several are a list for predict_many or a data frame, not {kind}"
        ) from error


def _values(column: Any, kind: Kind) -> list[object]:
    missing = column.is_null().to_list()
    return [
        None if is_missing else _plain(value, kind) for value, is_missing in zip(column.to_list(), missing, strict=True)
    ]


def _plain(value: object, kind: Kind) -> object:
    """A value as a house has it. Columns of whole numbers that lack some are floats in pandas."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, float) and kind in (Kind.INTEGER, Kind.CATEGORY) and value.is_integer():
        return int(value)
    if isinstance(value, date) and kind is Kind.CATEGORY:
        return str(value)
    return value
