"""Read tables with arbitrary columns from CSV and Parquet files and from CSV request bodies."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, compress, filterfalse, islice
from pathlib import Path
from typing import IO, Any, ClassVar

from attrs import define, field, frozen

from housepredict.adapters.files.arrow import ParquetTable, detect_decoders
from housepredict.adapters.files.delimited import (
    BLANKS,
    Rows,
    TextEncoding,
    detect,
    has_text,
    named,
    rows_of,
    trim_row,
)
from housepredict.domain.errors import BrokenRules, MissingExtra, UnreadableFile
from housepredict.domain.sales import Cell
from housepredict.domain.validation import Rule, Violation, did_you_mean, pointer_to, tidy

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_SAMPLE_ROWS = 50  # rows to read ahead to detect whether the header is one column short
_PIECE_BYTES = 1024 * 1024
_MAX_HEADER_CHARACTERS = 100  # longer headers are truncated in messages
_MAX_LINES = 3  # line numbers in messages


@frozen
class TextRows:
    """Rows of a text table, exactly as written. A row may have more or fewer cells than the header."""

    header: Sequence[str]
    delimiter: str
    rows: Sequence[list[str]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def fits(self) -> Sequence[bool]:
        """Whether each row has as many cells as the header."""
        return [len(row) == len(self.header) for row in self.rows]

    def cells(self, positions: Iterable[int]) -> list[list[Cell]]:
        """Return the cells of the columns at `positions` as tidied text, one list per column.

        Rows with more or fewer cells than the header are left out.
        """
        columns = list(zip(*compress(self.rows, self.fits), strict=True)) or [()] * len(self.header)
        return [list(map(tidy, columns[position])) for position in positions]

    def texts(self) -> Iterator[Sequence[str]]:
        """Yield the rows, each truncated or padded to the length of the header."""
        width = len(self.header)
        return (row if len(row) == width else [*row[:width], *[""] * (width - len(row))] for row in self.rows)

    def surplus(self) -> Iterator[Sequence[str]]:
        """Yield the cells that each row has beyond the last header column."""
        return (row[len(self.header) :] for row in self.rows)

    @property
    def batch(self) -> Any:
        """The rows as an Arrow record batch in which every column is text."""
        import pyarrow as pa

        columns = zip(*self.texts(), strict=True)
        texts = [pa.array([cell or None for cell in column], pa.string()) for column in columns]
        return pa.RecordBatch.from_arrays(texts, names=list(self.header))


@define
class TextTable:
    """An open CSV or other delimited text table.

    Attributes:
        header: the column names as written in the file.
        names: the column names, tidied.
        encoding: the text encoding.
        ragged: the number of rows read so far that have more or fewer cells than the header.
        repeated: the number of rows read so far that repeat the header. They are skipped.
    """

    chunk: ClassVar = 500  # rows per batch: few enough to avoid triggering the garbage collector
    header: Sequence[str]
    names: Sequence[str]
    encoding: TextEncoding
    _source: Rows
    _rows: Iterator[tuple[int, list[str]]]
    _dropped: slice
    ragged: int = 0
    repeated: int = 0
    _ragged_lines: list[str] = field(factory=list)

    def batches(self, size: int) -> Iterator[TextRows]:
        """Yield all rows except blank ones and repeated headers, in batches of `size`."""
        delimiter = "," if self._source.delimiter == BLANKS else self._source.delimiter
        checked = (self._checked(line, row) for line, row in self._rows)
        kept = filterfalse(self._repeats_header, checked)
        while rows := list(islice(kept, size)):
            yield TextRows(self.header, delimiter, rows)

    def _repeats_header(self, row: list[str]) -> bool:
        """Return whether a row repeats the header, as exports do at the top of each page. If so, count the row."""
        is_repeated = row == self.header
        self.repeated += is_repeated
        return is_repeated

    def _checked(self, line: int, row: list[str]) -> list[str]:
        """Remove blank cells beyond the last header column. If the row still doesn't fit, count it as ragged."""
        if len(row) > len(self.header):
            row = trim_row([*row[: self._dropped.start], *row[self._dropped.stop :]], len(self.header))
        if len(row) != len(self.header):
            self.ragged += 1
            if len(self._ragged_lines) < _MAX_LINES:
                self._ragged_lines.append(f"line {line} has {len(row)}")
        return row

    @property
    def notes(self) -> Sequence[str]:
        """Notes on what was guessed or repaired. They are complete only after all rows have been read."""
        source = self._source
        invalid = self.encoding.describe_invalid(source.invalid, "line") if source.invalid else None
        notes = ["; ".join(filter(None, [self.encoding.note, invalid]))]
        if source.titles:
            notes.append(f"{source.titles} title row{'s' if source.titles > 1 else ''} above the header skipped")
        if self.repeated:
            notes.append(f"{self.repeated} row{'s' if self.repeated > 1 else ''} repeating the header skipped")
        if source.repaired:
            notes.append(f"{_counted(source.repaired, 'row')} with unbalanced quotes, which were read literally")
        if source.nul_lines:
            notes.append(f"{_counted(source.nul_lines, 'line')} with NUL characters, which were removed")
        if self.ragged:
            lines = ", ".join([*self._ragged_lines, *(["…"] if self.ragged > _MAX_LINES else [])])
            fields = f"{len(self.header)} field{'s' if len(self.header) != 1 else ''}"
            notes.append(f"the header has {fields}, but some rows have more or fewer: {lines}")
        return [note for note in notes if note]


