"""Tables as people have them, in CSV and Parquet files: how their cells are got at, whatever they are about.

The rules that all readers share are here and in the modules below: `encodings`, `delimited`, `arrow_columns`.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from attrs import define, field, frozen

from housepredict.adapters.files.arrow import Decoder, ParquetTable, decoders_of
from housepredict.adapters.files.delimited import (
    BLANKS,
    REPLACED,
    RaggedRows,
    Rows,
    TextEncoding,
    detect,
    fitted,
    has_row_names,
    has_text,
    named,
    rows_of,
)
from housepredict.domain.errors import BrokenRules, MissingExtra, UnreadableFile
from housepredict.domain.validation import Rule, Violation, tidy

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_SAMPLE = 50  # rows that show whether the header lacks a column
_PIECE = 1024 * 1024  # bytes that are read at a time
_SHOWN = 100  # characters of a header in a message
_SHOWN_LINES = 3

_NO_TEXT = "is neither CSV nor Parquet: export it as CSV in UTF-8"


@define
class InvalidLines:
    """Counts the lines of a text with bytes that are not valid in its encoding, and shows these as U+FFFD."""

    encoding: TextEncoding
    count: int = 0

    def replaced(self, lines: Iterable[str]) -> Iterator[str]:
        """Return the lines, with U+FFFD for REPLACED."""
        for line in lines:
            if REPLACED in line:
                self.count += 1
                yield line.replace(REPLACED, "\ufffd")
            else:
                yield line

    @property
    def note(self) -> str:
        """The note on the encoding, complete once all lines are read; empty if there is nothing to say."""
        invalid = self.encoding.describe_invalid(self.count, "line") if self.count else None
        return "; ".join(filter(None, [self.encoding.note, invalid]))


@frozen
class Text:
    """A table of text that is being read.

    `header` is how it names its columns, `names` what they are called here; `rows` are below it, those without any text
    left out, and may be of another length: `ragged` counts these as they are read. `notes` are complete once all rows
    are read.
    """

    header: Sequence[str]
    names: Sequence[str]
    delimiter: str
    rows: Iterator[list[str]]
    ragged: RaggedRows
    _source: Rows
    _invalid: InvalidLines

    @property
    def notes(self) -> Sequence[str]:
        """What was decided or repaired to read it."""
        notes = [self._invalid.note] if self._invalid.note else []
        if lines := self._source.repaired:
            notes.append(f"{_counted(lines, 'row')} with quotes that don't pair up, read without them")
        if lines := self._source.emptied:
            notes.append(f"{_counted(lines, 'line')} with NUL characters, read without them")
        if self.ragged.count:
            notes.append(self.ragged.describe())
        return notes


@frozen
class TextRows:
    """Rows of a CSV file as they stand there: lists of text, which may be of another length than the header."""

    header: Sequence[str]
    delimiter: str
    rows: Sequence[list[str]]


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

    def named_encoding(self) -> TextEncoding | None:
        """The encoding that was named, if any."""
        try:
            return None if self.encoding is None else named(self.encoding)
        except LookupError as error:
            raise self.refused(f"cannot be read: there is no encoding {self.encoding!r}") from error

    def text_encoding(self) -> TextEncoding:
        """How its text is to be decoded: as it was said, or else as it looks."""
        if encoding := self.named_encoding():
            return encoding
        with self._opener()(self.path, "rb") as stream:
            encoding = detect(iter(lambda: stream.read(_PIECE), b""))
        if encoding is None:
            raise self.refused(_NO_TEXT)
        return encoding

    @contextmanager
    def text(self, encoding: TextEncoding) -> Iterator[Text]:
        """The table in a CSV file, without the last columns if they have neither a name nor any text."""
        invalid = InvalidLines(encoding)
        with self._rows(invalid) as found:
            if not (header := found.header()):
                raise self.refused("is empty")
            named = found.named
            first = [(found.line, row) for row in islice(found, _SAMPLE)]
            if has_row_names(header, [row for _, row in first]):
                header.insert(0, "")
                named += 1
            beyond = slice(named, len(header))
            if beyond.start == beyond.stop or self._has_text_in(beyond, encoding):
                beyond = slice(len(header), len(header))
            del header[beyond]
            ragged = RaggedRows(len(header))
            numbered = chain(first, ((found.line, row) for row in found))
            delimiter = "," if found.delimiter == BLANKS else found.delimiter
            rows = _without(beyond, numbered, ragged)
            yield Text(header, self._names(header), delimiter, rows, ragged, found, invalid)

    def _has_text_in(self, columns: slice, encoding: TextEncoding) -> bool:
        with self._rows(InvalidLines(encoding)) as rows:
            return any(has_text(row[columns]) for row in rows)

    @contextmanager
    def _rows(self, invalid: InvalidLines) -> Iterator[Rows]:
        """All rows with any text, the header first."""
        encoding = invalid.encoding
        stream = self._opener()(self.path, "rt", encoding=encoding.codec, errors=encoding.errors, newline="")
        with stream:
            try:
                yield rows_of(invalid.replaced(stream))
            except UnicodeError as error:
                raise self.refused(f"is no text in {encoding.codec} ({error}): say which encoding it has") from error

    @contextmanager
    def parquet(self, decoders: Mapping[str, Decoder] | None = None) -> Iterator[ParquetTable]:
        """The table in a Parquet file. Raises MissingExtra without pyarrow.

        Args:
            decoders: those of the table, if it was opened before. They are found by reading its columns of text.
        """
        try:
            import pyarrow as pa
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise MissingExtra.named("parquet", "Reading Parquet files") from error
        try:
            with ParquetFile(self.path) as file:
                names = self._names(file.schema_arrow.names)
                notes: Sequence[str] = ()
                if decoders is None:
                    decoders, notes = decoders_of(file, self.named_encoding())
                yield ParquetTable(names, decoders, notes, file)
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


def csv_table(content: bytes, error: type[BrokenRules]) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns of CSV in UTF-8, and its rows, read as those of a file.

    Rows without text above the header and at the end are left out, and so are empty lines. Between others, rows of
    several empty cells are rows: whoever counts the answers would miss them. No name is given to the rows' names of R.

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
    found = rows_of(io.StringIO(text, newline=""))
    header = found.header(keep_empty=True)
    rows = list(found)
    while rows and not has_text(rows[-1]):
        rows.pop()
    if not any(has_text(row[found.named :]) for row in rows):
        del header[found.named :]
    return names_of(header), [fitted(row, len(header)) for row in rows]


def names_of(header: Sequence[str]) -> list[str]:
    """Return what columns are called here: by its position, if a column has no name."""
    return [tidy(name) or f"column {position}" for position, name in enumerate(header, start=1)]


def quoted(header: Sequence[str]) -> str:
    """A header as messages show it, the beginning of a long one."""
    text = ",".join(header)
    return f'"{text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"}"'


def _without(columns: slice, numbered: Iterable[tuple[int, list[str]]], ragged: RaggedRows) -> Iterator[list[str]]:
    """Rows without some columns; those of another length than the header are counted."""
    for line, row in numbered:
        if len(row) > ragged.width:
            row = fitted([*row[: columns.start], *row[columns.stop :]], ragged.width)  # noqa: PLW2901  # it is shorter
        if len(row) != ragged.width:
            ragged.add(line, len(row))
        yield row


def _counted(lines: Sequence[int], what: str) -> str:
    """Return how many lines there are, and the first of them: `2 rows (lines 3, 7)`."""
    shown = ", ".join(map(str, lines[:_SHOWN_LINES])) + (", …" if len(lines) > _SHOWN_LINES else "")
    several = len(lines) > 1
    return f"{len(lines):,} {what}{'s' if several else ''} (line{'s' if several else ''} {shown})"
