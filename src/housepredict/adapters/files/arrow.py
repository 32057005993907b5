"""Cells of Arrow's columns as Python has them, also those that other programs write and Python has no value for."""

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
# a day less at either end, for a zone can move a time beyond it
_FIRST_DAY, _LAST_DAY = (day.toordinal() - _EPOCH_DAY for day in (date(1, 1, 2), date(9999, 12, 30)))
_INT64 = 2**63 - 1
_BYTES = ("binary", "large_binary", "fixed_size_binary")  # how names of types begin
_TEXTS = ("string", "large_string", "string_view")


Decoder = Callable[[bytes | str], str]
"""Decodes a value of a column; text that a writer called UTF-8 is decoded from its bytes."""


@frozen
class ArrowRows:
    """A record batch of a Parquet file, and how to decode its columns of bytes. It has what TextRows have."""

    delimiter: ClassVar = ","
    batch: Any
    _decoders: Mapping[str, Decoder]

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def header(self) -> Sequence[str]:
        """How the file names its columns."""
        names: list[str] = self.batch.schema.names
        return names

    @property
    def fits(self) -> Sequence[bool]:
        """True for each row: it has a cell for each column."""
        return [True] * len(self)

    def cells(self, positions: Iterable[int]) -> list[list[Cell]]:
        """Return the cells of columns."""
        columns = ((self.header[position], self.batch.column(position)) for position in positions)
        return [arrow_cells(column, self._decoders.get(name)) for name, column in columns]

    def texts(self) -> Iterator[Sequence[str]]:
        """Return the rows as text."""

        def text(cell: object) -> str:
            return "" if cell is None else cell.isoformat() if isinstance(cell, date) else str(cell)

        columns = zip(self.header, self.batch.columns, strict=True)
        values = (arrow_values(column, self._decoders.get(name)) for name, column in columns)
        return (list(map(text, row)) for row in zip(*values, strict=True))

    def surplus(self) -> Iterator[Sequence[str]]:
        """Return nothing for each row: none has more than the header."""
        return repeat((), len(self))


@frozen
class ParquetTable:
    """A Parquet file that is being read.

    `names` are what its columns are called here, `notes` what was decided to read it.
    """

    chunk: ClassVar = 10_000  # rows at once
    ragged: ClassVar = 0
    names: Sequence[str]
    decoders: Mapping[str, Decoder]
    notes: Sequence[str]
    _file: Any

    def batches(self, size: int) -> Iterator[ArrowRows]:
        """Return all rows, `size` at a time."""
        return (ArrowRows(batch, self.decoders) for batch in self._file.iter_batches(size))


def arrow_cells(column: Any, decode: Decoder | None = None) -> list[Cell]:
    """The cells of a column as a table of sales has them: texts tidy, dates without their time, NaN as None."""
    return [_typed(value) for value in arrow_values(column, decode)]


def arrow_values(column: Any, decode: Decoder | None = None) -> list[Any]:
    """The values of a column: bytes as the text that they encode, dates that no calendar has as None.

    A column is one batch of a file: `decode` is what `decoders_of` the file has for it. Without it, its bytes tell.
    """
    values = _undecoded(column)
    if decode is None and any(isinstance(value, bytes) for value in values):
        decode = _decoder(detect([_distinct(values)]))
    return [decode(value) if isinstance(value, bytes | str) else value for value in values] if decode else values


def decoders_of(file: Any, named: TextEncoding | None) -> tuple[Mapping[str, Decoder], Sequence[str]]:
    """Return how to decode each column of bytes, and notes on what was guessed or is not valid.

    A column is in one encoding, which all of its batches tell: so it is read before any batch is decoded.

    Args:
        file: a pyarrow.parquet.ParquetFile.
        named: the encoding of columns of text, or None to let their bytes tell.
    """
    decoders: dict[str, Decoder] = {}
    notes = []
    for column in file.schema_arrow:
        kind = str(getattr(column.type, "value_type", column.type))

        def batches(name: str = column.name) -> Iterator[Any]:
            return (batch.column(name) for batch in file.iter_batches(columns=[name]))

        if not kind.startswith(_BYTES) and not (kind in _TEXTS and any(map(_has_invalid_text, batches()))):
            continue
        encoding = detect(_distinct(_undecoded(batch)) for batch in batches())
        if encoding and named:
            encoding = named
        decoders[column.name] = _decoder(encoding)
        if encoding is None or encoding.errors == "strict":
            continue
        invalid = sum(_count_invalid(_undecoded(batch), encoding) for batch in batches())
        note = "; ".join(filter(None, [encoding.note, encoding.describe_invalid(invalid, "cell") if invalid else None]))
        notes += [f"{column.name}: {note}"] if note else []
    return decoders, notes


def _undecoded(column: Any) -> list[Any]:
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
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        # a writer may call text UTF-8 that is not
        values = column.cast(pa.large_binary() if pa.types.is_large_string(kind) else pa.binary()).to_pylist()
    return values


def _has_invalid_text(column: Any) -> bool:
    import pyarrow as pa

    try:
        (column.dictionary if pa.types.is_dictionary(column.type) else column).validate(full=True)
    except pa.ArrowInvalid:
        return True
    return False


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


def _distinct(values: Sequence[Any]) -> bytes:
    """Return the distinct texts and bytes as lines."""
    return b"".join(_bytes(value) + b"\n" for value in sorted({_bytes(value) for value in values if value is not None}))


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _decoder(encoding: TextEncoding | None) -> Decoder:
    """Return a decoder for text in an encoding; with None, for other bytes, shown as Python does."""
    if encoding is None:
        return str
    codec, errors = encoding.codec, encoding.errors
    return lambda value: _bytes(value).decode(codec, errors).replace(REPLACED, "\ufffd")


def _count_invalid(values: Sequence[Any], encoding: TextEncoding) -> int:
    texts = (_bytes(value).decode(encoding.codec, encoding.errors) for value in values if value is not None)
    return sum(REPLACED in text for text in texts)


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
