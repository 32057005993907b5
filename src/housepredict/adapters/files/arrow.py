"""Convert Arrow columns to Python values, even if they contain invalid text or dates that Python can't represent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import repeat
from typing import Any, ClassVar

from attrs import frozen

from housepredict.adapters.files.delimited import REPLACED, TextEncoding, detect
from housepredict.domain.sales import Cell
from housepredict.domain.validation import tidy

_DAY_UNITS = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# one day short of Python's range at either end, because a time zone can shift a time by a day
_FIRST_DAY, _LAST_DAY = (day.toordinal() - _EPOCH_DAY for day in (date(1, 1, 2), date(9999, 12, 30)))
_INT64 = 2**63 - 1
_BYTES = ("binary", "large_binary", "fixed_size_binary")  # prefixes of type names
_TEXTS = ("string", "large_string", "string_view")


Decoder = Callable[[bytes | str], str]
"""A function that decodes a cell. A cell that the file declares to be UTF-8 text may be a `str`. It is first converted
back to bytes, because the declaration may be wrong.
"""


@frozen
class ArrowRows:
    """Rows of a Parquet file: a record batch, and the decoders for its columns (see `detect_decoders`).

    This class has the same interface as TextRows.
    """

    delimiter: ClassVar = ","
    batch: Any
    _decoders: Mapping[str, Decoder]

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def header(self) -> Sequence[str]:
        """The column names as written in the file."""
        names: list[str] = self.batch.schema.names
        return names

    @property
    def fits(self) -> Sequence[bool]:
        """Whether each row has as many cells as the header. This is always True in a Parquet file."""
        return [True] * len(self)

    def cells(self, positions: Iterable[int]) -> list[list[Cell]]:
        """Return the cells of the columns at `positions`, one list per column."""
        columns = ((self.header[position], self.batch.column(position)) for position in positions)
        return [arrow_cells(column, self._decoders.get(name)) for name, column in columns]

    def texts(self) -> Iterator[Sequence[str]]:
        """Return an iterator over the rows, with all cells converted to text."""

        def text(cell: object) -> str:
            return "" if cell is None else cell.isoformat() if isinstance(cell, date) else str(cell)

        columns = zip(self.header, self.batch.columns, strict=True)
        values = (arrow_values(column, self._decoders.get(name)) for name, column in columns)
        return (list(map(text, row)) for row in zip(*values, strict=True))

    def surplus(self) -> Iterator[Sequence[str]]:
        """Return an empty sequence for each row, because no row has more cells than the header."""
        return repeat((), len(self))


@frozen
class ParquetTable:
    """An open Parquet file.

    Attributes:
        names: the column names, tidied.
        decoders: the decoders, by column name (see `detect_decoders`).
        notes: notes on guessed encodings and invalid bytes.
    """

    chunk: ClassVar = 10_000  # rows per batch
    ragged: ClassVar = 0
    names: Sequence[str]
    decoders: Mapping[str, Decoder]
    notes: Sequence[str]
    _file: Any

    def batches(self, size: int) -> Iterator[ArrowRows]:
        """Yield all rows in batches of `size`."""
        return (ArrowRows(batch, self.decoders) for batch in self._file.iter_batches(size))


def arrow_cells(column: Any, decode: Decoder | None = None) -> list[Cell]:
    """Convert a pyarrow array to cells. Text is tidied, datetimes become dates, and NaN becomes None.

    `decode` is as in `arrow_values`.
    """
    return [_to_cell(value) for value in arrow_values(column, decode)]


def arrow_values(column: Any, decode: Decoder | None = None) -> list[Any]:
    """Convert a pyarrow array to Python values. Bytes become text, and dates outside the years 1 to 9999 become None.

    `decode` is the column's decoder from `detect_decoders`. Without a decoder, the encoding of any bytes is detected
    from this array.
    """
    values = _undecoded(column)
    if decode is None and any(isinstance(value, bytes) for value in values):
        decode = _decoder(detect([_distinct_lines(values)]))
    return [decode(value) if isinstance(value, bytes | str) else value for value in values] if decode else values


def detect_decoders(file: Any, encoding: TextEncoding | None) -> tuple[Mapping[str, Decoder], Sequence[str]]:
    """Find the columns that contain bytes or invalid text, and create a decoder for each of them.

    Args:
        file: a pyarrow.parquet.ParquetFile.
        encoding: the encoding of these columns. If it is None, the encoding of each column is detected from all of its
            cells.

    Returns:
        The decoders by column name, and notes on guessed encodings and invalid bytes.
    """
    decoders: dict[str, Decoder] = {}
    notes = []
    for column in file.schema_arrow:
        kind = str(getattr(column.type, "value_type", column.type))

        def batches(name: str = column.name) -> Iterator[Any]:
            return (batch.column(name) for batch in file.iter_batches(columns=[name]))

        if not kind.startswith(_BYTES) and not (kind in _TEXTS and any(map(_has_invalid_text, batches()))):
            continue
        detected = detect(_distinct_lines(_undecoded(batch)) for batch in batches())
        used = encoding if detected and encoding else detected
        decoders[column.name] = _decoder(used)
        if used is None or used.errors == "strict":
            continue
        invalid = sum(_count_invalid(_undecoded(batch), used) for batch in batches())
        note = "; ".join(filter(None, [used.note, used.describe_invalid(invalid, "cell") if invalid else None]))
        notes += [f"{column.name}: {note}"] if note else []
    return decoders, notes


def _undecoded(column: Any) -> list[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        column = _without_impossible_dates(column)
    if pa.types.is_timestamp(kind):
        # Python's datetime has no nanoseconds
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        # some writers declare invalid text as UTF-8
        values = column.cast(pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()).to_pylist()
    return values


def _has_invalid_text(column: Any) -> bool:
    import pyarrow as pa

    try:
        (column.dictionary if pa.types.is_dictionary(column.type) else column).validate(full=True)
    except pa.ArrowInvalid:
        return True
    return False


def _without_impossible_dates(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_date32(kind):
        unit, numbers = 1, column.cast(pa.int32()).cast(pa.int64())
    else:
        unit, numbers = _DAY_UNITS["ms" if pa.types.is_date64(kind) else kind.unit], column.cast(pa.int64())
    low, high = max(_FIRST_DAY * unit, -_INT64), min(_LAST_DAY * unit, _INT64)
    possible = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    return pc.if_else(possible, column, pa.scalar(None, kind))


def _distinct_lines(values: Sequence[Any]) -> bytes:
    """Join the distinct values, in bytes, with one value per line."""
    return b"".join(value + b"\n" for value in sorted({_to_bytes(value) for value in values if value is not None}))


def _to_bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _decoder(encoding: TextEncoding | None) -> Decoder:
    """Return a decoder for `encoding`. If `encoding` is None, the decoder shows bytes as Python literals."""
    if encoding is None:
        return str
    codec, errors = encoding.codec, encoding.errors
    return lambda value: _to_bytes(value).decode(codec, errors).replace(REPLACED, "\ufffd")


def _count_invalid(values: Sequence[Any], encoding: TextEncoding) -> int:
    texts = (_to_bytes(value).decode(encoding.codec, encoding.errors) for value in values if value is not None)
    return sum(REPLACED in text for text in texts)


def _to_cell(value: object) -> Cell:
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
