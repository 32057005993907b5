"""Sales that come back as a table in CSV: a column of prediction ids, one of prices, one of dates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from housepredict.domain.errors import InvalidSales
from housepredict.domain.usecases.record_sales import FIELDS
from housepredict.domain.validation import Rule, Violation, pointer_to
from housepredict.entrypoints.csv_table import table_of_csv

_ALSO = {"id": "prediction", "prediction_id": "prediction"}
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


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
    return float(text) if _NUMBER.fullmatch(text) else text
