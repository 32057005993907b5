"""What scikit-learn calls X, arrays and data frames, as the columns of a file of sales."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from housepredict.domain.cells import Way, is_missing, present_in, way_to_read
from housepredict.domain.features import House, Kind
from housepredict.domain.sales import Cell

Cells = Mapping[str, Sequence[Cell]]


def is_frame(table: object) -> bool:
    """Whether it has columns with names and types, as a data frame of pandas has."""
    return hasattr(table, "columns") and hasattr(table, "dtypes")


def names_of(count: int) -> list[str]:
    """The names of columns that have none, as scikit-learn gives them."""
    return [f"x{position}" for position in range(count)]


def cells_of_frame(frame: Any) -> Cells:
    """The cells of each column as Python's values, None where there is none. Names that are no text count as none.

    Raises ValueError for infinite numbers.
    """
    given = list(frame.columns)
    names = given if all(isinstance(name, str) for name in given) else names_of(len(given))
    return {
        name: [_cell(name, cell) for cell in frame[column].to_list()] for name, column in zip(names, given, strict=True)
    }


def cells_of_array(matrix: Any, names: Sequence[str]) -> Cells:
    """The same of a matrix of floats."""
    columns = matrix.T.tolist()
    return {
        name: [None if math.isnan(cell) else cell for cell in column]
        for name, column in zip(names, columns, strict=True)
    }


def kinds_of_frame(frame: Any) -> Mapping[str, Kind]:
    """The kinds that its types say; what is neither here is for the cells to say."""
    return {name: Kind.CATEGORY for name in frame.columns if str(frame[name].dtype).lower().startswith(_CATEGORIES)}


def ways_to_read(cells: Cells, kinds: Mapping[str, Kind]) -> Mapping[str, Way]:
    """How the columns of these kinds are written."""
    return {name: way_to_read(kind, present_in(cells[name])) for name, kind in kinds.items()}


def houses_of(cells: Cells, ways: Mapping[str, Way]) -> Sequence[House]:
    """The houses of the rows; what cannot be read as its column is written is missing."""
    columns = []
    for name, way in ways.items():
        readings = {cell: way(cell) for cell in set(cells[name]) if not is_missing(cell)}
        columns.append([readings.get(cell) for cell in cells[name]])
    rows = zip(*columns, strict=True)
    names = list(ways)
    return [House({name: value for name, value in zip(names, row, strict=True) if value is not None}) for row in rows]


_CATEGORIES = ("category", "categorical", "enum")


def _cell(name: str, value: Any) -> Cell:
    item = getattr(value, "item", None)
    if callable(item):  # a scalar of NumPy's, which columns of objects may hold
        value = item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError(f"the column {name!r} contains infinity or a value too large for a number")
        return None if math.isnan(value) else value
    if isinstance(value, datetime):
        return value.date()
    return value  # type: ignore[no-any-return]  # what it is, reading the column tells
