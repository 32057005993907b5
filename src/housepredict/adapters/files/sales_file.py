"""Read training sales from CSV and Parquet files, generate synthetic sales, and read realized sales from CSV."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen

from housepredict.adapters.files.table_file import TableFile, check_columns, csv_table, quoted
from housepredict.domain.errors import InvalidSales, UnusableSales
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.sales import Cell, SalesTable
from housepredict.domain.schema_inference.columns import count_present, value_reader
from housepredict.domain.usecases.record_sales import FIELDS
from housepredict.domain.validation import tidy

WRONG_FIELD_COUNT = "number of fields differs from the header"
"""The reason given for rejecting a row that has more or fewer cells than the header."""

_MAX_INTERNED = 10_000  # distinct cells per column


@frozen
class SalesFile:
    """A CSV or Parquet file of training sales (see TableFile).

    CSV cells are read as text. Parquet cells keep their types, except that datetimes become dates. Empty cells and NaN
    become None.
    """

    path: Path = field(converter=Path)
    encoding: str | None = None
    with_recorded: bool = field(default=False, init=False)

    @property
    def location(self) -> str:
        """The absolute path of the file."""
        return str(self.path.absolute())

    def read(self) -> SalesTable:
        """Read all sales in the file.

        Raises:
            UnusableSales: if the file can't be read or contains no sales.
            MissingExtra: if the file is Parquet and pyarrow isn't installed.
        """
        file = TableFile(self.path, UnusableSales, self.encoding)
        digest = file.digest()
        with file.open() as source:
            columns: dict[str, list[Cell]] = {name: [] for name in source.names}
            known: list[dict[Cell, Cell]] = [{} for _ in columns]
            for rows in source.batches(source.chunk):
                for column, cells, seen in zip(columns.values(), rows.cells(range(len(columns))), known, strict=True):
                    # equal cells share one object, which saves memory if the file has millions of rows
                    if len(seen) > _MAX_INTERNED:
                        seen.clear()
                    seen[""] = None
                    column.extend(map(seen.setdefault, cells, cells))
        rejected, notes = {WRONG_FIELD_COUNT: source.ragged} if source.ragged else {}, source.notes
        table = SalesTable(columns, digest, rejected, notes=tuple(notes))
        if not len(table):
            mismatch = f"has no row that matches its header, {quoted(list(columns))}"
            raise file.error(": ".join([mismatch, *notes[-1:]]) if rejected else "has a header but no sales")
        return table


_ALIASES = {"id": "prediction", "prediction_id": "prediction"}


def read_sales_csv(content: bytes) -> Sequence[object]:
    """Read realized sales from a CSV request body (see `csv_table`). RecordSales validates their values later.

    The columns are `prediction` (or `prediction_id` or `id`), `price` and `date`, in any order and case. Cells that
    can't be parsed remain text.

    Raises:
        InvalidSales: with every violation, if the content isn't CSV or has missing, unknown or duplicate columns.
    """
    table = csv_table(content, InvalidSales)
    names = [_ALIASES.get(name.lower(), name.lower()) for name in table.header]
    if violations := check_columns(names, FIELDS, FIELDS, "not a field of a sale"):
        raise InvalidSales(violations)
    kinds = {"price": Kind.NUMBER, "date": Kind.DATE}
    values: dict[str, list[object]] = {}
    for name, texts in zip(names, zip(*table.texts(), strict=True), strict=False):
        cells = list(map(tidy, texts))
        read = value_reader(kinds.get(name, Kind.CATEGORY), count_present(cells), money=True)
        values[name] = list(map(read, cells))
    sales = [
        {name: cells[row] for name, cells in values.items() if cells[row] is not None} for row in range(len(table))
    ]
    for sale, surplus in zip(sales, table.surplus(), strict=True):
        # surplus cells become unknown fields, so that RecordSales reports them
        sale |= {f"column {position}": cell for position, cell in enumerate(surplus, len(names) + 1) if cell.strip()}
    return sales


ROWS = 1000
HELD_OUT_ROWS = 200
_SEED = 42


@frozen
class SyntheticSales:
    """1,000 synthetic sales of houses with a size, bedrooms and an age.

    The schema, and the split into training and held-out sales, are fixed.
    """

    @property
    def location(self) -> None:
        """Always None, because synthetic sales have no file."""
        return

    @property
    def with_recorded(self) -> bool:
        """Always False, because recorded sales are never added to synthetic sales."""
        return False

    def read(self) -> SalesTable:
        """Generate the sales. Every call returns the same sales."""
        import numpy as np  # imported late: reading files doesn't need it

        # the legacy generator, called in this order, reproduces the tutorial's numbers
        draw = np.random.RandomState(_SEED)
        size = draw.normal(2000, 500, ROWS)
        bedrooms = draw.randint(1, 6, ROWS)
        age = draw.randint(0, 50, ROWS)
        price = np.maximum(size * 100 + bedrooms * 5000 - age * 1000 + draw.normal(0, 10000, ROWS), 50000)
        columns = {"size": size, "bedrooms": bedrooms, "age": age, "price": price}
        held_out = np.zeros(ROWS, dtype=bool)
        # the same split as scikit-learn's train_test_split(test_size=0.2, random_state=42)
        held_out[np.random.RandomState(_SEED).permutation(ROWS)[:HELD_OUT_ROWS]] = True
        seen = {name: column[~held_out] for name, column in columns.items()}
        observed = {name: (column.min().item(), column.max().item()) for name, column in seen.items()}
        return SalesTable(
            columns={name: column.tolist() for name, column in columns.items()},
            digest=hashlib.sha256(b"".join(column.astype("<f8").tobytes() for column in columns.values())).hexdigest(),
            schema=FeatureSchema(
                (
                    Feature("size", Kind.NUMBER, unit="sq ft", minimum=0, observed=observed["size"]),
                    Feature("bedrooms", Kind.INTEGER, minimum=0, observed=observed["bedrooms"]),
                    Feature("age", Kind.NUMBER, unit="years", minimum=0, observed=observed["age"]),
                )
            ),
            held_out=held_out.tolist(),
        )
