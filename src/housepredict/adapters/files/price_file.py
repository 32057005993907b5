"""Prices of whole tables, in CSV and Parquet files: the rows as they came, and beside them what became of each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import repeat
from pathlib import Path
from typing import IO, Any

from attrs import define, field

from housepredict.adapters.files.arrow import ArrowRows
from housepredict.adapters.files.atomic import text_file, whole_file
from housepredict.adapters.files.table_file import TextRows
from housepredict.domain.errors import MissingExtra, UnreadableFile
from housepredict.domain.ports import HouseRows, RowOutcome
from housepredict.domain.price_columns import NUMBERS, PRICE_COLUMNS, cells_of

_GROUP = 50_000  # rows of a Parquet file that are written at once


@contextmanager
def price_file(path: Path | None, parquet: bool) -> Iterator[CsvPrices | ParquetPrices]:
    """A PriceTable in a file, which is there once all of it is written: Parquet, or CSV, compressed if its name ends
    with .gz. None is standard output, CSV. Raises UnreadableFile, and MissingExtra for Parquet.
    """
    if path is None or not parquet:
        with text_file(path) as text:
            yield CsvPrices(text)
    else:
        with whole_file(path) as stream, _parquet_prices(stream) as prices:
            yield prices


@define
class CsvPrices:
    """Prices in CSV, with the delimiter of the rows if they came with one."""

    _stream: IO[str]
    _writer: Any = field(default=None, init=False)

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Add some rows; see PriceTable."""
        if isinstance(rows.origin, TextRows):
            header, delimiter, cells = rows.origin.header, rows.origin.delimiter, rows.origin.rows
        else:
            header, delimiter, cells = rows.origin.batch.schema.names, ",", _written(rows.origin)
        if self._writer is None:
            self._writer = csv.writer(self._stream, delimiter=delimiter)
            self._writer.writerow([*header, *PRICE_COLUMNS])
        self._writer.writerows(
            [*_fitted(row, len(header)), *("" if cell is None else cell for cell in said)]
            for row, said in zip(cells, _said(rows, outcomes), strict=True)
        )


@define
class ParquetPrices:
    """Prices in Parquet, whose other columns have the types that they came with."""

    _stream: IO[bytes]
    _writer: Any = field(default=None, init=False)
    _waiting: list[Any] = field(factory=list, init=False)
    _rows: int = field(default=0, init=False)

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Add some rows; see PriceTable."""
        import pyarrow as pa

        origin = rows.origin
        if isinstance(origin, TextRows):
            columns = zip(*(_fitted(row, len(origin.header)) for row in origin.rows), strict=True)
            texts = [pa.array([cell or None for cell in column], pa.string()) for column in columns]
            batch = pa.RecordBatch.from_arrays(texts, names=list(origin.header))
        else:
            batch = origin.batch
        added = zip(*_said(rows, outcomes), strict=True)
        types = [pa.float64()] * NUMBERS + [pa.string()] * (len(PRICE_COLUMNS) - NUMBERS)
        arrays = [pa.array(cells, type_) for cells, type_ in zip(added, types, strict=True)]
        fields = [*batch.schema, *(pa.field(name, type_) for name, type_ in zip(PRICE_COLUMNS, types, strict=True))]
        # pandas keeps its index there
        schema = pa.schema(fields, batch.schema.metadata)
        self._waiting.append(pa.RecordBatch.from_arrays([*batch.columns, *arrays], schema=schema))
        self._rows += len(outcomes)
        if self._rows >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits to be a group of rows."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer = self._writer or ParquetWriter(self._stream, table.schema)
            self._writer.write_table(table)
            self._waiting, self._rows = [], 0

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self.flush()
        if self._writer:
            self._writer.close()


@contextmanager
def _parquet_prices(stream: IO[bytes]) -> Iterator[ParquetPrices]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtra.named("parquet", "Writing Parquet files") from error
    prices = ParquetPrices(stream)
    try:
        yield prices
        prices.close()
    except pa.ArrowException as error:
        raise UnreadableFile(f"the prices cannot be written as Parquet ({error}): write them as CSV") from error


def _said(rows: HouseRows, outcomes: Sequence[RowOutcome]) -> Iterator[Sequence[str | float | None]]:
    """The cells that are added to each row. What a row has beyond the header, as JSON, ends its error."""
    origin = rows.origin
    beyond = (row[len(origin.header) :] for row in origin.rows) if isinstance(origin, TextRows) else repeat(())
    for outcome, surplus in zip(outcomes, beyond, strict=False):
        *others, error = cells_of(outcome)
        yield (*others, f"{error}: {json.dumps(surplus, ensure_ascii=False)}" if surplus else error)


def _written(origin: ArrowRows) -> list[list[str]]:
    def text(cell: object) -> str:
        return "" if cell is None else cell.isoformat() if isinstance(cell, date) else str(cell)

    return [list(map(text, row)) for row in origin.rows()]


def _fitted(row: Sequence[str], width: int) -> Sequence[str]:
    """A row of the header's length, whatever it has."""
    return row if len(row) == width else [*row[:width], *[""] * (width - len(row))]
