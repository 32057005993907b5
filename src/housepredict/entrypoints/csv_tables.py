"""What was estimated: JSON, one prediction a line, or CSV with a column for each feature."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any, assert_never

from housepredict.domain.errors import BrokenRules, InvalidHouses, InvalidSales, UnreadableFile
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.price_columns import NUMBERS, PRICE_COLUMNS, cells_of
from housepredict.domain.schema_inference.columns import is_missing
from housepredict.domain.usecases.record_sales import FIELDS
from housepredict.domain.validation import Rule, Violation, pointer_to, tidy
from housepredict.entrypoints.answers import OTHERS, ExportedPredictionAnswer
from housepredict.entrypoints.json_documents import document

_BOM = "\ufeff"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How Excel's workbooks begin, the new ones as any ZIP archive."""

_ALSO = {"id": "prediction", "prediction_id": "prediction"}
_PRICE = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,300}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FLAGS = {"true": True, "false": False}

# a cell of 131,072 characters, Python's limit, is short for the outline of a parcel
csv.field_size_limit(sys.maxsize)


def table_of_csv(content: bytes, error: type[BrokenRules]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The names and the rows, cells without the white space around them. Raises this error for what is no such table.

    Empty lines are left out, and rows of empty cells above the header and at the end. Between others these are rows:
    whoever counts the answers would miss them.
    """
    if content.startswith(_WORKBOOKS):
        raise error([_no_table("is an Excel workbook or a ZIP archive: export it as CSV in UTF-8")])
    try:
        text = content.decode().removeprefix(_BOM)
    except UnicodeDecodeError as fault:
        raise error([_no_table(f"byte {fault.start} is not UTF-8")]) from None
    # not splitlines, which ends lines at characters that are text in CSV, such as U+2028
    lines = list(io.StringIO(text, newline=""))
    first = next((line for line in lines if line.strip()), "")
    # strict: otherwise an unclosed quote would swallow the rows after it
    reader = csv.reader(lines, delimiter=";" if first.count(";") > first.count(",") else ",", strict=True)
    try:
        rows = [row for line in reader if (row := [tidy(cell) for cell in line]) not in ([], [""])]
    except csv.Error as fault:
        raise error([_no_table(f"line {reader.line_num} is no proper CSV ({fault}): check its quotes")]) from None
    filled = [position for position, row in enumerate(rows) if any(row)]
    if not filled:
        return [], []
    return rows[filled[0]], rows[filled[0] + 1 : filled[-1] + 1]


def _no_table(why: str) -> Violation:
    return Violation("", Rule.TYPE, why)


def sales_of_csv(content: bytes) -> Sequence[object]:
    """The sales of a table in UTF-8, as RecordSales takes them: what is no number stays text, for it to refuse.

    The columns are `prediction` (or `prediction_id` or `id`), `price` and `date`, in any order, with commas or
    semicolons between them.
    Raises InvalidSales for what is no such table.
    """
    header, rows = table_of_csv(content, InvalidSales)
    names = _names(header)
    return [_sale(names, row) for row in rows]


def _names(header: Sequence[str]) -> Sequence[str]:
    names = [_ALSO.get(name.lower(), name.lower()) for name in header]
    counts = Counter(names)
    violations = [Violation(pointer_to(name), Rule.UNKNOWN, "is no column of sales") for name in counts.keys() - FIELDS]
    violations += [
        Violation(pointer_to(name), Rule.DUPLICATE, "is more than one column") for name in FIELDS if counts[name] > 1
    ]
    violations += [
        Violation(pointer_to(name), Rule.MISSING, "is a column that is missing") for name in FIELDS if not counts[name]
    ]
    if violations:
        raise InvalidSales(sorted(violations, key=lambda each: each.pointer))
    return names


def _sale(names: Sequence[str], row: Sequence[str]) -> dict[str, object]:
    """A row with more cells than there are columns says something that has no name."""
    named = [*names, *(f"column {position}" for position in range(len(names) + 1, len(row) + 1))]
    cells = {name: cell for name, cell in zip(named, row, strict=False) if cell}
    return {name: number_or_text(cell) if name == "price" else cell for name, cell in cells.items()}


def number_or_text(text: str) -> float | str:
    """A number, if it is written as one; else the text, for validation to refuse."""
    return float(text) if _PRICE.fullmatch(text) else text


def houses_of_csv(content: bytes, schema: FeatureSchema) -> Sequence[object]:
    """The houses of a table in UTF-8, as Predict takes them: what cannot be read stays text, for it to refuse.

    The columns are features, in any order, with commas or semicolons between them; a cell is missing if it would be in
    a file to train on. Numbers have a point, dates are YYYY-MM-DD: unlike a file of thousands of rows, a batch shows
    no way of its own to write them. Raises InvalidHouses for what is no such table.
    """
    header, rows = table_of_csv(content, InvalidHouses)
    features = _features(header, schema)
    violations = [
        Violation(pointer_to(row), Rule.TYPE, f"has {len(cells)} cells, where the header has {len(header)}")
        for row, cells in enumerate(rows)
        if len(cells) != len(header)
    ]
    houses = [
        {
            each.name: _value(each.kind, cell)
            for each, cell in zip(features, cells, strict=False)
            if not is_missing(cell)
        }
        for cells in rows
    ]
    if violations:
        widths = {each.pointer for each in violations}
        found = [each for row, house in enumerate(houses) for each in schema.violations(house, row)]
        violations += [each for each in found if each.pointer[: each.pointer.rindex("/")] not in widths]
        raise InvalidHouses(violations)
    return houses


def _features(header: Sequence[str], schema: FeatureSchema) -> Sequence[Feature]:
    columns = {name: schema.named(name) for name in header}
    violations = [
        Violation(pointer_to(name), Rule.UNKNOWN, "is a column for no feature of this model")
        for name, feature in columns.items()
        if feature is None
    ]
    violations += [
        Violation(pointer_to(name), Rule.DUPLICATE, "is more than one column")
        for name, count in Counter(header).items()
        if count > 1
    ]
    violations += [
        Violation(pointer_to(feature.name), Rule.MISSING, "is a column that is missing")
        for feature in schema.features
        if feature.required and feature not in columns.values()
    ]
    if violations:
        raise InvalidHouses(violations)
    return [feature for name in header if (feature := columns[name])]


def _value(kind: Kind, cell: str) -> object:
    match kind:
        case Kind.BOOLEAN:
            return _FLAGS.get(cell.lower(), cell)
        case Kind.NUMBER | Kind.INTEGER:
            if _WHOLE.fullmatch(cell):
                return int(cell)
            return float(cell) if _NUMBER.fullmatch(cell) else cell
        case Kind.CATEGORY | Kind.DATE:
            return cell
        case _:
            assert_never(kind)


Read = Callable[[], Iterable[Prediction]]

COLUMNS = (
    *("prediction_id", "created_at", "model_version", "generation", "valued_on"),
    *PRICE_COLUMNS[:NUMBERS],
    *("fsd", *OTHERS, "warnings"),
)
"""The columns of CSV before those of the features."""


def write_lines(predictions: Iterable[Prediction], stream: IO[str]) -> int:
    """Write JSON, one prediction a line; how many there were."""
    count = 0
    for each in predictions:
        stream.write(json.dumps(document(each, ExportedPredictionAnswer), ensure_ascii=False) + "\n")
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
        writer.writerow([*_cells(each), *(_cell_text(values.get(name)) for name in features)])
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
        **{name: getattr(estimate, name) for name in OTHERS},
    }
    return (said[name] for name in COLUMNS)


def _cell_text(value: object) -> object:
    return json.dumps(value) if isinstance(value, bool) else value