@frozen
class TableFile:
    """A CSV or Parquet file. The format is detected from the content, not from the file name.

    A CSV file may be gzipped and may use any common delimiter and encoding.

    Attributes:
        path: the path of the file.
        error_class: the exception class to raise if the file can't be read.
        encoding: the text encoding, or None to detect it.
    """

    path: Path = field(converter=Path)
    error_class: Callable[[str], UnreadableFile] = UnreadableFile
    encoding: str | None = None

    @contextmanager
    def open(self, like: TextTable | ParquetTable | None = None) -> Iterator[TextTable | ParquetTable]:
        """Open the table.

        Args:
            like: a table from an earlier call, whose encoding is used again. Without it, the encoding is detected.

        Raises:
            UnreadableFile: (of type `error_class`) if the file can't be read. This may happen later, while rows are
                read.
            MissingExtra: if the file is Parquet and pyarrow isn't installed.
        """
        with self._translate_errors(), (self._parquet if self._starts_with(_PARQUET) else self._text)(like) as table:
            yield table

    def digest(self) -> str:
        """Return the SHA-256 digest of the file in hexadecimal.

        Raises:
            UnreadableFile: (of type `error_class`) if the file can't be read.
        """
        with self._translate_errors(), self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            # the file is read several times, but a pipe can be read only once
            if not (self.path.is_file() or self.path.is_dir()) and self.path.exists():
                raise self.error("is not a regular file: save it to one first")
            yield
        except FileNotFoundError as error:
            raise self.error_class(f"There is no file {self.path}: check the path") from error
        except IsADirectoryError as error:
            raise self.error("is a directory: name a file in it") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self.error(f"is a damaged or incomplete gzip file ({error}): copy it again") from error
        except OSError as error:
            raise self.error(f"cannot be read: {error}") from error

    def _requested_encoding(self) -> TextEncoding | None:
        try:
            return None if self.encoding is None else named(self.encoding)
        except LookupError as error:
            raise self.error(f"cannot be read: unknown encoding {self.encoding!r}") from error

    def _text_encoding(self) -> TextEncoding:
        """Return the requested encoding, or the detected one if no encoding was requested."""
        if encoding := self._requested_encoding():
            return encoding
        with self._opener()(self.path, "rb") as stream:
            encoding = detect(iter(lambda: stream.read(_PIECE_BYTES), b""))
        if encoding is None:
            raise self.error("is neither CSV nor Parquet: export it as CSV in UTF-8")
        return encoding

    @contextmanager
    def _text(self, like: object) -> Iterator[TextTable]:
        """Open a CSV file. Trailing columns that have neither a name nor any text are dropped."""
        encoding = like.encoding if isinstance(like, TextTable) else self._text_encoding()
        with self._rows(encoding) as source:
            if not (header := source.header()):
                raise self.error("is empty")
            width = source.named
            sample = [(source.line, row) for row in islice(source, _SAMPLE_ROWS)]
            # R writes row names to a first column that isn't in the header
            if sample and all(len(row) == len(header) + 1 and row[-1].strip() for _, row in sample):
                header.insert(0, "")
                width += 1
            dropped = slice(width, len(header))
            if dropped.start == dropped.stop or self._has_text_in(dropped, encoding):
                dropped = slice(len(header), len(header))
            del header[dropped]
            rows = chain(sample, ((source.line, row) for row in source))
            yield TextTable(header, self._names(header), encoding, source, rows, dropped)

    def _has_text_in(self, columns: slice, encoding: TextEncoding) -> bool:
        with self._rows(encoding) as rows:
            return any(has_text(row[columns]) for row in rows)

    @contextmanager
    def _rows(self, encoding: TextEncoding) -> Iterator[Rows]:
        """Open the file as an iterator over its non-blank rows, starting with the header."""
        stream = self._opener()(self.path, "rt", encoding=encoding.codec, errors=encoding.errors, newline="")
        with stream:
            try:
                yield rows_of(stream)
            except UnicodeError as error:
                raise self.error(
                    f"is not valid {encoding.codec} ({error}): set `encoding` to the file's encoding"
                ) from error

    @contextmanager
    def _parquet(self, like: object) -> Iterator[ParquetTable]:
        try:
            import pyarrow as pa
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise MissingExtra.named("parquet", "Reading Parquet files") from error
        try:
            with ParquetFile(self.path) as file:
                names = self._names(file.schema_arrow.names)
                if isinstance(like, ParquetTable):
                    decoders, notes = like.decoders, like.notes
                else:
                    decoders, notes = detect_decoders(file, self._requested_encoding())
                yield ParquetTable(names, decoders, notes, file)
        except (pa.ArrowException, OSError, OverflowError, ValueError) as error:
            raise self.error(f"is not a readable Parquet file ({error}): export it again, or as CSV") from error

    def error(self, problem: str) -> UnreadableFile:
        """Return an `error_class` exception whose message is the path followed by `problem`."""
        return self.error_class(f"{self.path} {problem}")

    def _opener(self) -> Callable[..., IO[Any]]:
        return gzip.open if self._starts_with(_GZIP) else open

    def _starts_with(self, magic: bytes) -> bool:
        with self.path.open("rb") as stream:
            return stream.read(len(magic)) == magic

    def _names(self, header: Sequence[str]) -> list[str]:
        """Return the tidied column names.

        One column may be unnamed, because many programs write row numbers without a column name.
        """
        names, problems = names_of(header), []
        unnamed = [str(position) for position, name in enumerate(header, start=1) if not tidy(name)]
        if len(unnamed) > 1:
            problems.append(f"columns {', '.join(unnamed)} have no name: name them")
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            problems.append(f"several columns have the same name: rename {', '.join(repeated)}")
        if problems:
            raise self.error(f"has an invalid header, {quoted(header)}: {'; '.join(problems)}")
        return names


