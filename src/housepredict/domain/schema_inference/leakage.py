"""Leakage: columns that reveal the price. A model that uses them looks accurate, but fails on houses not yet sold.

Columns are judged by their correlation with the price, since a name can be anything; only assessed values are judged by
their name, too. A single column named for a measurement never leaks: size may well explain nearly all of the price.
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
from housepredict.domain.schema_inference.columns import MEASURE, Column, normalize_name

_MIN_SPREAD = 1e-12  # Rounding leaves this much variation in a constant column.


@frozen
class Part:
    """A centered column, with its dot products with itself and with a target, which all its combinations share."""

    values: Sequence[float] = field(repr=False)
    square: float
    along: float

    @classmethod
    def of(cls, values: Sequence[float], target: Sequence[float]) -> Self:
        """Create the part for a column and a centered target."""
        deviations = center(values)
        return cls(deviations, dot(deviations, deviations), dot(deviations, target))


def evenly(items: Sequence[int], most: int) -> Sequence[int]:
    """Choose at most `most` items, evenly spread."""
    return items if len(items) <= most else [items[number * len(items) // most] for number in range(most)]


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, from 0. Equal values share the mean of their ranks."""
    ranked = [0.0] * len(values)
    start = 0
    for _, positions in groupby(sorted(range(len(values)), key=values.__getitem__), key=values.__getitem__):
        tied = list(positions)
        for position in tied:
            ranked[position] = start + (len(tied) - 1) / 2
        start += len(tied)
    return ranked


def correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Compute Pearson's correlation; 0 if a side is constant."""
    return _coefficient(dot(a := center(left), b := center(right)), dot(a, a), dot(b, b))


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Compute Spearman's rank correlation; 0 if a side is constant."""
    return correlation(ranks(left), ranks(right))


def explained_share(groups: Sequence[Hashable], values: Sequence[float]) -> float:
    """Compute the share of the variance of values that groups explain; 0 if the values are constant."""
    members: defaultdict[Hashable, list[float]] = defaultdict(list)
    deviations = center(values)
    for group, deviation in zip(groups, deviations, strict=True):
        members[group].append(deviation)
    total = dot(deviations, deviations)
    between = math.fsum(sum(group) ** 2 / len(group) for group in members.values())
    return between / total if total > _MIN_SPREAD else 0.0


def combined_correlations(left: Part, right: Part, square: float) -> tuple[float, float, float, float]:
    """Compute the correlations of left + right, left - right, left, and right with a target of the given square."""
    a, b, c = left.square, right.square, square
    ab, ac, bc = dot(left.values, right.values), left.along, right.along
    return (
        _coefficient(ac + bc, a + b + 2 * ab, c),
        _coefficient(ac - bc, a + b - 2 * ab, c),
        _coefficient(ac, a, c),
        _coefficient(bc, b, c),
    )


def center(values: Sequence[float]) -> list[float]:
    """Subtract the mean from values."""
    mean = math.fsum(values) / len(values) if values else 0.0
    return [value - mean for value in values]


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """Compute the dot product."""
    return float(sum(map(mul, left, right)))


def _coefficient(together: float, left: float, right: float) -> float:
    spread = math.sqrt(max(left, 0.0)) * math.sqrt(max(right, 0.0))
    return max(-1.0, min(1.0, together / spread)) if spread > _MIN_SPREAD else 0.0


PAIR_CORRELATION = 0.995
"""The smallest absolute correlation of logarithms at which the product or the ratio of two columns leaks the price."""

_MIN_PAIRED = 30
_SCREENING_ROWS = 120  # enough to rule out nearly all pairs of columns
_SCREENING_CORRELATION = 0.97
_MIN_GAIN = 4  # A single column must leave this many times more variance unexplained than the pair does.
_MIN_UNEXPLAINED = 1e-6
_CLEAR_DIFFERENCE = 0.3
_CLEAR_RATIO = 1.25
_MAX_DIGITS = 12
_ROUND_SCALE = 0.01


@frozen
class _Logs:
    """The logarithms of columns and of a target in the examined rows.

    Missing logarithms are 0 in `columns` and False in `present`; columns without any have `parts`. `square` is the dot
    product of the centered target with itself.
    """

    target: Sequence[float] = field(repr=False)
    columns: Sequence[Sequence[float]] = field(repr=False)
    present: Sequence[Sequence[bool]] = field(repr=False)
    parts: Sequence[Part | None] = field(repr=False)
    square: float

    @classmethod
    def of(cls, target: Sequence[float], columns: Sequence[Sequence[float | None]]) -> _Logs:
        deviations = center(target)
        filled = [[value or 0.0 for value in column] for column in columns]
        present = [[value is not None for value in column] for column in columns]
        parts = [
            Part.of(column, deviations) if all(flags) else None for column, flags in zip(filled, present, strict=True)
        ]
        return cls(target, filled, present, parts, dot(deviations, deviations))

    def compare(self, first: int, second: int) -> tuple[float, float, float, float] | None:
        """Compute combined_correlations of two columns; None if too few rows have both."""
        left, right = self.parts[first], self.parts[second]
        if left and right:
            return combined_correlations(left, right, self.square)
        both = list(map(and_, self.present[first], self.present[second]))
        if sum(both) < _MIN_PAIRED:
            return None
        target = center(list(compress(self.target, both)))
        left, right = (Part.of(list(compress(self.columns[column], both)), target) for column in (first, second))
        return combined_correlations(left, right, dot(target, target))


