"""Tables as people have them, in CSV and Parquet files: how their cells are got at, whatever they are about."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, TypeVar

from attrs import field, frozen

from housepredict.domain.errors import MissingExtra, UnreadableFile
from housepredict.domain.sales import Cell, Extent

T = TypeVar("T")

ENCODINGS = ("utf-8-sig", "cp1252")

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_DELIMITERS = ",;\t|"
_TOLD = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)  # Excel's first line, which tells the delimiter
_SAMPLE = 50  # lines that show the delimiter
_PIECE = 1024 * 1024  # bytes that are read to count lines
_SHOWN = 100  # characters of a header in a message

_NO_TEXT = "is neither CSV nor Parquet: export it as CSV in UTF-8"


@frozen
class Text:
    """A table of text that is being read.

    `header` is how it names its columns, `names` what they are called here; `rows` are below it, those without any text
    left out, and may be of another length.
    """

    header: Sequence[str]
    names: Sequence[str]
    delimiter: str
    rows: Iterator[list[str]]


@frozen
class TextRows:
    """Rows of a CSV file as they stand there: lists of text, which may be of another length than the header."""

    header: Sequence[str]
    delimiter: str
    rows: Sequence[list[str]]


@frozen
class TableFile:
    """A file with a table: CSV (.gz too; commas, semicolons, tabs or bars; UTF-8 or Windows-1252) or Parquet.

    What it is shows in its content, whatever its name. `fault` is the error of a file that cannot be read.
    """

    path: Path = field(converter=Path)
    fault: Callable[[str], UnreadableFile] = UnreadableFile

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise a message that says what to do for whatever keeps the file from being read."""
        try:
            # what is read of a pipe is gone, and all of it is read several times
            if not (self.path.is_file() or self.path.is_dir()) and self.path.exists():
                raise self.refused("is no regular file: save it to one first")
            yield
        except FileNotFoundError as error:
            raise self.fault(f"There is no file {self.path}: check the path") from error
        except IsADirectoryError as error:
            raise self.fault(f"{self.path} is a folder: name a file in it") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self.refused(f"is a damaged or incomplete gzip file ({error}): copy it anew") from error
        except OSError as error:
            raise self.refused(f"cannot be read: {error}") from error

    def is_parquet(self) -> bool:
        """Whether it is Parquet, by how it begins."""
        return self._begins_with(_PARQUET)

    def extent(self) -> Extent | None:
        """The lines of a CSV file but for the header, and the fields of that; what a Parquet file says of itself.

        None for what cannot be read.
        """
        try:
            with self.translated():
                if self.is_parquet():
                    from pyarrow.parquet import read_metadata

                    told = read_metadata(self.path)
                    return Extent(told.num_rows, told.num_columns)
                with self._opener()(self.path, "rb") as lines:
                    header = lines.readline(_PIECE).decode("utf-8-sig", "replace")
                    if told := _TOLD.fullmatch(header):
                        header = lines.readline(_PIECE).decode("utf-8", "replace")
                    columns = max(header.count(delimiter) for delimiter in (told[1] if told else _DELIMITERS)) + 1
                    return Extent(sum(piece.count(b"\n") for piece in iter(lambda: lines.read(_PIECE), b"")), columns)
        except (UnreadableFile, ImportError, ValueError):
            return None

    def decoded(self, read: Callable[[str], T]) -> T:
        """What `read` makes of it in the encoding that it is in."""
        for encoding in ENCODINGS:
            try:
                return read(encoding)
            except UnicodeDecodeError:
                continue
        raise self.refused(_NO_TEXT)

    @contextmanager
    def text(self, encoding: str) -> Iterator[Text]:
        """The table in a CSV file, without the last columns if they have neither a name nor any text. Raises
        UnicodeDecodeError where it is in another encoding.
        """
        with self._rows(encoding) as (delimiter, found):
            header = next(found, None)
            if header is None:
                raise self.refused("is empty")
            named = max(position for position, name in enumerate(header, start=1) if name.strip())
            rest, rows = slice(named, len(header)), found
            if header[rest] and not self._has_text_in(rest, encoding):
                del header[rest]
                rows = ([*row[:named], *row[rest.stop :]] for row in found)
            yield Text(header, self._names(header), delimiter, rows)

    def _has_text_in(self, columns: slice, encoding: str) -> bool:
        with self._rows(encoding) as (_, rows):
            return any(_has_text(row[columns]) for row in rows)

    @contextmanager
    def _rows(self, encoding: str) -> Iterator[tuple[str, Iterator[list[str]]]]:
        """The delimiter, and all rows with any text, the header first."""
        with self._opener()(self.path, "rt", encoding=encoding, newline="") as stream:
            lines = self._lines(stream)
            sample = list(islice(lines, _SAMPLE))
            told = _TOLD.fullmatch(sample[0]) if sample else None
            delimiter = told[1] if told else _delimiter(sample)
            # strict: otherwise a quote that nobody closed would swallow the rows after it
            reader = csv.reader(
                chain(sample[bool(told) :], lines), delimiter=delimiter, skipinitialspace=True, strict=True
            )
            try:
                yield delimiter, filter(_has_text, reader)
            except csv.Error as error:
                problem = f"is no proper CSV at line {reader.line_num + bool(told)} ({error}): check its quotes"
                raise self.refused(problem) from error

    @contextmanager
    def parquet(self) -> Iterator[tuple[Any, Sequence[str]]]:
        """A pyarrow.parquet.ParquetFile, and what its columns are called here. Raises MissingExtra without pyarrow."""
        try:
            import pyarrow as pa
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise MissingExtra.named("parquet", "Reading Parquet files") from error
        try:
            with ParquetFile(self.path) as file:
                yield file, self._names(file.schema_arrow.names)
        except (pa.ArrowException, OSError, OverflowError, ValueError) as error:
            raise self.refused(f"is no Parquet file that can be read ({error}): write it anew, or as CSV") from error

    def refused(self, reason: str) -> UnreadableFile:
        """The error for a file of which this is to be said."""
        return self.fault(f"{self.path} {reason}")

    def _opener(self) -> Callable[..., IO[Any]]:
        return gzip.open if self._begins_with(_GZIP) else open

    def _begins_with(self, magic: bytes) -> bool:
        with self.path.open("rb") as stream:
            return stream.read(len(magic)) == magic

    def _lines(self, stream: Iterable[str]) -> Iterator[str]:
        for line in stream:
            if "\0" in line:
                raise self.refused(_NO_TEXT)
            yield line

    def _names(self, header: Sequence[str]) -> list[str]:
        """The columns' names. One may have none: many programs write the number of the row there."""
        names = [name.strip() or f"column {position}" for position, name in enumerate(header, start=1)]
        problems = []
        unnamed = [str(position) for position, name in enumerate(header, start=1) if not name.strip()]
        if len(unnamed) > 1:
            problems.append(f"columns without a name: give columns {', '.join(unnamed)} one in the header")
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            problems.append(f"several columns of the same name: rename {', '.join(repeated)}")
        if problems:
            raise self.refused(f"has in its header, {quoted(header)}, {'; and '.join(problems)}")
        return names


def quoted(header: Sequence[str]) -> str:
    """A header as messages show it, the beginning of a long one."""
    text = ",".join(header)
    return f'"{text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"}"'


def arrow_cells(column: Any) -> list[Cell]:
    """The cells of a column of Arrow: with its types, dates without their time, NaN as None."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        # nanoseconds do not fit Python's datetime
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return [_typed(value) for value in column.to_pylist()]


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
