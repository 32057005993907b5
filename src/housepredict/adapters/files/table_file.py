"""Tables in CSV and Parquet files, and CSV in requests: how their cells are read, whatever they are about."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, compress, islice
from pathlib import Path
from typing import IO, Any, ClassVar

from attrs import define, field, frozen

from housepredict.adapters.files.arrow import ParquetTable, decoders_of
from housepredict.adapters.files.delimited import (
    BLANKS,
    Rows,
    TextEncoding,
    detect,
    fitted,
    has_text,
    named,
    rows_of,
)
from housepredict.domain.errors import BrokenRules, MissingExtra, UnreadableFile
from housepredict.domain.sales import Cell
from housepredict.domain.validation import Rule, Violation, pointer_to, tidy

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_SAMPLE = 50  # rows that show whether the header lacks a column
_PIECE = 1024 * 1024  # bytes that are read at a time
_SHOWN = 100  # characters of a header in a message
_SHOWN_LINES = 3

_NO_TEXT = "is neither CSV nor Parquet: export it as CSV in UTF-8"


@frozen
class TextRows:
    """Rows of a table of text as they stand there: some may be of another length than its header."""

    header: Sequence[str]
    delimiter: str
    rows: Sequence[list[str]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def fits(self) -> Sequence[bool]:
        """Whether each row has a cell for each column."""
        return [len(row) == len(self.header) for row in self.rows]

    def cells(self, positions: Iterable[int]) -> list[list[Cell]]:
        """Return the cells of columns, of the rows that fit: tidy text."""
        columns = list(zip(*compress(self.rows, self.fits), strict=True)) or [()] * len(self.header)
        return [list(map(tidy, columns[position])) for position in positions]

    def texts(self) -> Iterator[Sequence[str]]:
        """Return the rows as text, each of the header's length."""
        width = len(self.header)
        return (row if len(row) == width else [*row[:width], *[""] * (width - len(row))] for row in self.rows)

    def surplus(self) -> Iterator[Sequence[str]]:
        """Return what each row has beyond the header."""
        return (row[len(self.header) :] for row in self.rows)

    @property
    def batch(self) -> Any:
        """A record batch of Arrow with text in all columns."""
        import pyarrow as pa

        columns = zip(*self.texts(), strict=True)
        texts = [pa.array([cell or None for cell in column], pa.string()) for column in columns]
        return pa.RecordBatch.from_arrays(texts, names=list(self.header))


@define
class TextTable:
    """A table of text that is being read.

    `header` is how it names its columns, `names` what they are called here. `ragged` is how many rows that were read
    have another number of fields than the header. `notes` are complete once all rows are read.
    """

    chunk: ClassVar = 500  # rows at once: so few that the garbage collector does not look at them
    header: Sequence[str]
    names: Sequence[str]
    encoding: TextEncoding
    _source: Rows
    _rows: Iterator[tuple[int, list[str]]]
    _left_out: slice
    ragged: int = 0
    _ragged_lines: list[str] = field(factory=list)

    def batches(self, size: int) -> Iterator[TextRows]:
        """Return all rows, those without any text left out, `size` at a time."""
        delimiter = "," if self._source.delimiter == BLANKS else self._source.delimiter
        while rows := [self._noted(line, row) for line, row in islice(self._rows, size)]:
            yield TextRows(self.header, delimiter, rows)

    def _noted(self, line: int, row: list[str]) -> list[str]:
        if len(row) > len(self.header):
            row = fitted([*row[: self._left_out.start], *row[self._left_out.stop :]], len(self.header))
        if len(row) != len(self.header):
            self.ragged += 1
            if len(self._ragged_lines) < _SHOWN_LINES:
                self._ragged_lines.append(f"line {line} has {len(row)}")
        return row

    @property
    def notes(self) -> Sequence[str]:
        """What was decided or repaired to read it."""
        source = self._source
        invalid = self.encoding.describe_invalid(source.invalid, "line") if source.invalid else None
        notes = ["; ".join(filter(None, [self.encoding.note, invalid]))]
        if source.repaired:
            notes.append(f"{_counted(source.repaired, 'row')} with quotes that don't pair up, read without them")
        if source.emptied:
            notes.append(f"{_counted(source.emptied, 'line')} with NUL characters, read without them")
        if self.ragged:
            shown = ", ".join([*self._ragged_lines, *(["…"] if self.ragged > _SHOWN_LINES else [])])
            notes.append(f"rows with another number of fields than the {len(self.header)} of the header: {shown}")
        return [note for note in notes if note]


