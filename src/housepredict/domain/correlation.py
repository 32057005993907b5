"""How closely two columns of numbers go together: what the search for columns that give the price away rests on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import groupby
from operator import mul
from typing import Self

from attrs import field, frozen

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