_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""The leading bytes of Excel workbooks: .xlsx (which is a ZIP archive) and .xls."""


def csv_table(content: bytes, error: type[BrokenRules]) -> TextRows:
    """Parse a CSV request body into rows, with tidied column names as the header.

    Empty lines are skipped. Rows of blank cells are skipped above the header and at the end. Elsewhere, such rows are
    kept, so that each result has the same position as its row.

    Raises:
        BrokenRules: (of type `error`) if the content isn't CSV in UTF-8.
    """
    if content.startswith(_WORKBOOKS):
        reason = "Excel workbooks and ZIP archives are not supported: export the sheet as CSV in UTF-8"
        raise error([Violation("", Rule.TYPE, reason)])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as invalid:
        raise error([Violation("", Rule.TYPE, f"not UTF-8: byte {invalid.start} is invalid")]) from None
    # str.splitlines would also split at characters that are text in CSV, such as U+2028
    source = rows_of(io.StringIO(text, newline=""))
    header = source.header(keep_empty=True)
    rows = list(source)
    while rows and not has_text(rows[-1]):
        rows.pop()
    if not any(has_text(row[source.named :]) for row in rows):
        del header[source.named :]
    return TextRows(names_of(header), source.delimiter, [trim_row(row, len(header)) for row in rows])


def check_columns(
    names: Sequence[str], known: Collection[str], required: Iterable[str], unknown: str
) -> list[Violation]:
    """Return a violation for each unknown, duplicate or missing column.

    Args:
        names: the column names in the table.
        known: the allowed column names.
        required: the names of the columns that must not be missing.
        unknown: the message for a column whose name isn't allowed.
    """
    counts = Counter(names)
    problems = [
        *((name, Rule.UNKNOWN, unknown + did_you_mean(name, known)) for name in counts if name not in known),
        *((name, Rule.DUPLICATE, "several columns have this name") for name, count in counts.items() if count > 1),
        *((name, Rule.MISSING, "required column is missing") for name in required if name not in counts),
    ]
    return [Violation(pointer_to(name), rule, message) for name, rule, message in problems]


def names_of(header: Sequence[str]) -> list[str]:
    """Return the tidied column names. Unnamed columns get names such as `column 3`."""
    return [tidy(name) or f"column {position}" for position, name in enumerate(header, start=1)]


def quoted(header: Sequence[str]) -> str:
    """Return a header as quoted text for use in a message, truncated if it is long."""
    text, size = ",".join(header), _MAX_HEADER_CHARACTERS
    return f'"{text if len(text) <= size else text[: size - 1] + "…"}"'


def _counted(lines: Sequence[int], noun: str) -> str:
    """Return the number of lines and the first few line numbers, such as `2 rows (lines 3, 7)`."""
    numbers = ", ".join(map(str, lines[:_MAX_LINES])) + (", …" if len(lines) > _MAX_LINES else "")
    plural = "s" if len(lines) > 1 else ""
    return f"{len(lines):,} {noun}{plural} (line{plural} {numbers})"
