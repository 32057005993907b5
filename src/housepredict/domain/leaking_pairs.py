"""Columns that give the price away together with another: a price per square foot does, where the area is known."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from itertools import combinations, compress
from operator import and_
from statistics import median

from attrs import field, frozen

from housepredict.domain.columns import Column
from housepredict.domain.correlation import Part, centred, combined_correlations, dot, evenly
from housepredict.domain.features import Value

PAIR_CORRELATION = 0.995
"""From this on, up or down, the product or the ratio of two columns tells the price, by their logarithms."""

_FEWEST = 30
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
        if sum(both) < _FEWEST:
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
