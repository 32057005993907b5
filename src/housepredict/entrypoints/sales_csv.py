"""Sales that come back as a table in CSV: a column of prediction ids, one of prices, one of dates."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence

from housepredict.domain.errors import InvalidSales
from housepredict.domain.usecases.record_sales import FIELDS
from housepredict.domain.validation import Rule, Violation, pointer_to

_ALSO = {"id": "prediction"}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_BOM = "\ufeff"


def sales_of_csv(content: bytes) -> Sequence[object]:
    """The sales of a table in UTF-8, as RecordSales takes them: what is no number stays text, for it to refuse.

    The columns are `prediction` (or `id`), `price` and `date`, in any order, with commas or semicolons between them.
    Raises InvalidSales for what is no such table.
    """
    try:
        text = content.decode().removeprefix(_BOM)
    except UnicodeDecodeError as error:
        raise _refused(f"byte {error.start} is not UTF-8") from None
    lines = text.splitlines(keepends=True)
    first = next((line for line in lines if line.strip()), "")
    # strict: otherwise a quote that nobody closed would swallow the rows after it
    reader = csv.reader(lines, delimiter=";" if first.count(";") > first.count(",") else ",", strict=True)
    try:
        header, *rows = [[cell.strip() for cell in row] for row in reader if any(map(str.strip, row))] or [[]]
    except csv.Error as error:
        raise _refused(f"line {reader.line_num} is no proper CSV ({error}): check its quotes") from None
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
    return float(text) if _NUMBER.fullmatch(text) else text


def _refused(reason: str) -> InvalidSales:
    return InvalidSales([Violation("", Rule.TYPE, reason)])
