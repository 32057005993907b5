"""Detection of leaking columns, which reveal the sale price.

A model that uses leaking columns looks accurate, but fails on houses that are not sold yet.

Leaking columns are detected by their correlation with the price, because names are unreliable. Assessed values are the
exception: they are detected by name and correlation. A column that is named like a measurement is never a leak on its
own, because size, for example, may explain nearly all of the price.
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

_MIN_SPREAD = 1e-12  # A constant column may have this much variation due to rounding.


@frozen
class Part:
    """A centered column with precomputed dot products, used to correlate combinations of columns with a target.

    Attributes:
        values: the values minus their mean.
        square: the dot product of `values` with itself.
        along: the dot product of `values` with the centered target.
    """

    values: Sequence[float] = field(repr=False)
    square: float
    along: float

    @classmethod
    def of(cls, values: Sequence[float], target: Sequence[float]) -> Self:
        """Create a Part from a column's values and a centered target."""
        deviations = center(values)
        return cls(deviations, dot(deviations, deviations), dot(deviations, target))


def evenly(items: Sequence[int], most: int) -> Sequence[int]:
    """Choose up to `most` evenly spaced items."""
    return items if len(items) <= most else [items[number * len(items) // most] for number in range(most)]


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, starting at 0. Equal values get the mean of their ranks."""
    ranked = [0.0] * len(values)
    start = 0
    for _, positions in groupby(sorted(range(len(values)), key=values.__getitem__), key=values.__getitem__):
        tied = list(positions)
        for position in tied:
            ranked[position] = start + (len(tied) - 1) / 2
        start += len(tied)
    return ranked


def correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Compute Pearson's correlation. Returns 0 if one of the sequences is constant."""
    return _coefficient(dot(a := center(left), b := center(right)), dot(a, a), dot(b, b))


def rank_correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Compute Spearman's rank correlation. Returns 0 if one of the sequences is constant."""
    return correlation(ranks(left), ranks(right))


def explained_share(groups: Sequence[Hashable], values: Sequence[float]) -> float:
    """Compute the share of variance explained by groups (between-group / total variance).

    Args:
        groups: the group of each value.
        values: the values.

    Returns:
        The share from 0 to 1, or 0 if the values are constant.
    """
    members: defaultdict[Hashable, list[float]] = defaultdict(list)
    deviations = center(values)
    for group, deviation in zip(groups, deviations, strict=True):
        members[group].append(deviation)
    total = dot(deviations, deviations)
    between = math.fsum(sum(group) ** 2 / len(group) for group in members.values())
    return between / total if total > _MIN_SPREAD else 0.0


def combined_correlations(left: Part, right: Part, square: float) -> tuple[float, float, float, float]:
    """Compute the correlations of left + right, left - right, left, and right with the target.

    The four results are in this order. `square` is the dot product of the centered target with itself.
    """
    a, b, c = left.square, right.square, square
    ab, ac, bc = dot(left.values, right.values), left.along, right.along
    return (
        _coefficient(ac + bc, a + b + 2 * ab, c),
        _coefficient(ac - bc, a + b - 2 * ab, c),
        _coefficient(ac, a, c),
        _coefficient(bc, b, c),
    )


def center(values: Sequence[float]) -> list[float]:
    """Subtract the mean from each value."""
    mean = math.fsum(values) / len(values) if values else 0.0
    return [value - mean for value in values]


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """Compute the dot product of two vectors."""
    return float(sum(map(mul, left, right)))


def _coefficient(together: float, left: float, right: float) -> float:
    spread = math.sqrt(max(left, 0.0)) * math.sqrt(max(right, 0.0))
    return max(-1.0, min(1.0, together / spread)) if spread > _MIN_SPREAD else 0.0


PAIR_CORRELATION = 0.995
"""Threshold for leaking pairs of columns.

A pair leaks if the log of its product or ratio has at least this absolute correlation with the log price.
"""

_MIN_PAIRED = 30
_SCREENING_ROWS = 120  # Enough to rule out nearly all pairs of columns.
_SCREENING_CORRELATION = 0.97
_MIN_GAIN = 4  # Each column alone must leave at least this many times more variance unexplained than the pair.
_MIN_UNEXPLAINED = 1e-6
_CLEAR_DIFFERENCE = 0.3
_CLEAR_RATIO = 1.25
_MAX_DIGITS = 12
_ROUND_SCALE = 0.01


@frozen
class _Logs:
    """The logarithms of columns and of a target in the examined rows.

    Attributes:
        target: the logarithms of the target.
        columns: the logarithms of each column, with 0 in place of missing ones.
        present: a flag for each logarithm of each column. True means not missing.
        parts: the precomputed Part of each column, or None if the column has missing logarithms.
        square: the dot product of the centered target with itself.
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
        """Compute combined_correlations for the columns at two positions.

        Returns None if too few rows have values in both columns.
        """
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
    """Two columns that leak the price together.

    Attributes:
        strength: the absolute correlation of the combined columns with the price.
        columns: the two columns.
        powers: the exponent (1 or -1) for each column. The product of the two columns, each raised to its exponent,
            reveals the price.
    """

    strength: float
    columns: tuple[Column, Column]
    powers: tuple[int, int]


def find_leaking_pairs(
    price: Column, columns: Sequence[Column], rows: Sequence[int], measures: Collection[str]
) -> dict[str, str]:
    """Find pairs of columns that leak the price together.

    One column of a pair, such as the price per square foot, is probably derived from the price and the other column,
    such as the square feet.

    Args:
        price: the prices.
        columns: the numeric columns to examine.
        rows: the rows to examine.
        measures: the names of columns that contain measurements. If it is unclear which column of a pair is derived,
            the column that isn't a measurement is chosen.

    Returns:
        A description of the leak for each derived column, by column name.
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
    """Return two columns as a pair if their product or ratio leaks the price and neither column leaks it alone.

    Otherwise, return None. `correlations` is the result of `combined_correlations` for the two columns.
    """
    product, ratio, *alone = correlations
    powers = (1, 1) if abs(product) >= abs(ratio) else (1, -1)
    together = product if abs(product) >= abs(ratio) else ratio
    unexplained_alone = 1 - max(map(abs, alone)) ** 2
    if abs(together) < PAIR_CORRELATION or unexplained_alone < max(_MIN_GAIN * (1 - together**2), _MIN_UNEXPLAINED):
        return None
    return _Pair(abs(together), (left, right), powers if together > 0 else (-powers[0], -powers[1]))


def _derived(pair: _Pair, price: Column, rows: Sequence[int], measures: Collection[str]) -> int:
    """Return the position in the pair (0 or 1) of the column that is probably derived.

    Each column can be computed from the price and the other column, so only the digits can show which one is derived.
    A derived value is the rounded result of a division or multiplication. Such values rarely occur twice, and have many
    digits or decimals.
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
    # If all else is equal, choose the column that is not named like a measurement, or else the later one.
    return 0 if right.name in measures and left.name not in measures else 1


def _computed_share(pair: _Pair, which: int, price: Column, rows: Sequence[int]) -> float:
    """Return the share of rows in which a column of a pair equals the value computed for it.

    The value is computed from the price and the other column, and then rounded. `which` is the column's position in the
    pair (0 or 1).
    """
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
    """Return the number of decimals of a number."""
    text = repr(value)
    if "e" in text or text.endswith(".0"):
        return 0 if "e-" not in text else _MAX_DIGITS
    return min(len(text.partition(".")[2]), _MAX_DIGITS)


def _digits(column: Column) -> float:
    """Return the median number of significant digits (at most 12) of a column's distinct values."""
    lengths = (len(re.sub(r"e.*|\.0$|[-.]", "", repr(value)).strip("0")) for value in column.distinct)
    return median(min(length, _MAX_DIGITS) for length in lengths)


RANK_CORRELATION = 0.98
"""Threshold for leaking columns: minimum absolute rank correlation with the price.

If there are few sales, a higher threshold applies, because a high correlation may be due to chance.
"""
ASSESSED_CORRELATION = 0.9
"""Threshold for leaking assessed values: minimum absolute rank correlation with the price."""
EXPLAINED_SHARE = 0.97
"""Threshold for leaking columns with few distinct values.

A column leaks if it explains at least this share of the variance of the price rank.
"""

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
    """Find the columns that leak the price. The result does not depend on the order of the rows.

    Returns:
        A description of the leak for each leaking column, by column name.
    """
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
    """Return a reason to exclude a column if its name indicates values known only after the sale, otherwise None."""
    if _AFTER_SALE.fullmatch(normalize_name(name)):
        return "known only after the sale (by its name); add it to `allow` to use it anyway"
    return None


def is_measure(name: str) -> bool:
    """Return whether a column name indicates a measurement or a count, and not an amount of money."""
    words = normalize_name(name)
    return bool(MEASURE.search(words) or _MEASURE_TOO.search(words)) and not _MONEY.search(words)


def _is_numeric(column: Column) -> bool:
    return column.kind in (Kind.NUMBER, Kind.INTEGER)


def _leak(column: Column, price: Column, rows: Iterable[int]) -> str | None:
    """Return a description of how a single column leaks the price, or None if it doesn't. Only `rows` are examined."""
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
