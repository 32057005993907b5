"""Columns that give the price away: whoever learns from them looks good on old sales, and knows nothing of new ones.

A column is judged by what it does, and assessed values by their name too, for a name may be any. Columns named for what
can be measured of a house are innocent by themselves: size may well explain nearly all of the price.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from itertools import combinations, compress, groupby
from operator import and_, mul
from statistics import median
from typing import Self

from attrs import field, frozen

from housepredict.domain.features import Kind, Value
from housepredict.domain.schema_inference.columns import MEASURE, Column, words_of

_NO_SPREAD = 1e-12  # what rounding leaves of the squares of a column that does not vary


@frozen
class Part:
    """A column, centred, and its products with itself and with a target: they are the same in whichever combination."""

    values: Sequence[float] = field(repr=False)
    square: float
    along: float

    @classmethod
    def of(cls, values: Sequence[float], target: Sequence[float]) -> Self:
        """That of a column and a target that is centred."""
        away = centred(values)
        return cls(away, dot(away, away), dot(away, target))


def evenly(items: Sequence[int], most: int) -> Sequence[int]:
    """At most so many of the items, evenly spread over them."""
    return items if len(items) <= most else [items[place * len(items) // most] for place in range(most)]


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value, from 0 on; equal values share the middle of theirs."""
    found = [0.0] * len(values)
    start = 0
    for _, places in groupby(sorted(range(len(values)), key=values.__getitem__), key=values.__getitem__):
        tied = list(places)
        for place in tied:
            found[place] = start + (len(tied) - 1) / 2
        start += len(tied)
    return found


def correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Pearson's coefficient; 0 where one of them does not vary."""
    return _coefficient(dot(a := centred(left), b := centred(right)), dot(a, a), dot(b, b))


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Spearman's coefficient; 0 where one of them does not vary."""
    return correlation(ranks(left), ranks(right))


def explained_share(groups: Sequence[Hashable], values: Sequence[float]) -> float:
    """The share of the values' variance that lies between the groups; 0 where they do not vary."""
    members: defaultdict[Hashable, list[float]] = defaultdict(list)
    away = centred(values)
    for group, value in zip(groups, away, strict=True):
        members[group].append(value)
    total = dot(away, away)
    return math.fsum(sum(each) ** 2 / len(each) for each in members.values()) / total if total > _NO_SPREAD else 0.0


def combined_correlations(left: Part, right: Part, square: float) -> tuple[float, float, float, float]:
    """How these correlate with a target of that square: left + right, left - right, left, and right."""
    a, b, c = left.square, right.square, square
    ab, ac, bc = dot(left.values, right.values), left.along, right.along
    return (
        _coefficient(ac + bc, a + b + 2 * ab, c),
        _coefficient(ac - bc, a + b - 2 * ab, c),
        _coefficient(ac, a, c),
        _coefficient(bc, b, c),
    )


def centred(values: Sequence[float]) -> list[float]:
    """The values less their mean."""
    mean = math.fsum(values) / len(values) if values else 0.0
    return [value - mean for value in values]


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """The sum of the products."""
    return float(sum(map(mul, left, right)))


def _coefficient(together: float, left: float, right: float) -> float:
    spread = math.sqrt(max(left, 0.0)) * math.sqrt(max(right, 0.0))
    return max(-1.0, min(1.0, together / spread)) if spread > _NO_SPREAD else 0.0


PAIR_CORRELATION = 0.995
"""From this on, up or down, the product or the ratio of two columns tells the price, by their logarithms."""

_FEWEST_PAIRED = 30
_GLANCE = 120  # rows that tell nearly all pairs from those worth a closer look
_GLANCE_CORRELATION = 0.97
_GAIN = 4  # alone, either column leaves at least this many times more unexplained: else it is no matter of two
_NOTHING = 1e-6
_CLEARLY = 0.3
_MORE = 1.25
_MOST_DIGITS = 12
_ROUND_SCALE = 0.01


@frozen
class _Logs:
    """The logarithms of columns and of a target in the rows looked at, 0 where there is none, and where there is one.

    `parts` are those columns that have all; `square` is that of the target, centred.
    """

    target: Sequence[float] = field(repr=False)
    columns: Sequence[Sequence[float]] = field(repr=False)
    present: Sequence[Sequence[bool]] = field(repr=False)
    parts: Sequence[Part | None] = field(repr=False)
    square: float

    @classmethod
    def of(cls, target: Sequence[float], columns: Sequence[Sequence[float | None]]) -> _Logs:
        away = centred(target)
        filled = [[value or 0.0 for value in column] for column in columns]
        present = [[value is not None for value in column] for column in columns]
        parts = [Part.of(each, away) if all(known) else None for each, known in zip(filled, present, strict=True)]
        return cls(target, filled, present, parts, dot(away, away))

    def compare(self, first: int, second: int) -> tuple[float, float, float, float] | None:
        """See combined_correlations; None if too few rows have both."""
        left, right = self.parts[first], self.parts[second]
        if left and right:
            return combined_correlations(left, right, self.square)
        both = list(map(and_, self.present[first], self.present[second]))
        if sum(both) < _FEWEST_PAIRED:
            return None
        away = centred(list(compress(self.target, both)))
        left, right = (Part.of(list(compress(self.columns[each], both)), away) for each in (first, second))
        return combined_correlations(left, right, dot(away, away))


@frozen
class _Pair:
    """Two columns that make the price when they are raised to these powers, 1 or -1, and multiplied."""

    strength: float
    columns: tuple[Column, Column]
    powers: tuple[int, int]