@frozen
class TableFile:
    """A file with a table: CSV (.gz too, with any common delimiter, in any common encoding) or Parquet.

    What it is shows in its content, whatever its name. `fault` is the error of a file that cannot be read. `encoding`
    is the encoding of text that the caller names; None to detect it.
    """

    path: Path = field(converter=Path)
    fault: Callable[[str], UnreadableFile] = UnreadableFile
    encoding: str | None = None

    @contextmanager
    def open(self, like: TextTable | ParquetTable | None = None) -> Iterator[TextTable | ParquetTable]:
        """Open the table; `like` is the same one if it was opened before, since reading it tells how to decode it.

        Raises:
            UnreadableFile: `fault`, with a message that says what to do, also while the table is read.
            MissingExtra: for Parquet without pyarrow.
        """
        with self._translated(), self._parquet(like) if self._begins_with(_PARQUET) else self._text(like) as table:
            yield table

    def digest(self) -> str:
        """Return the SHA-256 of the file in hexadecimal. Raises as `open` does."""
        with self._translated(), self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            # what is read of a pipe is gone, and all of it is read several times
            if not (self.path.is_file() or self.path.is_dir()) and self.path.exists():
                raise self.refused("is not a regular file: save it to one first")
            yield
        except FileNotFoundError as error:
            raise self.fault(f"There is no file {self.path}: check the path") from error
        except IsADirectoryError as error:
            raise self.fault(f"{self.path} is a folder: name a file in it") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self.refused(f"is a damaged or incomplete gzip file ({error}): copy it again") from error
        except OSError as error:
            raise self.refused(f"cannot be read: {error}") from error

    def _named_encoding(self) -> TextEncoding | None:
        try:
            return None if self.encoding is None else named(self.encoding)
        except LookupError as error:
            raise self.refused(f"cannot be read: unknown encoding {self.encoding!r}") from error

    def _text_encoding(self) -> TextEncoding:
        """Return the encoding that was named, or else the one that the text seems to have."""
        if encoding := self._named_encoding():
            return encoding
        with self._opener()(self.path, "rb") as stream:
            encoding = detect(iter(lambda: stream.read(_PIECE), b""))
        if encoding is None:
            raise self.refused(_NO_TEXT)
        return encoding

    @contextmanager
    def _text(self, like: object) -> Iterator[TextTable]:
        """Open a CSV file. Its last columns are left out if they have neither a name nor any text."""
        encoding = like.encoding if isinstance(like, TextTable) else self._text_encoding()
        with self._rows(encoding) as source:
            if not (header := source.header()):
                raise self.refused("is empty")
            named = source.named
            first = [(source.line, row) for row in islice(source, _SAMPLE)]
            # rows may begin with a name that the header has no column for, as R writes them
            if first and all(len(row) == len(header) + 1 and row[-1].strip() for _, row in first):
                header.insert(0, "")
                named += 1
            beyond = slice(named, len(header))
            if beyond.start == beyond.stop or self._has_text_in(beyond, encoding):
                beyond = slice(len(header), len(header))
            del header[beyond]
            rows = chain(first, ((source.line, row) for row in source))
            yield TextTable(header, self._names(header), encoding, source, rows, beyond)

    def _has_text_in(self, columns: slice, encoding: TextEncoding) -> bool:
        with self._rows(encoding) as rows:
            return any(has_text(row[columns]) for row in rows)

    @contextmanager
    def _rows(self, encoding: TextEncoding) -> Iterator[Rows]:
        """All rows with any text, the header first."""
        stream = self._opener()(self.path, "rt", encoding=encoding.codec, errors=encoding.errors, newline="")
        with stream:
            try:
                yield rows_of(stream)
            except UnicodeError as error:
                raise self.refused(f"is not text in {encoding.codec} ({error}): say which encoding it has") from error

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
                    decoders, notes = decoders_of(file, self._named_encoding())
                yield ParquetTable(names, decoders, notes, file)
        except (pa.ArrowException, OSError, OverflowError, ValueError) as error:
            raise self.refused(f"is no Parquet file that can be read ({error}): write it anew, or as CSV") from error

    def refused(self, reason: str) -> UnreadableFile:
        """Return the error for this file, with what is wrong with it."""
        return self.fault(f"{self.path} {reason}")

    def _opener(self) -> Callable[..., IO[Any]]:
        return gzip.open if self._begins_with(_GZIP) else open

    def _begins_with(self, magic: bytes) -> bool:
        with self.path.open("rb") as stream:
            return stream.read(len(magic)) == magic

    def _names(self, header: Sequence[str]) -> list[str]:
        """The columns' names. One may have none: many programs write the number of the row there."""
        names, problems = names_of(header), []
        unnamed = [str(position) for position, name in enumerate(header, start=1) if not tidy(name)]
        if len(unnamed) > 1:
            problems.append(f"columns without a name: give columns {', '.join(unnamed)} one in the header")
        repeated = [name for name, count in Counter(names).items() if count > 1]
        if repeated:
            problems.append(f"several columns of the same name: rename {', '.join(repeated)}")
        if problems:
            raise self.refused(f"has in its header, {quoted(header)}, {'; and '.join(problems)}")
        return names


