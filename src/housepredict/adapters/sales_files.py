"""Sales as people have them, in CSV and Parquet files, read without losing or bending a row in silence."""

from __future__ import annotations

import csv
import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from attrs import field, frozen

from housepredict.domain.errors import MissingExtra, UnusableSales
from housepredict.domain.sales import Cell, Extent, SalesTable

RAGGED = "has another number of fields than the header"
"""Why a row of a CSV file is rejected."""

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_DELIMITERS = ",;\t|"
_SAMPLE = 50  # lines that show the delimiter
_CHUNK = 500  # rows that are turned into columns at once: so few that the garbage collector does not look at them
_PIECE = 1024 * 1024  # bytes that are read to count lines
_REMEMBERED = 10_000  # different cells of a column

_NO_TEXT = "is neither CSV nor Parquet: export it as CSV in UTF-8"

_Columns = dict[str, list[Cell]]
_Chunk = Sequence[Sequence[Cell]]  # some rows of each column
_Open = Callable[..., IO[str]]


def reads_parquet() -> bool:
    """Whether Parquet can be read: pyarrow is there."""
    return find_spec("pyarrow") is not None


@frozen
class SalesFile:
    """A file of sales: CSV (.gz too; commas, semicolons, tabs or bars; UTF-8 or Windows-1252) or Parquet.

    What it is shows in its content, whatever its name. The cells of CSV are text, those of Parquet have its types,
    dates without their time; an empty cell and NaN are None.
    """

    path: Path = field(converter=Path)
    with_recorded: bool = field(default=False, init=False)

    @property
    def location(self) -> str:
        """The absolute path."""
        return str(self.path.absolute())

    def extent(self) -> Extent | None:
        """The lines of a CSV file but for the header, and the fields of that; what a Parquet file says of itself.

        None for what cannot be read.
        """
        try:
            with self.path.open("rb") as stream:
                start = stream.read(len(_PARQUET))
            if start == _PARQUET:
                return _parquet_extent(self.path)
            with (gzip.open if start.startswith(_GZIP) else open)(self.path, "rb") as lines:
                header = lines.readline(_PIECE).decode("cp1252", "replace")
                columns = max(header.count(delimiter) for delimiter in _DELIMITERS) + 1
                return Extent(sum(piece.count(b"\n") for piece in iter(lambda: lines.read(_PIECE), b"")), columns)
        except (OSError, EOFError, zlib.error, ImportError, ValueError):
            return None

    def read(self) -> SalesTable:
        """Read all of it.

        Raises UnusableSales with a message that says what to do, and MissingExtra for Parquet without pyarrow.
        """
        try:
            with self.path.open("rb") as stream:
                start = stream.read(len(_PARQUET))
                stream.seek(0)
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if start == _PARQUET:
                columns, rejected = self._parquet(), Counter[str]()
            else:
                columns, rejected = self._text(gzip.open if start.startswith(_GZIP) else open)
        except FileNotFoundError as error:
            raise UnusableSales(f"There is no file {self.path}: check the path") from error
        except IsADirectoryError as error:
            raise UnusableSales(f"{self.path} is a folder: name a file in it") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self._refused(f"is a damaged or incomplete gzip file ({error}): copy it anew") from error
        except OSError as error:
            raise self._refused(f"cannot be read: {error}") from error
        table = SalesTable(columns, digest, rejected)
        if not len(table):
            fields = f"has no row with the {len(columns)} fields of its header"
            raise self._refused(fields if rejected else "holds no sales, only a header")
        return table

    def _text(self, opened: _Open) -> tuple[_Columns, Counter[str]]:
        for encoding in ("utf-8-sig", "cp1252"):
            with suppress(UnicodeDecodeError):
                return self._csv(opened, encoding)
        raise self._refused(_NO_TEXT)

    def _csv(self, opened: _Open, encoding: str) -> tuple[_Columns, Counter[str]]:
        rejected: Counter[str] = Counter()
        with opened(self.path, "rt", encoding=encoding, newline="") as stream:
            lines = self._lines(stream)
            sample = list(islice(lines, _SAMPLE))
            # strict: otherwise a quote that nobody closed would swallow the rows after it
            reader = csv.reader(chain(sample, lines), delimiter=_delimiter(sample), skipinitialspace=True, strict=True)
            try:
                header = next(filter(_has_text, reader), None)
                if header is None:
                    raise self._refused("is empty")
                return _columns(self._names(header), _chunks(_rows(reader, len(header), rejected))), rejected
            except csv.Error as error:
                problem = f"is no proper CSV at line {reader.line_num} ({error}): check its quotes"
                raise self._refused(problem) from error

    def _lines(self, stream: Iterable[str]) -> Iterator[str]:
        for line in stream:
            if "\0" in line:
                raise self._refused(_NO_TEXT)
            yield line

    def _parquet(self) -> _Columns:
        try:
            import pyarrow as pa
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise MissingExtra.named("parquet", "Reading Parquet files") from error

        def cells(column: Any) -> list[Cell]:
            if pa.types.is_timestamp(column.type):
                # nanoseconds do not fit Python's datetime
                column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
            return [_typed(value) for value in column.to_pylist()]

        try:
            with ParquetFile(self.path) as file:
                names = self._names(file.schema_arrow.names)
                return _columns(names, (list(map(cells, batch.columns)) for batch in file.iter_batches()))
        except (pa.ArrowException, OSError, OverflowError, ValueError) as error:
            raise self._refused(f"is no Parquet file that can be read ({error}): write it anew, or as CSV") from error

    def _names(self, header: Sequence[str]) -> list[str]:
        """The columns' names. One may have none: many programs write the number of the row there."""
        names = [name.strip() for name in header]
        unnamed = [str(position) for position, name in enumerate(names, start=1) if not name]
        if len(unnamed) > 1:
            raise self._refused(f"has columns without a name: give columns {', '.join(unnamed)} one in the header")
        names = [name or f"column {position}" for position, name in enumerate(names, start=1)]
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            raise self._refused(f"has several columns of the same name: rename {', '.join(repeated)}")
        return names

    def _refused(self, reason: str) -> UnusableSales:
        return UnusableSales(f"{self.path} {reason}")


