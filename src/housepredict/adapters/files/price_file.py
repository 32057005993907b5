"""Write predictions as CSV or Parquet, either on their own or as additional columns of the input table."""

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
from housepredict.adapters.files.atomic import atomic_file, text_file
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
"""The names of the columns with predictions that are added to a table of houses."""

NUMBERS = 1 + 2 * len(LEVELS)
"""The number of numeric columns in PRICE_COLUMNS. The numeric columns come first, followed by the text columns."""

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
"""The first columns of a CSV file of predictions. They are followed by one column per feature."""

_GROUP_ROWS = 50_000  # rows per row group of a Parquet file


def cells_of(outcome: RowOutcome) -> Sequence[str | float | None]:
    """Return the cells of PRICE_COLUMNS for one row. `outcome` is the prediction or the error for this row."""
    if isinstance(outcome, InvalidHouses):
        error = "; ".join(violation.describe() for violation in outcome.violations)
        return (*[None] * (len(PRICE_COLUMNS) - 1), error)
    estimate = outcome.estimate
    bounds = {interval.level: (interval.low, interval.high) for interval in estimate.intervals}
    intervals = [bound for level in LEVELS for bound in bounds.get(level, (None, None))]
    warnings = "; ".join(warning.message for warning in estimate.warnings) or None
    return (estimate.price, *intervals, str(outcome.id), warnings, None)


def write_csv(read: Callable[[], Iterable[Prediction]], stream: IO[str]) -> int:
    """Write predictions as CSV, with a column for every feature that occurs. Returns the number of predictions.

    `read` returns the predictions. It is called twice: first to collect the features, then to write the predictions.

    Raises:
        UnreadableFile: if a prediction with an additional feature is stored between the two calls.
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
            raise UnreadableFile("Predictions with other features were stored during the export: retry with --until")
        cells = dict(zip(PRICE_COLUMNS, cells_of(prediction), strict=True)) | {
            "created_at": prediction.created_at.isoformat(),
            **{name: getattr(estimate, name) for name in _ESTIMATE_FIELDS},
        }
        writer.writerow([*map(cells.get, PREDICTION_COLUMNS), *(_cell_text(values.get(name)) for name in features)])
        count += 1
    return count


def predictions_to_csv(predictions: Sequence[Prediction]) -> bytes:
    """Return predictions as CSV, encoded in UTF-8 (see `write_csv`)."""
    stream = io.StringIO()
    write_csv(lambda: predictions, stream)
    return stream.getvalue().encode("utf-8", "replace")


def _cell_text(value: object) -> object:
    return json.dumps(value) if isinstance(value, bool) else value


@contextmanager
def price_file(path: Path | None, parquet: bool) -> Iterator[CsvPrices | ParquetPrices]:
    """Open a PriceTable for writing.

    Args:
        path: the file to write. An existing file is replaced when the context exits without error. A CSV file is
            gzipped if its name ends with .gz. If `path` is None, CSV is written to standard output.
        parquet: whether to write Parquet rather than CSV to the file.

    Raises:
        UnreadableFile: if the file can't be written.
        MissingExtra: if pyarrow is needed and isn't installed.
    """
    if path is None or not parquet:
        with text_file(path) as text:
            yield CsvPrices(text)
    else:
        with atomic_file(path) as stream, _parquet_prices(stream) as prices:
            yield prices


@define
class CsvPrices:
    """Writes the input rows and their prices as CSV, with the delimiter of the input."""

    columns = PRICE_COLUMNS
    _stream: IO[str]
    _writer: Any = field(default=None, init=False)

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Write a batch of rows (see PriceTable)."""
        origin: TextRows | ArrowRows = rows.origin
        if self._writer is None:
            self._writer = csv.writer(self._stream, delimiter=origin.delimiter)
            self._writer.writerow([*origin.header, *PRICE_COLUMNS])
        self._writer.writerows(
            [*row, *("" if cell is None else cell for cell in price_cells)]
            for row, price_cells in zip(origin.texts(), _price_cells(rows, outcomes), strict=True)
        )


@define
class ParquetPrices:
    """Writes the input rows and their prices as Parquet. The input columns keep their types."""

    columns = PRICE_COLUMNS
    _stream: IO[bytes]
    _writer: Any = field(default=None, init=False)
    _pending: list[Any] = field(factory=list, init=False)
    _rows: int = field(default=0, init=False)

    def write(self, rows: HouseRows, outcomes: Sequence[RowOutcome]) -> None:
        """Write a batch of rows (see PriceTable)."""
        import pyarrow as pa

        batch = rows.origin.batch
        price_columns = zip(*_price_cells(rows, outcomes), strict=True)
        types = [pa.float64()] * NUMBERS + [pa.string()] * (len(PRICE_COLUMNS) - NUMBERS)
        arrays = [pa.array(cells, type_) for cells, type_ in zip(price_columns, types, strict=True)]
        fields = [*batch.schema, *(pa.field(name, type_) for name, type_ in zip(PRICE_COLUMNS, types, strict=True))]
        # keep the metadata, because pandas stores its index there
        schema = pa.schema(fields, batch.schema.metadata)
        self._pending.append(pa.RecordBatch.from_arrays([*batch.columns, *arrays], schema=schema))
        self._rows += len(outcomes)
        if self._rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the pending rows as a row group."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        if self._pending:
            table = pa.Table.from_batches(self._pending)
            self._writer = self._writer or ParquetWriter(self._stream, table.schema)
            self._writer.write_table(table)
            self._pending, self._rows = [], 0

    def close(self) -> None:
        """Write the pending rows and the file footer."""
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
        raise UnreadableFile(f"the prices cannot be written as Parquet ({error}): write CSV instead") from error


def _price_cells(rows: HouseRows, outcomes: Sequence[RowOutcome]) -> Iterator[Sequence[str | float | None]]:
    """Yield each row's cells for PRICE_COLUMNS.

    If an input row has more cells than the input header, the extra cells are appended to the row's error as JSON.
    """
    for outcome, surplus in zip(outcomes, rows.origin.surplus(), strict=True):
        *others, error = cells_of(outcome)
        yield (*others, f"{error}: {json.dumps(surplus, ensure_ascii=False)}" if surplus else error)
