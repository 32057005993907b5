"""Houses to estimate in CSV and Parquet files of any length. Each is read twice, for how features are written shows in
all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from itertools import islice
from pathlib import Path

from attrs import field, frozen

from housepredict.adapters.files.arrow import ArrowRows, Decoder
from housepredict.adapters.files.delimited import TextEncoding
from housepredict.adapters.files.table_file import TableFile, TextRows, csv_table
from housepredict.domain.errors import InvalidHouses
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.ports import HouseRows, Houses
from housepredict.domain.sales import Cell
from housepredict.domain.schema_inference.columns import LAST_YEAR, present_in, value_reader
from housepredict.domain.validation import Rule, Violation, pointer_to, tidy

_REMEMBERED = 50_000  # different cells of a column, which decide how it is written
_AT_ONCE = 10_000  # rows of a Parquet file

_Features = Mapping[str, Feature]
_Reads = Mapping[str, Callable[[Cell], object]]
_Cells = Mapping[str, Sequence[Cell]]


@frozen
class HouseFile:
    """A HouseTable in a file; see TableFile. The `origin` of its rows are TextRows or ArrowRows."""

    path: Path = field(converter=Path)
    encoding: str | None = None

    def read(self, schema: FeatureSchema, size: int) -> Houses:
        """All of it; see HouseTable. Raises UnreadableFile, and MissingExtra for Parquet without pyarrow."""
        file = TableFile(self.path, encoding=self.encoding)
        # under the names that they have in a file; the schema of an older release may spell them in another way
        features = {tidy(each.name): each for each in schema.features}
        with file.translated():
            houses = _parquet(file, features, size) if file.is_parquet() else _text(file, features, size)
        if not houses.length:
            raise file.refused("holds no houses, only a header")
        return houses


def houses_of_csv(content: bytes, schema: FeatureSchema) -> Sequence[object]:
    """Return the houses of CSV in UTF-8, read as those of a file, but with no column that is not a feature.

    Raises:
        InvalidHouses: with every violation, if a column or a row is not one of such a table; see csv_table.
    """
    names, rows = csv_table(content, InvalidHouses)
    tally, columns = _Tally(_features_of(names, schema)), _columns(names, rows)
    tally.add(columns, len(rows))
    fits = [len(row) == len(names) for row in rows]
    houses = _houses(columns, tally.reads(), sum(fits))
    if all(fits):
        return list(houses)
    violations: list[Violation] = []
    for position, (row, fit) in enumerate(zip(rows, fits, strict=True)):
        if fit:
            violations += schema.violations(next(houses), position)
        else:
            message = f"has {len(row)} cells, where the header has {len(names)}"
            violations.append(Violation(pointer_to(position), Rule.TYPE, message))
    raise InvalidHouses(violations)


def _features_of(names: Sequence[str], schema: FeatureSchema) -> _Features:
    features = {name: feature for name in names if (feature := schema.named(name))}
    violations = [
        Violation(pointer_to(name), Rule.UNKNOWN, "is a column for no feature of this model")
        for name in dict.fromkeys(names)
        if name not in features
    ]
    violations += [
        Violation(pointer_to(name), Rule.DUPLICATE, "is more than one column")
        for name, count in Counter(names).items()
        if count > 1
    ]
    violations += [
        Violation(pointer_to(feature.name), Rule.MISSING, "is a column that is missing")
        for feature in schema.features
        if feature.required and feature not in features.values()
    ]
    if violations:
        raise InvalidHouses(violations)
    return features


def _text(file: TableFile, features: _Features, size: int) -> Houses:
    tally, encoding = _Tally(features), file.text_encoding()
    with file.text(encoding) as table:
        for rows in iter(lambda: list(islice(table.rows, size)), []):
            tally.add(_columns(table.names, rows), len(rows))
        names, notes = table.names, table.notes
    return Houses(names, tally.length, _text_rows(file, encoding, tally.reads(), size), notes)


def _text_rows(file: TableFile, encoding: TextEncoding, reads: _Reads, size: int) -> Iterator[HouseRows]:
    with file.translated(), file.text(encoding) as table:
        for rows in iter(lambda: list(islice(table.rows, size)), []):
            whole = [row for row in rows if len(row) == len(table.names)]
            houses = _houses(_columns(table.names, whole), reads, len(whole))
            yield HouseRows(
                [next(houses) if len(row) == len(table.names) else None for row in rows],
                TextRows(table.header, table.delimiter, rows),
            )


def _columns(names: Sequence[str], rows: Sequence[list[str]]) -> _Cells:
    """The cells of each column, of the rows that have one of each."""
    whole = (row for row in rows if len(row) == len(names))
    columns = list(zip(*whole, strict=True)) or [()] * len(names)
    return {name: [tidy(cell) or None for cell in cells] for name, cells in zip(names, columns, strict=True)}


def _parquet(file: TableFile, features: _Features, size: int) -> Houses:
    tally = _Tally(features)
    with file.parquet() as table:
        for rows in table.batches(_AT_ONCE):
            tally.add(_arrow_columns(table.names, rows, features), rows.batch.num_rows)
    rows_of_file = _parquet_rows(file, table.decoders, tally.reads(), size)
    return Houses(table.names, tally.length, rows_of_file, table.notes)


def _parquet_rows(file: TableFile, decoders: Mapping[str, Decoder], reads: _Reads, size: int) -> Iterator[HouseRows]:
    with file.translated(), file.parquet(decoders) as table:
        for rows in table.batches(size):
            yield HouseRows(list(_houses(_arrow_columns(table.names, rows, reads), reads, rows.batch.num_rows)), rows)


def _arrow_columns(names: Sequence[str], rows: ArrowRows, wanted: Mapping[str, object]) -> _Cells:
    return {name: rows.cells(position) for position, name in enumerate(names) if name in wanted}


class _Tally:
    """How often each cell of a feature occurs, as far as there is room to remember."""

    def __init__(self, features: _Features) -> None:
        self._features = features
        self._seen = {name: Counter[Cell]() for name in features}
        self.length = 0

    def add(self, columns: _Cells, rows: int) -> None:
        self.length += rows
        for name in self._features.keys() & columns.keys():
            seen = self._seen[name]
            if len(seen) < _REMEMBERED:
                seen.update(columns[name])

    def reads(self) -> _Reads:
        return {
            name: value_reader(feature.kind, present_in(self._seen[name]), _last_year(feature))
            for name, feature in self._features.items()
        }


def _last_year(feature: Feature) -> int:
    """The year that ends the century of two-digit years: the one whose middle is that of the sales."""
    if feature.kind is not Kind.DATE or feature.observed is None:
        return LAST_YEAR
    first, last = (date.fromisoformat(str(day)).year for day in feature.observed)
    return (first + last) // 2 + 50


def _houses(columns: _Cells, reads: _Reads, length: int) -> Iterator[Mapping[str, object]]:
    values = {name: list(map(read, columns[name])) for name, read in reads.items() if name in columns}
    for row in range(length):
        yield {name: cells[row] for name, cells in values.items() if cells[row] is not None}
