"""Rows of delimited text as programs write it, not only as RFC 4180 has it: a fault costs its own row at most."""

from __future__ import annotations

import csv
import re
import sys
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import chain, islice

from attrs import define, field

_DELIMITERS, _RARE_DELIMITERS = ",;\t|", "~^"
BLANKS = " "
"""The delimiter of columns that blanks align."""

_NAMED = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)  # Excel's first line, which names the delimiter
_SAMPLE_LINES = 50
_LIKELY_SHARE = 0.5
_CONSISTENT_SHARE = 0.95
_TELLING_DELIMITERS = 4  # a line of a remark may happen to have as many commas as a row
_SHOWN = 3
_UNIT = "\x1f"  # stands between cells that blanks separate
_WORDS = re.compile(r'("(?:[^"]|"")*")|[ \t]+')

# a cell of 131,072 characters, Python's limit, is short for the outline of a parcel
csv.field_size_limit(sys.maxsize)


@define
class Rows:
    """The rows of a text, those without any text left out: an iterator.

    `line` is where the row that came last begins; `widths`, once they are known, are how many fields rows have.
    `repaired` lists the lines whose quotes don't pair up: there a quote ends a cell only if a delimiter follows. Lines
    in `emptied` had NUL characters, which are left out.
    """

    delimiter: str
    _lines: Iterator[str]
    line: int
    widths: Container[int] | None = None
    repaired: list[int] = field(factory=list, init=False)
    emptied: list[int] = field(factory=list, init=False)
    _next_line: int = field(init=False)
    _taken: list[str] = field(factory=list, init=False)
    _pending: deque[str] = field(factory=deque, init=False)
    _reader: Iterator[list[str]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next_line = self.line
        self._reader = self._strict()

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> list[str]:
        while True:
            row = self._row()
            if _has_text(row):
                return row

    def _row(self) -> list[str]:
        self._taken.clear()
        self.line = self._next_line
        try:
            row = next(self._reader)
        except csv.Error:
            return self._repaired()
        if len(self._taken) > 1 and self.widths is not None and self._has_run_on(row, self.widths):
            return self._repaired()
        self._next_line += len(self._taken)
        return row

    def _has_run_on(self, row: list[str], widths: Container[int]) -> bool:
        """Whether a row of several lines swallowed others: its width is no row's, or lines within it are whole rows."""
        if len(row) not in widths:
            return True
        # a line with a quote ends one cell of several lines, and begins another
        within = [_lenient(line, self._separator) for line in self._taken[1:-1] if '"' not in line]
        delimiters = sum(len(cells) - 1 for cells in within)
        return delimiters >= _TELLING_DELIMITERS and all(len(cells) in widths for cells in within)

    def _repaired(self) -> list[str]:
        """The first line that was taken: an unclosed quote may have run on through many, to any other."""
        first, *rest = self._taken
        self._pending.extendleft(reversed(rest))
        self._reader = self._strict()
        self.repaired.append(self.line)
        self._next_line = self.line + 1
        return _lenient(first, self._separator)

    def _strict(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._separator, skipinitialspace=True, strict=True)

    def _feed(self) -> Iterator[str]:
        pending, taken, are_aligned = self._pending, self._taken, self.delimiter == BLANKS
        while True:
            if pending:
                line = pending.popleft()
            else:
                line = next(self._lines, "")
                if not line:
                    return
                if "\0" in line:
                    self.emptied.append(self._next_line + len(taken))
                    line = line.replace("\0", "")
                if are_aligned:
                    line = _aligned(line)
            taken.append(line)
            yield line

    @property
    def _separator(self) -> str:
        return _UNIT if self.delimiter == BLANKS else self.delimiter


def rows_of(lines: Iterable[str]) -> Rows:
    """Return the rows of the lines of a text, with the delimiter that its first lines show or name."""
    lines = iter(lines)
    sample = list(islice(lines, _SAMPLE_LINES))
    named = _NAMED.fullmatch(sample[0]) if sample else None
    delimiter = named[1] if named else _delimiter([line.replace("\0", "") for line in sample])
    return Rows(delimiter, chain(sample[bool(named) :], lines), line=1 + bool(named))


def fitted(row: list[str], width: int) -> list[str]:
    """Return a row without the cells that it has beyond a header of `width` columns, if they hold no text."""
    return row[:width] if len(row) > width and not _has_text(row[width:]) else row


@define
class RaggedRows:
    """Counts the rows that have another number of fields than the header, and remembers the first of them."""

    width: int
    count: int = 0
    _first: list[str] = field(factory=list)

    def add(self, line: int, fields: int) -> None:
        """Count a row that begins on a line."""
        self.count += 1
        if len(self._first) < _SHOWN:
            self._first.append(f"line {line} has {fields}")

    def describe(self) -> str:
        """Return which rows they are: the first of them."""
        shown = ", ".join([*self._first, *(["…"] if self.count > _SHOWN else [])])
        return f"rows with another number of fields than the {self.width} of the header: {shown}"


def _delimiter(sample: Sequence[str]) -> str:
    """The one that splits most lines as it does the header, and into most fields; blanks where no other does."""

    def score(split: Callable[[], list[list[str]]]) -> tuple[float, int]:
        try:
            widths = [len(row) for row in split() if _has_text(row)]
        except csv.Error:
            return 0.0, 0
        width = widths[0] if widths else 0
        # a row may have one more: its name, or nothing
        fitting = sum(each in (width, width + 1) for each in widths)
        return (fitting / len(widths) if width > 1 else 0.0), width

    def splitting(delimiter: str) -> Callable[[], list[list[str]]]:
        return lambda: list(csv.reader(sample, delimiter=delimiter, skipinitialspace=True))

    scores = {delimiter: score(splitting(delimiter)) for delimiter in _DELIMITERS + _RARE_DELIMITERS}
    best = max(_DELIMITERS, key=lambda each: scores[each])
    if scores[best][0] >= _LIKELY_SHARE:
        return best
    rare = max(_RARE_DELIMITERS, key=lambda each: scores[each])
    if scores[rare][0] >= _CONSISTENT_SHARE:
        return rare
    aligned = score(lambda: list(csv.reader(map(_aligned, sample), delimiter=_UNIT)))
    return BLANKS if aligned[0] >= _CONSISTENT_SHARE and len(sample) > 1 else best


def has_row_names(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Return whether rows begin with a name that the header has no column for, as R writes them."""
    wider = [row for row in rows if len(row) == len(header) + 1 and row[-1].strip()]
    return len(wider) == len(rows) > 0


def _aligned(line: str) -> str:
    return _WORDS.sub(lambda found: found[1] or _UNIT, line.strip(" \t\r\n")) + "\n"


def _lenient(line: str, delimiter: str) -> list[str]:
    """The cells of a line whose quotes don't pair up."""
    split = re.escape(delimiter)
    cell = re.compile(rf' *(?:"(.*?)" *|([^{split}]*))({split}|$)')
    line, position, cells = line.rstrip("\r\n"), 0, []
    while found := cell.match(line, position):
        quoted, plain, end = found.groups()
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
        position = found.end()
        if not end:
            break
    return cells


def _has_text(row: Iterable[str]) -> bool:
    return any(map(str.strip, row))
