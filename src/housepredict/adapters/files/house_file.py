"""Read houses to estimate from request bodies and files.

The notation of a column (such as its date format) is inferred from all of its cells, so files are read twice.
"""

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
from housepredict.domain.schema_inference.columns import LAST_YEAR, count_present, value_reader
from housepredict.domain.usecases.predict import require_batch_size
from housepredict.domain.validation import Rule, Violation, pointer_to, tidy

_MAX_DISTINCT = 50_000  # distinct cells per column to infer the notation from

_Features = Mapping[str, Feature]


@frozen
class HouseFile:
    """A HouseTable that reads a CSV or Parquet file (see TableFile). Columns that aren't features are ignored.

    The `origin` of each HouseRows is a TextRows (for CSV) or an ArrowRows (for Parquet).
    """

    path: Path = field(converter=Path)
    encoding: str | None = None

    def read(self, schema: FeatureSchema, size: int) -> Houses:
        """Read all houses in batches of `size` (see HouseTable).

        Raises:
            UnreadableFile: if the file can't be read or contains no houses.
            MissingExtra: if the file is Parquet and pyarrow isn't installed.
        """
        file = TableFile(self.path, encoding=self.encoding)
        # names in files are tidied, but names in schemas from older releases may not be
        features = {tidy(feature.name): feature for feature in schema.features}
        with file.open() as table:
            columns = _FeatureColumns(table.names, features)
            for rows in table.batches(table.chunk):
                columns.add(rows)
        if not columns.length:
            raise file.error("has a header but no houses")

        def houses() -> Iterator[HouseRows]:
            with file.open(table) as reopened:
                for rows in reopened.batches(size):
                    yield HouseRows(columns.houses(rows), rows)

        return Houses(table.names, columns.length, houses(), table.notes)


def read_houses_csv(content: bytes, schema: FeatureSchema, max_batch: int) -> Sequence[object]:
    """Read the houses in a CSV request body (see `csv_table`). Columns that aren't features are violations here.

    Raises:
        InvalidHouses: with every violation, or with just one if there are more than `max_batch` rows.
    """
    table = csv_table(content, InvalidHouses)
    require_batch_size(len(table.rows), max_batch)
    features = {name: feature for name in table.header if (feature := schema.named(name))}
    names = [features[name].name if name in features else name for name in table.header]
    required = [feature.name for feature in schema.features if feature.required]
    if violations := check_columns(names, schema.names, required, "not a feature of this model"):
        raise InvalidHouses(violations)
    columns = _FeatureColumns(table.header, features)
    columns.add(table)
    houses = columns.houses(table)
    if None not in houses:
        return houses
    for position, (house, row) in enumerate(zip(houses, table.rows, strict=True)):
        if house is None:
            cells = f"{len(row)} cell{'s' if len(row) != 1 else ''}"
            message = f"the row has {cells}, but the header has {len(table.header)}"
            violations.append(Violation(pointer_to(position), Rule.TYPE, message))
        else:
            violations += schema.violations(house, position)
    raise InvalidHouses(violations)


class _FeatureColumns:
    """The feature columns of a table.

    The distinct cells of each column are counted first. The counts determine how the cells are then converted to
    values.
    """

    def __init__(self, names: Sequence[str], features: _Features) -> None:
        self._features = features
        self._positions = {name: position for position, name in enumerate(names) if name in features}
        self._counts = {name: Counter[Cell]() for name in self._positions}
        self.length = 0

    def add(self, rows: TextRows | ArrowRows) -> None:
        """Count the cells in a batch of rows."""
        self.length += len(rows)
        for counts, cells in zip(self._counts.values(), rows.cells(self._positions.values()), strict=True):
            if len(counts) < _MAX_DISTINCT:
                counts.update(cells)

    def houses(self, rows: TextRows | ArrowRows) -> list[Mapping[str, object] | None]:
        """Return the house in each row, or None if the row has more or fewer cells than the header.

        Call this method only after adding all rows.
        """
        columns = zip(self._readers.items(), rows.cells(self._positions.values()), strict=True)
        values = {name: list(map(read, cells)) for (name, read), cells in columns}
        position = count()
        return [_house(values, next(position)) if fits else None for fits in rows.fits]

    @cached_property
    def _readers(self) -> Mapping[str, Callable[[Cell], object]]:
        return {
            name: value_reader(self._features[name].kind, count_present(counts), _last_year(self._features[name]))
            for name, counts in self._counts.items()
        }


def _house(values: Mapping[str, Sequence[object]], row: int) -> Mapping[str, object]:
    return {name: cells[row] for name, cells in values.items() if cells[row] is not None}


def _last_year(feature: Feature) -> int:
    """Return the last year of the 100-year range from which two-digit years are taken.

    The range is centered on the feature's dates in the training sales, if there are any.
    """
    if feature.kind is not Kind.DATE or feature.observed is None:
        return LAST_YEAR
    first, last = (date.fromisoformat(str(day)).year for day in feature.observed)
    return (first + last) // 2 + 50
