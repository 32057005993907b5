"""Sales as people have them, in CSV and Parquet files, read without losing or bending a row in silence."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from attrs import field, frozen

from housepredict.adapters.tables import TableFile, quoted
from housepredict.domain.errors import UnusableSales
from housepredict.domain.sales import Cell, SalesTable
from housepredict.domain.texts import tidy

RAGGED = "has another number of fields than the header"
"""Why a row of a CSV file is rejected."""

_CHUNK = 500  # rows that are turned into columns at once: so few that the garbage collector does not look at them
_BATCH = 65_536  # rows of a Parquet file
_REMEMBERED = 10_000  # different cells of a column

_Columns = dict[str, list[Cell]]
_Chunk = Sequence[Sequence[Cell]]  # some rows of each column


def reads_parquet() -> bool:
    """Whether Parquet can be read: pyarrow is there."""
    return find_spec("pyarrow") is not None


@frozen
class SalesFile:
    """A file of sales: CSV or Parquet, see TableFile.

    The cells of CSV are text, those of Parquet have its types, dates without their time; an empty cell and NaN are
    None.
    """

    path: Path = field(converter=Path)
    encoding: str | None = None
    with_recorded: bool = field(default=False, init=False)

    @property
    def location(self) -> str:
        """The absolute path."""
        return str(self.path.absolute())

    def read(self) -> SalesTable:
        """Read all of it.

        Raises UnusableSales with a message that says what to do, and MissingExtra for Parquet without pyarrow.
        """
        file = TableFile(self.path, UnusableSales, self.encoding)
        rejected: Counter[str] = Counter()
        with file.translated():
            with self.path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            columns, notes = _parquet(file) if file.is_parquet() else _csv(file, rejected)
        table = SalesTable(columns, digest, rejected, notes=tuple(notes))
        if not len(table):
            fields = f"has no row with the {len(columns)} fields of its header, {quoted(list(columns))}"
            raise file.refused(": ".join([fields, *notes[-1:]]) if rejected else "holds no sales, only a header")
        return table


def _csv(file: TableFile, rejected: Counter[str]) -> tuple[_Columns, Sequence[str]]:
    with file.text(file.text_encoding()) as table:
        columns = _columns(table.names, _chunks(row for row in table.rows if len(row) == table.ragged.width))
        if table.ragged.count:
            rejected[RAGGED] += table.ragged.count
        return columns, table.notes


def _parquet(file: TableFile) -> tuple[_Columns, Sequence[str]]:
    with file.parquet() as table:
        positions = range(len(table.names))
        return _columns(table.names, (list(map(rows.cells, positions)) for rows in table.batches(_BATCH))), table.notes


def _chunks(rows: Iterator[list[str]]) -> Iterator[_Chunk]:
    while chunk := list(islice(rows, _CHUNK)):
        yield [list(map(tidy, cells)) for cells in zip(*chunk, strict=True)]


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