@frozen
class _Pair:
    """Two columns that give the price if they are raised to these powers, 1 or -1, and multiplied."""

    strength: float
    columns: tuple[Column, Column]
    powers: tuple[int, int]


def find_leaking_pairs(
    price: Column, columns: Sequence[Column], rows: Sequence[int], measures: Collection[str]
) -> dict[str, str]:
    """Find pairs of columns that leak the price together.

    Args:
        price: the prices.
        columns: numeric columns.
        rows: the rows to examine.
        measures: the names of columns with measurements, which are preferably not the derived one.

    Returns:
        How it leaks, by the name of the column of each pair that is probably derived from the price and the other one.
    """
    columns = [column for column in columns if len(column.distinct) > 2]
    target = [math.log(float(price.values[row] or 1)) for row in rows]
    logarithms = [[_logarithm(column.values[row]) for row in rows] for column in columns]
    logs = _Logs.of(target, logarithms)
    screened = evenly(range(len(rows)), _SCREENING_ROWS)
    screening = _Logs.of(
        [target[row] for row in screened], [[column[row] for row in screened] for column in logarithms]
    )
    pairs = []
    for first, second in combinations(range(len(columns)), 2):
        estimates = screening.compare(first, second)
        if estimates and max(map(abs, estimates[:2])) < _SCREENING_CORRELATION:
            continue
        correlations = logs.compare(first, second)
        if correlations and (pair := _pair(columns[first], columns[second], correlations)):
            pairs.append(pair)
    leaks: dict[str, str] = {}
    for pair in sorted(pairs, key=lambda pair: -pair.strength):
        if leaks.keys().isdisjoint(column.name for column in pair.columns):
            derived = _derived(pair, price, rows, measures)
            other = pair.columns[1 - derived]
            combination = "product with" if pair.powers[0] == pair.powers[1] else "ratio to"
            leaks[pair.columns[derived].name] = (
                f"its {combination} {other.name} has a correlation of {pair.strength:.3f} with the price"
            )
    return leaks


def _logarithm(value: Value | None) -> float | None:
    return None if value is None or float(value) <= 0 else math.log(float(value))


def _pair(left: Column, right: Column, correlations: tuple[float, float, float, float]) -> _Pair | None:
    """Return two columns as a pair if their product or ratio leaks the price, and neither does alone."""
    product, ratio, *alone = correlations
    powers = (1, 1) if abs(product) >= abs(ratio) else (1, -1)
    together = product if abs(product) >= abs(ratio) else ratio
    unexplained_alone = 1 - max(map(abs, alone)) ** 2
    if abs(together) < PAIR_CORRELATION or unexplained_alone < max(_MIN_GAIN * (1 - together**2), _MIN_UNEXPLAINED):
        return None
    return _Pair(abs(together), (left, right), powers if together > 0 else (-powers[0], -powers[1]))


def _derived(pair: _Pair, price: Column, rows: Sequence[int], measures: Collection[str]) -> int:
    """Return which column of a pair, 0 or 1, is probably derived.

    Either one follows from the price and the other, so only their digits tell. A derived value is the rounded result of
    a division or multiplication. It is rarely the same in two sales, and has many digits or decimals.
    """
    left, right = pair.columns
    difference = _computed_share(pair, 0, price, rows) - _computed_share(pair, 1, price, rows)
    if abs(difference) >= _CLEAR_DIFFERENCE:
        return 0 if difference > 0 else 1
    ratio = len(left.distinct) * right.present / (len(right.distinct) * left.present)
    if not 1 / _CLEAR_RATIO < ratio < _CLEAR_RATIO:
        return 0 if ratio > 1 else 1
    precisions = [(not column.is_whole, _digits(column)) for column in pair.columns]
    if precisions[0] != precisions[1]:
        return 0 if precisions[0] > precisions[1] else 1
    # If all else is equal, the derived column is the one not named for a measurement, or the later one.
    return 0 if right.name in measures and left.name not in measures else 1