def find_leaking_pairs(
    price: Column, columns: Sequence[Column], rows: Sequence[int], measures: Collection[str]
) -> dict[str, str]:
    """The column to blame in each pair that gives the price away, and how; in doubt it is none of the `measures`."""
    columns = [column for column in columns if len(column.distinct) > 2]
    target = [math.log(float(price.values[row] or 1)) for row in rows]
    logarithms = [[_logarithm(column.values[row]) for row in rows] for column in columns]
    logs = _Logs.of(target, logarithms)
    glance = evenly(range(len(rows)), _GLANCE)
    near = _Logs.of([target[place] for place in glance], [[each[place] for place in glance] for each in logarithms])
    pairs = []
    for first, second in combinations(range(len(columns)), 2):
        glimpse = near.compare(first, second)
        if glimpse and max(map(abs, glimpse[:2])) < _GLANCE_CORRELATION:
            continue
        found = logs.compare(first, second)
        if found and (pair := _pair(columns[first], columns[second], found)):
            pairs.append(pair)
    blamed: dict[str, str] = {}
    for pair in sorted(pairs, key=lambda each: -each.strength):
        if blamed.keys().isdisjoint(column.name for column in pair.columns):
            guilty = _guilty(pair, price, rows, measures)
            other = pair.columns[1 - guilty]
            how = "product with" if pair.powers[0] == pair.powers[1] else "ratio to"
            blamed[pair.columns[guilty].name] = f"correlation {pair.strength:.3f} of its {how} {other.name}"
    return blamed


def _logarithm(value: Value | None) -> float | None:
    return None if value is None or float(value) <= 0 else math.log(float(value))


def _pair(left: Column, right: Column, found: tuple[float, float, float, float]) -> _Pair | None:
    """The two as a pair, if their product or ratio tells the price and neither does alone."""
    product, ratio, *alone = found
    powers = (1, 1) if abs(product) >= abs(ratio) else (1, -1)
    together = product if abs(product) >= abs(ratio) else ratio
    left_alone = 1 - max(map(abs, alone)) ** 2
    if abs(together) < PAIR_CORRELATION or left_alone < max(_GAIN * (1 - together**2), _NOTHING):
        return None
    return _Pair(abs(together), (left, right), powers if together > 0 else (-powers[0], -powers[1]))


def _guilty(pair: _Pair, price: Column, rows: Sequence[int], measures: Collection[str]) -> int:
    """Which of the two to blame, 0 or 1.

    Either follows from the price and the other, so what tells is how they are written: the one that was computed is
    what rounding makes of the others, hardly ever the same in two sales, and long or with decimals.
    """
    left, right = pair.columns
    fits = _computed_share(pair, 0, price, rows) - _computed_share(pair, 1, price, rows)
    if abs(fits) >= _CLEARLY:
        return 0 if fits > 0 else 1
    more = len(left.distinct) * right.present / (len(right.distinct) * left.present)
    if not 1 / _MORE < more < _MORE:
        return 0 if more > 1 else 1
    if (written := (not left.is_whole, _digits(left))) != (written_too := (not right.is_whole, _digits(right))):
        return 0 if written > written_too else 1
    # of two that are alike in that, the one whose name measures nothing; else the latter: it tends to be derived
    return 0 if right.name in measures and left.name not in measures else 1


def _computed_share(pair: _Pair, which: int, price: Column, rows: Sequence[int]) -> float:
    """The share of rows in which a column of a pair is exactly what the price and the other make, once rounded."""
    made, given = pair.columns[which], pair.columns[1 - which]
    power, other_power = pair.powers[which], pair.powers[1 - which]
    known = []
    for row in rows:
        value, other, amount = (float(each.values[row] or 0) for each in (made, given, price))
        if value > 0 and other > 0:
            known.append((value, amount / other**other_power))
    scale = median(rest / value**power for value, rest in known)
    tens = round(math.log10(scale))
    if abs(scale / 10.0**tens - 1) < _ROUND_SCALE:
        scale = 10.0**tens
    half = 0.5 * 10.0 ** -max(map(_decimals, made.distinct))
    exact = sum(abs((rest / scale) ** power - value) <= half * 1.001 + 1e-9 * value for value, rest in known)
    return exact / len(known)


def _decimals(value: Value) -> int:
    """How many decimals a number is written with."""
    text = repr(value)
    if "e" in text or text.endswith(".0"):
        return 0 if "e-" not in text else _MOST_DIGITS
    return min(len(text.partition(".")[2]), _MOST_DIGITS)


def _digits(column: Column) -> float:
    """How many significant digits the column's numbers tend to have, within reason."""
    lengths = (len(re.sub(r"e.*|\.0$|[-.]", "", repr(value)).strip("0")) for value in column.distinct)
    return median(min(length, _MOST_DIGITS) for length in lengths)


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
        return f"known only when the house is sold; allow {name!r} to use it all the same"
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
                f"allow {column.name!r} if it was set before"
            )
        if abs(together) >= math.tanh(math.atanh(RANK_CORRELATION) + 2 / math.sqrt(len(rows) - 3)):
            return _gives_away(column.name, f"rank correlation {together:.3f}")
    if column.kind is not Kind.BOOLEAN and len(set(values)) <= len(rows) / 10:
        share = explained_share(values, ranks(prices))
        if share >= EXPLAINED_SHARE:
            return _gives_away(column.name, f"its {len(set(values))} values explain {share:.1%} of the price's rank")
    return None


def _gives_away(name: str, how: str) -> str:
    return f"gives the price away: {how}; allow {name!r} if it is known before the sale"
