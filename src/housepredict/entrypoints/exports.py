"""What was estimated: JSON, one prediction a line, or CSV with a column for each feature."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

from housepredict.domain.errors import UnreadableFile
from housepredict.domain.estimates import Prediction
from housepredict.domain.price_columns import NUMBERS, PRICE_COLUMNS, cells_of
from housepredict.entrypoints.report import prediction_document

Read = Callable[[], Iterable[Prediction]]

COLUMNS = (
    *("prediction_id", "created_at", "model_version", "generation", "valued_on"),
    *PRICE_COLUMNS[:NUMBERS],
    *("fsd", "caveats"),
)
"""The columns of CSV before those of the features."""


def write_lines(predictions: Iterable[Prediction], stream: IO[str]) -> int:
    """Write JSON, one prediction a line; how many there were."""
    count = 0
    for each in predictions:
        stream.write(json.dumps(prediction_document(each), ensure_ascii=False) + "\n")
        count += 1
    return count


def write_csv(read: Read, stream: IO[str]) -> int:
    """Write CSV; how many there were. They are read twice: which features there are shows in all of them.

    Raises UnreadableFile if one with another feature came between.
    """
    features = sorted({name for each in read() for name in each.estimate.house.values})
    writer = csv.writer(stream)
    writer.writerow([*COLUMNS, *(f"feature {name}" if name in COLUMNS else name for name in features)])
    count = 0
    for each in read():
        values = each.estimate.house.values
        if not values.keys() <= set(features):
            raise UnreadableFile("Predictions of another model arrived meanwhile: export again, with --until")
        writer.writerow([*_cells(each), *(_text(values.get(name)) for name in features)])
        count += 1
    return count


def csv_of(predictions: Sequence[Prediction]) -> bytes:
    """The same CSV of a few, in UTF-8."""
    stream = io.StringIO()
    write_csv(lambda: predictions, stream)
    return stream.getvalue().encode("utf-8", "replace")


def _cells(prediction: Prediction) -> Iterator[Any]:
    estimate = prediction.estimate
    said = dict(zip(PRICE_COLUMNS, cells_of(prediction), strict=True)) | {
        "created_at": prediction.created_at.isoformat(),
        "model_version": estimate.model_version,
        "generation": estimate.generation,
        "valued_on": estimate.valued_on,
        "fsd": estimate.fsd,
    }
    return (said[name] for name in COLUMNS)


def _text(value: object) -> object:
    return json.dumps(value) if isinstance(value, bool) else value