_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How Excel's workbooks begin, the new ones as any ZIP archive."""


def csv_table(content: bytes, error: type[BrokenRules]) -> TextRows:
    """Return all rows of CSV in UTF-8, read as those of a file, with what its columns are called here as the header.

    Rows without text above the header and at the end are left out, and so are empty lines. Between others, rows of
    several empty cells are rows: whoever counts the answers would miss them.

    Raises:
        BrokenRules: `error`, if the content is not CSV in UTF-8.
    """
    if content.startswith(_WORKBOOKS):
        reason = "is an Excel workbook or a ZIP archive: export it as CSV in UTF-8"
        raise error([Violation("", Rule.TYPE, reason)])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise error([Violation("", Rule.TYPE, f"byte {fault.start} is not UTF-8")]) from None
    # not splitlines, which ends lines at characters that are text in CSV, such as U+2028
    source = rows_of(io.StringIO(text, newline=""))
    header = source.header(keep_empty=True)
    rows = list(source)
    while rows and not has_text(rows[-1]):
        rows.pop()
    if not any(has_text(row[source.named :]) for row in rows):
        del header[source.named :]
    return TextRows(names_of(header), source.delimiter, [fitted(row, len(header)) for row in rows])


def check_columns(
    names: Sequence[str], known: Container[str], required: Iterable[str], unknown: str
) -> list[Violation]:
    """Return what is wrong with the columns of a table in a request; `unknown` is the message for an unknown one."""
    counts = Counter(names)
    broken = [
        *((name, Rule.UNKNOWN, unknown) for name in counts if name not in known),
        *((name, Rule.DUPLICATE, "is more than one column") for name, count in counts.items() if count > 1),
        *((name, Rule.MISSING, "is a column that is missing") for name in required if name not in counts),
    ]
    return [Violation(pointer_to(name), rule, message) for name, rule, message in broken]


def names_of(header: Sequence[str]) -> list[str]:
    """Return what columns are called here: by its position, if a column has no name."""
    return [tidy(name) or f"column {position}" for position, name in enumerate(header, start=1)]


def quoted(header: Sequence[str]) -> str:
    """Return a header for a message; of a long one its beginning."""
    text = ",".join(header)
    return f'"{text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"}"'


def _counted(lines: Sequence[int], what: str) -> str:
    """Return how many lines there are, and the first of them: `2 rows (lines 3, 7)`."""
    shown = ", ".join(map(str, lines[:_SHOWN_LINES])) + (", …" if len(lines) > _SHOWN_LINES else "")
    several = len(lines) > 1
    return f"{len(lines):,} {what}{'s' if several else ''} (line{'s' if several else ''} {shown})"
