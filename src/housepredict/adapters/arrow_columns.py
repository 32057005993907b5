"""Cells of Arrow's columns as Python has them, also those that other programs write and Python has no value for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from housepredict.adapters.encodings import detect
from housepredict.domain.sales import Cell
from housepredict.domain.texts import tidy

_DAY_UNITS = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# a day less at either end, for a zone can move a time beyond it
_FIRST_DAY, _LAST_DAY = (day.toordinal() - _EPOCH_DAY for day in (date(1, 1, 2), date(9999, 12, 30)))
_INT64 = 2**63 - 1


def arrow_cells(column: Any) -> list[Cell]:
    """The cells of a column as a table of sales has them: texts tidy, dates without their time, NaN as None."""
    return [_typed(value) for value in arrow_values(column)]


def arrow_values(column: Any) -> list[Any]:
    """The values of a column: bytes as the text that they encode, dates that no calendar has as None."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        column = _within_calendar(column)
    if pa.types.is_timestamp(kind):
        # nanoseconds do not fit Python's datetime
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        # a writer may call text UTF-8 that is not
        values = column.cast(pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()).to_pylist()
    return _decoded(values) if any(isinstance(value, bytes) for value in values) else values


def _within_calendar(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_date32(kind):
        unit, numbers = 1, column.cast(pa.int32()).cast(pa.int64())
    else:
        unit, numbers = _DAY_UNITS["ms" if pa.types.is_date64(kind) else kind.unit], column.cast(pa.int64())
    low, high = max(_FIRST_DAY * unit, -_INT64), min(_LAST_DAY * unit, _INT64)
    known = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    return pc.if_else(known, column, pa.scalar(None, kind))


def _decoded(values: Sequence[Any]) -> list[Any]:
    """Bytes as text in the one encoding that they are in; as Python shows them, if they are no text."""
    distinct = {value for value in values if isinstance(value, bytes)}
    encoding = detect([b"\n".join(sorted(distinct))])
    return [
        value
        if not isinstance(value, bytes)
        else str(value)
        if encoding is None
        else value.decode(encoding.codec, encoding.errors)
        for value in values
    ]


def _typed(value: object) -> Cell:
    match value:
        case None | bool() | int():
            return value
        case str():
            return tidy(value)
        case float() | Decimal():
            return None if value != value else float(value)
        case datetime():
            return value.date()
        case date():
            return value
    return str(value)
