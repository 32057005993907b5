"""Why a column may be no feature, whatever the rest of the file: row numbers, identifiers, free text, another price."""

from __future__ import annotations

import re

from housepredict.domain.features import Kind
from housepredict.domain.schema_inference.columns import READABLE_SHARE, Column, words_of
from housepredict.domain.schema_inference.leakage import after_sale

_PRICE_WORD = re.compile(r"\bprices?\b|\bppsf\b|\b(log\d*|ln)price")
_EARLIER_PRICE = re.compile(r"\b(prev|previous|prior|index)\b")
_ROW_NAME = re.compile(r"unnamed \d+|index|row|")
_ID_NAME = re.compile(r"\b(id|[pgfz]p?id|apn|pin|uprn|uuid|folio|parcel|mls|identifier|objectid)\b|parcel ?(no|num|id)")
_MOSTLY_DISTINCT = 0.5
_LONG_CODE = 10
"""Whole numbers of so many digits and one length, most of them different, are codes rather than amounts."""
_SELDOM_REPEATED = 0.2  # a house comes up for sale again, now and then


def doubt(column: Column) -> str | None:
    """Why a column that varies is no feature, unless the user says that it is one."""
    if column.is_row_number or (_ROW_NAME.fullmatch(words_of(column.name)) and _is_key(column)):
        return "counts the rows"
    if is_identifier(column):
        return "an identifier: nearly every value differs"
    if digits := _code_digits(column):
        return f"an identifier: most values differ, and all are whole numbers of {digits} digits"
    if tells_price(column.name):
        return "goes with the price, which nobody knows before the sale"
    if too_late := after_sale(column.name):
        return too_late
    unread = column.unreadable > (1 - READABLE_SHARE) * (column.present + column.unreadable)
    if column.kind is Kind.CATEGORY and (unread or _differ(column, _MOSTLY_DISTINCT)):
        return "free text: nearly every value differs"
    return None


def tells_price(name: str) -> bool:
    """Whether a name is that of a price of this sale."""
    words = words_of(name)
    return name.startswith("$/") or bool(_PRICE_WORD.search(words) and not _EARLIER_PRICE.search(words))


def is_identifier(column: Column) -> bool:
    """Whether a column identifies something, by its name and its values."""
    return _ID_NAME.search(words_of(column.name)) is not None and _differ(column, _SELDOM_REPEATED)


def _code_digits(column: Column) -> int | None:
    """The number of digits that all values have, if there are too many for an amount; None otherwise."""
    if not column.is_whole or not _differ(column, _MOSTLY_DISTINCT):
        return None
    lengths = {len(str(abs(int(value)))) for value in column.distinct}
    return lengths.pop() if len(lengths) == 1 and min(lengths) >= _LONG_CODE else None


def _is_key(column: Column) -> bool:
    return column.is_whole and len(column.distinct) == column.present


def _differ(column: Column, share: float) -> bool:
    """Whether a column has a different value in more than this share of its rows."""
    return len(column.distinct) > share * max(column.present, 1)
