"""Houses to estimate: in bodies, and in files, which are read twice since all rows show how a column is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from itertools import count
from pathlib import Path

from attrs import field, frozen

from housepredict.adapters.files.arrow import ArrowRows
from housepredict.adapters.files.table_file import TableFile, TextRows, check_columns, csv_table
from housepredict.domain.errors import InvalidHouses
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.ports import HouseRows, Houses
from housepredict.domain.sales import Cell
from housepredict.domain.schema_inference.columns import LAST_YEAR, present_in, value_reader
from housepredict.domain.usecases.predict import require_batch_size
from housepredict.domain.validation import Rule, Violation, pointer_to, tidy

_REMEMBERED = 50_000  # different cells of a column, which decide how it is written

_Features = Mapping[str, Feature]


@frozen
class HouseFile:
    """A HouseTable in a file; see TableFile. The `origin` of its rows are TextRows or ArrowRows."""

    path: Path = field(converter=Path)
    encoding: str | None = None

    def read(self, schema: FeatureSchema, size: int) -> Houses:
        """Read all rows; see HouseTable. Raises UnreadableFile, and MissingExtra for Parquet without pyarrow."""
        file = TableFile(self.path, encoding=self.encoding)
        # under the names that they have in a file; the schema of an older release may spell them in another way
        features = {tidy(each.name): each for each in schema.features}
        with file.open() as table:
            columns = _FeatureColumns(table.names, features)
            for rows in table.batches(table.chunk):
                columns.add(rows)
        if not columns.length:
            raise file.refused("holds no houses, only a header")

        def houses() -> Iterator[HouseRows]:
            with file.open(table) as again:
                for rows in again.batches(size):
                    yield HouseRows(columns.houses(rows), rows)

        return Houses(table.names, columns.length, houses(), table.notes)


def houses_of_csv(content: bytes, schema: FeatureSchema, max_batch: int) -> Sequence[object]:
    """Return the houses of CSV in UTF-8, read as those of a file, but with no column that is not a feature.

    Raises:
        InvalidHouses: with every violation, if a column or a row is not one of such a table (see csv_table), or if
            there are more rows than `max_batch`, whose cells are not read then.
    """
    table = csv_table(content, InvalidHouses)
    require_batch_size(len(table.rows), max_batch)
    features = {name: feature for name in table.header if (feature := schema.named(name))}
    names = [features[name].name if name in features else name for name in table.header]
    required = [feature.name for feature in schema.features if feature.required]
    if wrong := check_columns(names, schema.names, required, "is a column for no feature of this model"):
        raise InvalidHouses(wrong)
    columns = _FeatureColumns(table.header, features)
    columns.add(table)
    houses = columns.houses(table)
    if None not in houses:
        return houses
    violations: list[Violation] = []
    for position, (house, row) in enumerate(zip(houses, table.rows, strict=True)):
        if house is None:
            message = f"has {len(row)} cells, where the header has {len(table.header)}"
            violations.append(Violation(pointer_to(position), Rule.TYPE, message))
        else:
            violations += schema.violations(house, position)
    raise InvalidHouses(violations)


class _FeatureColumns:
    """The columns of a table that are features, and how often each of their cells occurs, as far as there is room."""

    def __init__(self, names: Sequence[str], features: _Features) -> None:
        self._features = features
        self._positions = {name: position for position, name in enumerate(names) if name in features}
        self._seen = {name: Counter[Cell]() for name in self._positions}
        self.length = 0

    def add(self, rows: TextRows | ArrowRows) -> None:
        """Take note of how cells are written."""
        self.length += len(rows)
        for seen, cells in zip(self._seen.values(), rows.cells(self._positions.values()), strict=True):
            if len(seen) < _REMEMBERED:
                seen.update(cells)

    def houses(self, rows: TextRows | ArrowRows) -> list[Mapping[str, object] | None]:
        """Return the house in each row, None for a row that does not fit; to be called once all rows are added."""
        columns = zip(self._readers.items(), rows.cells(self._positions.values()), strict=True)
        values = {name: list(map(read, cells)) for (name, read), cells in columns}
        place = count()
        return [_house(values, next(place)) if fits else None for fits in rows.fits]

    @cached_property
    def _readers(self) -> Mapping[str, Callable[[Cell], object]]:
        return {
            name: value_reader(self._features[name].kind, present_in(seen), _last_year(self._features[name]))
            for name, seen in self._seen.items()
        }


def _house(values: Mapping[str, Sequence[object]], row: int) -> Mapping[str, object]:
    return {name: cells[row] for name, cells in values.items() if cells[row] is not None}


def _last_year(feature: Feature) -> int:
    """The year that ends the century of two-digit years: the one whose middle is that of the sales."""
    if feature.kind is not Kind.DATE or feature.observed is None:
        return LAST_YEAR
    first, last = (date.fromisoformat(str(day)).year for day in feature.observed)
    return (first + last) // 2 + 50
