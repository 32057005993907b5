"""Columns that give the price away: whoever learns from them looks good on old sales, and knows nothing of new ones.

A column is judged by what it does, and assessed values by their name too, for a name may be any. Columns named for what
can be measured of a house are innocent by themselves: size may well explain nearly all of the price.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from housepredict.domain.columns import MEASURE, Column, words_of
from housepredict.domain.correlation import evenly, explained_share, rank_correlation, ranks
from housepredict.domain.features import Kind, Value
from housepredict.domain.leaking_pairs import find_leaking_pairs

RANK_CORRELATION = 0.98
"""From this on, up or down, a column alone gives the price away; few sales must show more, for chance has a part."""
ASSESSED_CORRELATION = 0.9
EXPLAINED_SHARE = 0.97

_FEWEST = 30
_MOST = 2000  # rows that a column is judged by
_ASSESSED = re.compile(
    r"\bassess(ed|ments?)\b|\bapprais(ed|als?)\b|\btaxable\b|\bzestimate\b|\bavm\b"
    r"|\b(market|estimated|land|improvements?|total) ?val(ue)?\b"
)
_AFTER_SALE = re.compile(
    r"c?dom|.*\b(days|time) on (the )?market\b.*|.*\b(commissions?|closing costs?|concessions?)\b.*"
)
_MEASURE_TOO = re.compile(r"\b(surface|acres?|acreage|m2|feet|ft|width|depth|height|length)\b")
_MONEY = re.compile(r"pric|val(ue|uation)?\b|cost|amount|worth|rate\b|\bper\b|assess|apprais|tax|paid|dollar|usd|eur\b")
_PLAIN = re.compile(r"[\w.%+#-]+")


def find_leaks(price: Column, columns: Sequence[Column]) -> dict[str, str]:
    """The columns that give the price away, and how each does; the order of the rows does not matter."""
    rows = [row for row, value in enumerate(price.values) if value is not None and float(value) > 0]
    if len(rows) < _FEWEST:
        return {}
    rows.sort(key=lambda row: float(price.values[row] or 0))
    found = {column.name: how for column in columns if (how := _alone(column, price, rows))}
    numeric = [column for column in columns if column.name not in found and _is_numeric(column)]
    measures = [column.name for column in numeric if is_measure(column.name)]
    pairs = find_leaking_pairs(price, numeric, evenly(rows, _MOST), measures)
    return found | {name: _gives_away(name, how) for name, how in pairs.items()}


def after_sale(name: str) -> str | None:
    """Why a column of this name is known too late, if it is."""
    if _AFTER_SALE.fullmatch(words_of(name)):
        return f"known only when the house is sold; {_allowing(name)} uses it all the same"
    return None


def is_measure(name: str) -> bool:
    """Whether a name is that of something to be measured or counted of a house, rather than of money."""
    words = words_of(name)
    return bool(MEASURE.search(words) or _MEASURE_TOO.search(words)) and not _MONEY.search(words)


def _is_numeric(column: Column) -> bool:
    return column.kind in (Kind.NUMBER, Kind.INTEGER)


def _alone(column: Column, price: Column, rows: Iterable[int]) -> str | None:
    rows = evenly([row for row in rows if column.values[row] is not None], _MOST)
    if len(rows) < _FEWEST or (_is_numeric(column) and is_measure(column.name)):
        return None
    values: list[Value] = [column.values[row] or 0 for row in rows]
    prices = [float(price.values[row] or 0) for row in rows]
    if _is_numeric(column):
        together = rank_correlation([float(value) for value in values], prices)
        if _ASSESSED.search(words_of(column.name)) and abs(together) >= ASSESSED_CORRELATION:
            return (
                f"a value that may have been set after the sale: rank correlation {together:.3f}; "
                f"allow it with {_allowing(column.name)} if it was set before"
            )
        if abs(together) >= math.tanh(math.atanh(RANK_CORRELATION) + 2 / math.sqrt(len(rows) - 3)):
            return _gives_away(column.name, f"rank correlation {together:.3f}")
    if column.kind is not Kind.BOOLEAN and len(set(values)) <= len(rows) / 10:
        share = explained_share(values, ranks(prices))
        if share >= EXPLAINED_SHARE:
            return _gives_away(column.name, f"its {len(set(values))} values explain {share:.1%} of the price's rank")
    return None


def _gives_away(name: str, how: str) -> str:
    return f"gives the price away: {how}; allow it with {_allowing(name)} if it is known before the sale"


def _allowing(name: str) -> str:
    return f"--allow {name if _PLAIN.fullmatch(name) else repr(name)}"
