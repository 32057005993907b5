"""Houses as a table in CSV, a column a feature."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import assert_never

from housepredict.domain.cells import is_missing
from housepredict.domain.errors import InvalidHouses
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.validation import Rule, Violation, pointer_to
from housepredict.entrypoints.csv_table import table_of_csv

_WHOLE = re.compile(r"[+-]?\d{1,300}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FLAGS = {"true": True, "false": False}


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