def _parquet_extent(path: Path) -> Extent:
    from pyarrow.parquet import read_metadata

    told = read_metadata(path)
    return Extent(told.num_rows, told.num_columns)


def _delimiter(sample: Sequence[str]) -> str:
    """The one that splits most lines as it does the header, and into most fields."""

    def score(delimiter: str) -> tuple[float, int]:
        try:
            widths = list(map(len, filter(_has_text, csv.reader(sample, delimiter=delimiter, skipinitialspace=True))))
        except csv.Error:
            return 0.0, 0
        width = widths[0] if widths else 0
        return (widths.count(width) / len(widths) if width > 1 else 0.0), width

    return max(_DELIMITERS, key=score)


def _has_text(row: Iterable[str]) -> bool:
    return any(map(str.strip, row))


def _rows(rows: Iterable[list[str]], width: int, rejected: Counter[str]) -> Iterator[list[str]]:
    for row in filter(_has_text, rows):
        if len(row) == width:
            yield row
        else:
            rejected[RAGGED] += 1


def _chunks(rows: Iterator[list[str]]) -> Iterator[_Chunk]:
    while chunk := list(islice(rows, _CHUNK)):
        yield [list(map(str.strip, cells)) for cells in zip(*chunk, strict=True)]


def _columns(names: Sequence[str], chunks: Iterable[_Chunk]) -> _Columns:
    columns: _Columns = {name: [] for name in names}
    known: list[dict[Cell, Cell]] = [{} for _ in names]
    for chunk in chunks:
        for column, cells, seen in zip(columns.values(), chunk, known, strict=True):
            # equal cells become one object: columns repeat themselves, and files have millions of rows
            if len(seen) > _REMEMBERED:
                seen.clear()
            seen[""] = None
            column.extend(map(seen.setdefault, cells, cells))
    return columns


def _typed(value: object) -> Cell:
    match value:
        case None | bool() | int():
            return value
        case str():
            return value.strip()
        case float() | Decimal():
            return None if value != value else float(value)
        case datetime():
            return value.date()
        case date():
            return value
    return str(value)
