"""Sales to train on, in CSV and Parquet files or synthetic, and sales to record, in CSV."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attrs import field, frozen

from housepredict.adapters.files.table_file import TableFile, check_columns, csv_table, quoted
from housepredict.domain.errors import InvalidSales, UnusableSales
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.sales import Cell, SalesTable
from housepredict.domain.schema_inference.columns import present_in, value_reader
from housepredict.domain.usecases.record_sales import FIELDS
from housepredict.domain.validation import tidy

RAGGED = "has another number of fields than the header"
"""Why a row of a CSV file is rejected."""

_REMEMBERED = 10_000  # different cells of a column


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
        digest = file.digest()
        with file.open() as source:
            columns: dict[str, list[Cell]] = {name: [] for name in source.names}
            known: list[dict[Cell, Cell]] = [{} for _ in columns]
            for rows in source.batches(source.chunk):
                for column, cells, seen in zip(columns.values(), rows.cells(range(len(columns))), known, strict=True):
                    # equal cells become one object: columns repeat themselves, and files have millions of rows
                    if len(seen) > _REMEMBERED:
                        seen.clear()
                    seen[""] = None
                    column.extend(map(seen.setdefault, cells, cells))
        rejected, notes = {RAGGED: source.ragged} if source.ragged else {}, source.notes
        table = SalesTable(columns, digest, rejected, notes=tuple(notes))
        if not len(table):
            fields = f"has no row with the {len(columns)} fields of its header, {quoted(list(columns))}"
            raise file.refused(": ".join([fields, *notes[-1:]]) if rejected else "holds no sales, only a header")
        return table


_ALSO = {"id": "prediction", "prediction_id": "prediction"}


def recorded_sales_of_csv(content: bytes) -> Sequence[object]:
    """Return the sales of CSV in UTF-8, as RecordSales takes them: a cell that cannot be read stays text.

    The columns are `prediction` (or `prediction_id` or `id`), `price` and `date`, in any order and case of letters.

    Raises:
        InvalidSales: with every violation, if the columns are not these; see csv_table.
    """
    table = csv_table(content, InvalidSales)
    names = [_ALSO.get(name.lower(), name.lower()) for name in table.header]
    if wrong := check_columns(names, FIELDS, FIELDS, "is not a column of sales"):
        raise InvalidSales(wrong)
    kinds = {"price": Kind.NUMBER, "date": Kind.DATE}
    values: dict[str, list[object]] = {}
    for name, texts in zip(names, zip(*table.texts(), strict=True), strict=False):
        cells = list(map(tidy, texts))
        read = value_reader(kinds.get(name, Kind.CATEGORY), present_in(cells), money=True)
        values[name] = list(map(read, cells))
    sales = [
        {name: cells[row] for name, cells in values.items() if cells[row] is not None} for row in range(len(table))
    ]
    for sale, surplus in zip(sales, table.surplus(), strict=True):
        # a cell beyond the header says something that has no name, and is refused for that
        sale |= {f"column {position}": cell for position, cell in enumerate(surplus, len(names) + 1) if cell.strip()}
    return sales


ROWS = 1000
HELD_OUT_ROWS = 200
_SEED = 42


@frozen
class SyntheticSales:
    """1,000 sales of made-up houses: columns size, bedrooms, age and price; a schema and a split of their own."""

    @property
    def location(self) -> None:
        """Nowhere."""
        return

    @property
    def with_recorded(self) -> bool:
        """False: none of them came back."""
        return False

    def read(self) -> SalesTable:
        """Draw all of it, the same at each call."""
        import numpy as np  # here, since files do without it

        # the legacy generator, and the order of the draws, make the tutorial's numbers
        draw = np.random.RandomState(_SEED)
        size = draw.normal(2000, 500, ROWS)
        bedrooms = draw.randint(1, 6, ROWS)
        age = draw.randint(0, 50, ROWS)
        price = np.maximum(size * 100 + bedrooms * 5000 - age * 1000 + draw.normal(0, 10000, ROWS), 50000)
        columns = {"size": size, "bedrooms": bedrooms, "age": age, "price": price}
        held_out = np.zeros(ROWS, dtype=bool)
        # as scikit-learn's train_test_split(test_size=0.2, random_state=42) does it
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