def _computed_share(pair: _Pair, which: int, price: Column, rows: Sequence[int]) -> float:
    """Return the share of rows in which a column is exactly the rounded result of the price and the other column."""
    computed, other = pair.columns[which], pair.columns[1 - which]
    power, other_power = pair.powers[which], pair.powers[1 - which]
    values = []
    for row in rows:
        value, factor, amount = (float(column.values[row] or 0) for column in (computed, other, price))
        if value > 0 and factor > 0:
            values.append((value, amount / factor**other_power))
    scale = median(rest / value**power for value, rest in values)
    exponent = round(math.log10(scale))
    if abs(scale / 10.0**exponent - 1) < _ROUND_SCALE:
        scale = 10.0**exponent
    tolerance = 0.5 * 10.0 ** -max(map(_decimals, computed.distinct))
    exact = sum(abs((rest / scale) ** power - value) <= tolerance * 1.001 + 1e-9 * value for value, rest in values)
    return exact / len(values)


def _decimals(value: Value) -> int:
    """Count the decimals of a number."""
    text = repr(value)
    if "e" in text or text.endswith(".0"):
        return 0 if "e-" not in text else _MAX_DIGITS
    return min(len(text.partition(".")[2]), _MAX_DIGITS)


def _digits(column: Column) -> float:
    """Return the median number of significant digits of a column's values, each capped at 12."""
    lengths = (len(re.sub(r"e.*|\.0$|[-.]", "", repr(value)).strip("0")) for value in column.distinct)
    return median(min(length, _MAX_DIGITS) for length in lengths)


RANK_CORRELATION = 0.98
"""The smallest absolute rank correlation at which a column leaks the price. Few sales need more, to rule out chance."""
ASSESSED_CORRELATION = 0.9
"""The smallest absolute rank correlation at which an assessed value leaks the price."""
EXPLAINED_SHARE = 0.97
"""The smallest share of the variance of the price's rank at which the few values of a column leak the price."""

_MIN_ROWS = 30
_MAX_ROWS = 2000
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
    """Find the columns that leak the price. Returns the reason by name; the order of the rows does not matter."""
    rows = [row for row, value in enumerate(price.values) if value is not None and float(value) > 0]
    if len(rows) < _MIN_ROWS:
        return {}
    rows.sort(key=lambda row: float(price.values[row] or 0))
    leaks = {column.name: reason for column in columns if (reason := _leak(column, price, rows))}
    numeric = [column for column in columns if column.name not in leaks and _is_numeric(column)]
    measures = [column.name for column in numeric if is_measure(column.name)]
    pairs = find_leaking_pairs(price, numeric, evenly(rows, _MAX_ROWS), measures)
    return leaks | {name: _reason(evidence) for name, evidence in pairs.items()}


def after_sale(name: str) -> str | None:
    """Return why a column with this name can't be a feature if its values are known only after the sale, or None."""
    if _AFTER_SALE.fullmatch(normalize_name(name)):
        return "known only after the sale (by its name); add it to `allow` to use it anyway"
    return None


def is_measure(name: str) -> bool:
    """Whether a name refers to a measurement or a count of a house, and not to money."""
    words = normalize_name(name)
    return bool(MEASURE.search(words) or _MEASURE_TOO.search(words)) and not _MONEY.search(words)


def _is_numeric(column: Column) -> bool:
    return column.kind in (Kind.NUMBER, Kind.INTEGER)


def _leak(column: Column, price: Column, rows: Iterable[int]) -> str | None:
    """Return how a single column leaks the price, or None."""
    rows = evenly([row for row in rows if column.values[row] is not None], _MAX_ROWS)
    if len(rows) < _MIN_ROWS or (_is_numeric(column) and is_measure(column.name)):
        return None
    values: list[Value] = [column.values[row] or 0 for row in rows]
    prices = [float(price.values[row] or 0) for row in rows]
    if _is_numeric(column):
        coefficient = rank_correlation([float(value) for value in values], prices)
        if _ASSESSED.search(normalize_name(column.name)) and abs(coefficient) >= ASSESSED_CORRELATION:
            return (
                f"an assessed value (by its name), possibly set after the sale: rank correlation {coefficient:.3f}; "
                "add it to `allow` if it was set before"
            )
        if abs(coefficient) >= math.tanh(math.atanh(RANK_CORRELATION) + 2 / math.sqrt(len(rows) - 3)):
            return _reason(f"rank correlation {coefficient:.3f}")
    if column.kind is not Kind.BOOLEAN and len(set(values)) <= len(rows) / 10:
        share = explained_share(values, ranks(prices))
        if share >= EXPLAINED_SHARE:
            return _reason(f"its {len(set(values)):,} values explain {share:.1%} of the variance of the price's rank")
    return None


def _reason(evidence: str) -> str:
    return f"leaks the price: {evidence}; add it to `allow` if it is known before the sale"
