"""How far a model is off on sales that it has not learned from, as a whole and by kinds of houses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from statistics import median
from typing import TypeVar

from attrs import frozen

from housepredict.domain.accuracy import Accuracy, accuracy
from housepredict.domain.bootstrap import bounds
from housepredict.domain.estimates import LEVELS, Calibration, Interval, whole_cents
from housepredict.domain.features import FeatureSchema, Kind
from housepredict.domain.models import Coverage, Evaluation, LaterEvaluation, Segment
from housepredict.domain.ports import Valuation
from housepredict.domain.sales import Sale

GROUPS = 10
MOST_CATEGORIES = 10

T = TypeVar("T")


@frozen
class Valued:
    """A sale, what a model said of it, between what prices, and how uncertain it was (see Calibration)."""

    sale: Sale
    estimate: float
    intervals: tuple[Interval, ...] = ()
    spread: float | None = None


def valued(sales: Sequence[Sale], valuation: Valuation, calibration: Calibration | None) -> Sequence[Valued]:
    """Sales with what a model says of their houses; those that it has no price for are left out."""
    spreads = valuation.spreads if calibration else None
    found = []
    for row, (sale, price) in enumerate(zip(sales, valuation.prices, strict=True)):
        if whole_cents(price) is not None:
            estimate = max(price, 0.0)
            spread = None if spreads is None else spreads[row]
            intervals = calibration.intervals(estimate, spread) if calibration and spread is not None else ()
            found.append(Valued(sale, estimate, intervals, spread))
    return found


def measure(rows: Sequence[Valued]) -> Accuracy:
    """The measures of sales, of which there is at least one."""
    return accuracy([row.estimate for row in rows], [row.sale.price for row in rows])


def coverage(rows: Sequence[Valued], level: int) -> Coverage | None:
    """How often, and how widely, intervals held the price; None for a model without such intervals."""
    pairs = [(row, each) for row in rows for each in row.intervals if each.level == level]
    if not pairs:
        return None
    held = sum(each.holds(row.sale.price) for row, each in pairs)
    factors = [each.high / row.estimate for row, each in pairs if row.estimate]
    return Coverage(level, 100 * held / len(pairs), median(factors) if factors else None)


def evaluate(
    rows: Sequence[Valued], schema: FeatureSchema, trained_on: int, later: LaterEvaluation | str
) -> Evaluation:
    """All that is measured of a version. `later` is the evaluation on the latest sales, or why there is none."""
    measured = measure(rows)
    category = _broadest_category(schema)
    return Evaluation(
        trained_on=trained_on,
        held_out=len(rows),
        accuracy=measured,
        bounds=bounds([row.estimate for row in rows], [row.sale.price for row in rows], measured),
        coverage=coverages(rows),
        price_tenths=_price_tenths(rows),
        category=category,
        categories=_by_category(rows, category) if category else (),
        later=None if isinstance(later, str) else later,
        why_no_later=later if isinstance(later, str) else None,
    )


def tenths(ordered: Sequence[T]) -> Sequence[Sequence[T]]:
    """Ten groups in order, as equal in size as can be; fewer where there are fewer rows."""
    groups = min(GROUPS, len(ordered))
    cuts = [len(ordered) * group // groups for group in range(groups + 1)] if groups else []
    return [ordered[start:end] for start, end in pairwise(cuts)]


def evaluate_later(rows: Sequence[Valued], since: date, trained_on: int) -> LaterEvaluation:
    """What is measured on the latest sales."""
    return LaterEvaluation(since, trained_on, len(rows), measure(rows), coverages(rows))


def coverages(rows: Sequence[Valued]) -> tuple[Coverage, ...]:
    """That of the intervals of each level, as far as there are any."""
    return tuple(found for level in LEVELS if (found := coverage(rows, level)))


def _segment(name: str, rows: Sequence[Valued]) -> Segment:
    measured, held = measure(rows), coverage(rows, 90)
    return Segment(name, len(rows), measured.median_ratio, measured.mdape, held.share if held else None)


def _price_tenths(rows: Sequence[Valued]) -> tuple[Segment, ...]:
    """Cheapest first."""
    ordered = tenths(sorted(rows, key=lambda row: row.sale.price))
    return tuple(_segment(f"{each[0].sale.price:.0f} to {each[-1].sale.price:.0f}", each) for each in ordered)


def _broadest_category(schema: FeatureSchema) -> str | None:
    features = [each for each in schema.features if each.kind is Kind.CATEGORY]
    return max(features, key=lambda each: len(each.categories)).name if features else None


def _by_category(rows: Sequence[Valued], feature: str) -> tuple[Segment, ...]:
    """The commonest values, most sales first."""
    counts = Counter(str(value) for row in rows if (value := row.sale.house.values.get(feature)) is not None)
    commonest = sorted(counts, key=lambda name: (-counts[name], name))[:MOST_CATEGORIES]
    return tuple(
        _segment(name, [row for row in rows if str(row.sale.house.values.get(feature)) == name]) for name in commonest
    )
