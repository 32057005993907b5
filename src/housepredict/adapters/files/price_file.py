"""Predictions in CSV and Parquet: of a table the rows as they came, and beside them what became of each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from attrs import define, field, fields

from housepredict.adapters.files.arrow import ArrowRows
from housepredict.adapters.files.atomic import text_file, whole_file
from housepredict.adapters.files.table_file import TextRows
from housepredict.domain.errors import InvalidHouses, MissingExtra, UnreadableFile
from housepredict.domain.estimates import LEVELS, Estimate, Prediction
from housepredict.domain.ports import HouseRows, RowOutcome

PRICE_COLUMNS = (
    "predicted_price",
    *(f"{bound}_{level}" for level in LEVELS for bound in ("low", "high")),
    "prediction_id",
    "warnings",
    "error",
)
"""The columns that are added to those of a table."""

NUMBERS = 1 + 2 * len(LEVELS)
"""How many of them hold numbers; the others hold text."""

_ESTIMATE_FIELDS = [
    attribute.name
    for attribute in fields(Estimate)
    if attribute.name not in {"house", "price", "warnings", "intervals"}
]
_FIRST = ("model_version", "generation", "valued_on")

PREDICTION_COLUMNS = (
    *("prediction_id", "created_at", *_FIRST),
    *PRICE_COLUMNS[:NUMBERS],
    *(name for name in _ESTIMATE_FIELDS if name not in _FIRST),
    "warnings",
)
"""The columns of predictions as CSV, before those of the features."""

_GROUP = 50_000  # rows of a Parquet file that are written at once


def cells_of(outcome: RowOutcome) -> Sequence[str | float | None]:
    """Return the cells of PRICE_COLUMNS in a row: its prediction, or what is wrong with it."""
    if isinstance(outcome, InvalidHouses):
        return (*[None] * (len(PRICE_COLUMNS) - 1), "; ".join(each.describe() for each in outcome.violations))
    estimate = outcome.estimate
    bounds = {each.level: (each.low, each.high) for each in estimate.intervals}
    intervals = [bound for level in LEVELS for bound in bounds.get(level, (None, None))]
    warnings = "; ".join(each.message for each in estimate.warnings) or None
    return (estimate.price, *intervals, str(outcome.id), warnings, None)


def write_csv(read: Callable[[], Iterable[Prediction]], stream: IO[str]) -> int:
    """Write predictions as CSV, and return how many there were.

    They are read twice: which features there are shows in all of them.

    Raises:
        UnreadableFile: if a prediction with another feature arrived between the two.
    """
    features = sorted({name for prediction in read() for name in prediction.estimate.house.values})
    writer = csv.writer(stream)
    writer.writerow(
        [*PREDICTION_COLUMNS, *(f"feature {name}" if name in PREDICTION_COLUMNS else name for name in features)]
    )
    count = 0
    for prediction in read():
        estimate = prediction.estimate
        values = estimate.house.values
        if not values.keys() <= set(features):
            raise UnreadableFile("Predictions of another model arrived meanwhile: export again, with --until")
        cells = dict(zip(PRICE_COLUMNS, cells_of(prediction), strict=True)) | {
            "created_at": prediction.created_at.isoformat(),
            **{name: getattr(estimate, name) for name in _ESTIMATE_FIELDS},
        }
        writer.writerow([*map(cells.get, PREDICTION_COLUMNS), *(_cell_text(values.get(name)) for name in features)])
        count += 1
    return count


def csv_of(predictions: Sequence[Prediction]) -> bytes:
    """Return the same CSV of a few predictions, in UTF-8."""
    stream = io.StringIO()
    write_csv(lambda: predictions, stream)
    return stream.getvalue().encode("utf-8", "replace")


def _cell_text(value: object) -> object:
    return json.dumps(value) if isinstance(value, bool) else value


@contextmanager
def price_file(path: Path | None, parquet: bool) -> Iterator[CsvPrices | ParquetPrices]:
    """A PriceTable in a file, which is there once all of it is written: Parquet, or CSV, compressed if its name ends
    with .gz. None is standard output, CSV. Raises UnreadableFile, and MissingExtra for Parquet.
    """
    if path is None or not parquet:
        with text_file(path) as text:
            yield CsvPrices(text)
    else:
        with whole_file(path) as stream, _parquet_prices(stream) as prices:
            yield prices


@define
class CsvPrices:
    """Prices in CSV, with the delimiter of the rows if they came with one."""

    columns = PRICE_COLUMNS
    _stream: IO[str]
    _writer: Any = field(default=None, init=False)

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Add some rows; see PriceTable."""
        origin: TextRows | ArrowRows = rows.origin
        if self._writer is None:
            self._writer = csv.writer(self._stream, delimiter=origin.delimiter)
            self._writer.writerow([*origin.header, *PRICE_COLUMNS])
        self._writer.writerows(
            [*row, *("" if cell is None else cell for cell in added)]
            for row, added in zip(origin.texts(), _added(rows, outcomes), strict=True)
        )


@define
class ParquetPrices:
    """Prices in Parquet, whose other columns have the types that they came with."""

    columns = PRICE_COLUMNS
    _stream: IO[bytes]
    _writer: Any = field(default=None, init=False)
    _waiting: list[Any] = field(factory=list, init=False)
    _rows: int = field(default=0, init=False)

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Add some rows; see PriceTable."""
        import pyarrow as pa

        batch = rows.origin.batch
        added = zip(*_added(rows, outcomes), strict=True)
        types = [pa.float64()] * NUMBERS + [pa.string()] * (len(PRICE_COLUMNS) - NUMBERS)
        arrays = [pa.array(cells, type_) for cells, type_ in zip(added, types, strict=True)]
        fields = [*batch.schema, *(pa.field(name, type_) for name, type_ in zip(PRICE_COLUMNS, types, strict=True))]
        # pandas keeps its index there
        schema = pa.schema(fields, batch.schema.metadata)
        self._waiting.append(pa.RecordBatch.from_arrays([*batch.columns, *arrays], schema=schema))
        self._rows += len(outcomes)
        if self._rows >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits to be a group of rows."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer = self._writer or ParquetWriter(self._stream, table.schema)
            self._writer.write_table(table)
            self._waiting, self._rows = [], 0

    def close(self) -> None:
        """Write what waits, and the end of the file."""
        self.flush()
        if self._writer:
            self._writer.close()


@contextmanager
def _parquet_prices(stream: IO[bytes]) -> Iterator[ParquetPrices]:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtra.named("parquet", "Writing Parquet files") from error
    prices = ParquetPrices(stream)
    try:
        yield prices
        prices.close()
    except pa.ArrowException as error:
        raise UnreadableFile(f"the prices cannot be written as Parquet ({error}): write them as CSV") from error


def _added(rows: HouseRows, outcomes: Sequence[RowOutcome]) -> Iterator[Sequence[str | float | None]]:
    """The cells that are added to each row. What a row has beyond the header, as JSON, ends its error."""
    for outcome, surplus in zip(outcomes, rows.origin.surplus(), strict=True):
        *others, error = cells_of(outcome)
        yield (*others, f"{error}: {json.dumps(surplus, ensure_ascii=False)}" if surplus else error)
