"""Data frames in and out: of pandas, Polars, PyArrow and what else narwhals knows; it is imported with the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from housepredict.domain.errors import InvalidHouses, MissingExtra
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import FeatureSchema
from housepredict.domain.options import did_you_mean
from housepredict.domain.price_columns import NUMBERS, PRICE_COLUMNS, cells_of
from housepredict.domain.validation import Rule, Violation, plain, pointer_to

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

    Raises:
        InvalidHouses: with every violation, if the column of a required feature is missing, which is named once, or if
            two columns are one feature.
        TypeError: for what is no data frame.
        MissingExtra: without narwhals.
    """
    opened = _opened(frame)
    found = [(feature, column) for column in opened.columns if (feature := schema.named(column))]
    counts = Counter(feature.name for feature, _ in found)
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise InvalidHouses(
            [Violation(pointer_to(name), Rule.DUPLICATE, "is more than one column") for name in repeated]
        )
    columns = [
        (feature.name, list(map(plain, opened[column].to_list())), feature.required) for feature, column in found
    ]
    houses = [
        {name: values[row] for name, values, required in columns if required or values[row] is not None}
        for row in range(len(opened))
    ]
    if absent := [each.name for each in schema.features if each.required and each.name not in counts]:
        others = [each for each in opened.columns if schema.named(each) is None]
        raise InvalidHouses(
            [
                Violation(pointer_to(name), Rule.MISSING, f"is a column that is missing{did_you_mean(name, others)}")
                for name in absent
            ]
            + [
                violation
                for row, house in enumerate(houses)
                for violation in schema.violations(house, row)
                if violation.pointer not in {pointer_to(row, name) for name in absent}
            ]
        )
    return houses


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
