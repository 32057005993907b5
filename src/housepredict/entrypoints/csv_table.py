"""Tables in CSV that are sent or piped in: commas or semicolons, a line of names."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence

from housepredict.domain.errors import BrokenRules
from housepredict.domain.texts import tidy
from housepredict.domain.validation import Rule, Violation

_BOM = "\ufeff"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How Excel's workbooks begin, the new ones as any ZIP archive."""

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
