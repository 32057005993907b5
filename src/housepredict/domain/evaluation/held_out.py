"""How far a model is off on sales that it has not learned from, and on the latest."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import accumulate, pairwise
from random import Random
from statistics import fmean, median, quantiles
from typing import Any, Final, TypeVar

from attrs import astuple, fields, frozen

from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import LEVELS, Calibration, Interval, whole_cents
from housepredict.domain.evaluation.measures import (
    Accuracy,
    Bounds,
    Coverage,
    Evaluation,
    OutOfTimeEvaluation,
    Segment,
    accuracy,
)
from housepredict.domain.features import FeatureSchema, Kind, coordinates
from housepredict.domain.models import Artefact, require_format
from housepredict.domain.ports import Valuation
from housepredict.domain.sales import Sale
from housepredict.domain.schema_inference.inference import MIN_SALES

MEASURES = ("median_ratio", "mdape", "ppe10", "cod", "prd", "prb")
RESAMPLES = 200
PAIRED_RESAMPLES = 1000
LARGEST = 1000

_SEED = 42


def bounds(estimates: Sequence[float], prices: Sequence[float], measured: Accuracy) -> Mapping[str, Bounds]:
    """Between what a measure lies with a probability of 95 percent, by its name.

    `measured` are the measures of all these sales. One that is not defined there or in a resample has no bounds.
    """
    draw, size = Random(_SEED), min(len(prices), LARGEST)
    resamples = []
    for _ in range(RESAMPLES):
        rows = draw.choices(range(len(prices)), k=size)
        resamples.append(accuracy([estimates[row] for row in rows], [prices[row] for row in rows]))
    scale = math.sqrt(size / len(prices))
    found = {}
    for name in MEASURES:
        middle = getattr(measured, name)
        values = [getattr(each, name) for each in resamples]
        if middle is not None and None not in values:
            cuts = quantiles(values, n=40, method="inclusive")
            found[name] = Bounds(*(middle + scale * (cut - middle) for cut in (cuts[0], cuts[-1])))
    return found


def share_better(losses: Sequence[float], others: Sequence[float]) -> float:
    """In what share of resamples, in percent, the mean of the losses is below that of the others'.

    Both are of the same sales in the same order, and drawn together. Where they are equal, neither is below.
    """
    gains = [other - loss for loss, other in zip(losses, others, strict=True)]
    draw, size = Random(_SEED), min(len(gains), LARGEST)
    middle, scale = fmean(gains), math.sqrt(size / len(gains))
    means = (fmean(draw.choices(gains, k=size)) for _ in range(PAIRED_RESAMPLES))
    return 100 * sum(middle + scale * (mean - middle) > 0 for mean in means) / PAIRED_RESAMPLES


GROUPS = 10
MAX_CATEGORIES = 10

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
    rows: Sequence[Valued], schema: FeatureSchema, trained_on: int, later: OutOfTimeEvaluation | str
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
        out_of_time=None if isinstance(later, str) else later,
        out_of_time_skipped=later if isinstance(later, str) else None,
    )


def tenths(ordered: Sequence[T]) -> Sequence[Sequence[T]]:
    """Ten groups in order, as equal in size as can be; fewer where there are fewer rows."""
    groups = min(GROUPS, len(ordered))
    cuts = [len(ordered) * group // groups for group in range(groups + 1)] if groups else []
    return [ordered[start:end] for start, end in pairwise(cuts)]


def evaluate_out_of_time(rows: Sequence[Valued], since: date, trained_on: int) -> OutOfTimeEvaluation:
    """What is measured on the latest sales."""
    return OutOfTimeEvaluation(since, trained_on, len(rows), measure(rows), coverages(rows))


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
    commonest = sorted(counts, key=lambda name: (-counts[name], name))[:MAX_CATEGORIES]
    return tuple(
        _segment(name, [row for row in rows if str(row.sale.house.values.get(feature)) == name]) for name in commonest
    )


LATEST_SHARE = 0.2


@frozen
class OutOfTimeSales:
    """The sales of `since` and after, and the earlier ones of other houses."""

    since: date
    earlier: Sequence[Sale]
    latest: Sequence[Sale]


def latest_sales(sales: Sequence[Sale]) -> OutOfTimeSales | str:
    """The latest fifth, or as near to it as whole days come; or why there is none, for a sentence.

    Earlier sales of a house that is among the latest are on neither side: see `is_held_out`.
    """
    counts = Counter(sale.sold_on for sale in sales if sale.sold_on)
    days = sorted(counts, reverse=True)
    if len(days) < 2:
        return "they are all of one date" if days else "they have no dates"
    wanted = LATEST_SHARE * len(sales)
    # the first day has to be earlier
    so_many = dict(zip(days[:-1], accumulate(counts[day] for day in days), strict=False))
    since = min(so_many, key=lambda day: abs(so_many[day] - wanted))
    latest = [sale for sale in sales if sale.sold_on and sale.sold_on >= since]
    houses = {sale.house_key for sale in latest}
    earlier = [sale for sale in sales if sale.sold_on and sale.sold_on < since and sale.house_key not in houses]
    if min(len(earlier), len(latest)) < MIN_SALES:
        return (
            f"{len(latest)} are since {since} and {len(earlier)} of other houses before: {MIN_SALES} are needed of each"
        )
    return OutOfTimeSales(since, earlier, latest)


HELD_OUT_FILE: Final = "held-out.json"
"""The place of these sales in an artefact."""

MAX_HELD_OUT = 5000
"""Of more sales, a sample is kept: some 60 bytes for each."""

_FORMAT = 1
_SAMPLE_SEED = 42


@frozen
class HeldOutSale:
    """What a house sold for, and what a version said of it.

    `spread` is how uncertain it was (see Calibration), None if it could not tell; the date and the place in degrees
    are None where the sales have none.
    """

    estimate: float
    price: float
    spread: float | None = None
    sold_on: date | None = None
    latitude: float | None = None
    longitude: float | None = None

    @property
    def ratio(self) -> float:
        """The sales ratio."""
        return self.estimate / self.price

    def within(self, factor: float) -> bool:
        """Whether the price lies in the interval that `factor` spreads make (see Calibration.intervals)."""
        return (
            self.spread is not None
            and self.estimate > 0
            and abs(math.log(self.price / self.estimate)) <= factor * self.spread
        )


@frozen
class HeldOut:
    """The sales that are kept, and how many there were to take them from."""

    sales: tuple[HeldOutSale, ...]
    of: int


def sample(rows: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the rows, in order; always the same of the same number."""
    if len(rows) <= most:
        return rows
    return [rows[at] for at in sorted(Random(_SAMPLE_SEED).sample(range(len(rows)), most))]


def held_out(rows: Sequence[Valued], schema: FeatureSchema) -> HeldOut:
    """What is kept of the sales that a version was evaluated on."""
    places = coordinates(schema) or ()
    return HeldOut(tuple(_kept(row, places) for row in sample(rows, MAX_HELD_OUT)), len(rows))


def _kept(row: Valued, places: Sequence[str]) -> HeldOutSale:
    values = row.sale.house.values
    known = [float(values[name]) for name in places if name in values]
    return HeldOutSale(
        round(row.estimate, 2),
        row.sale.price,
        None if row.spread is None else float(f"{row.spread:.6g}"),
        row.sale.sold_on,
        *(known if len(known) == 2 else ()),
    )


def write_held_out(kept: HeldOut) -> bytes:
    """The sales as a file."""
    document = {
        "format": _FORMAT,
        "of": kept.of,
        "columns": _COLUMNS,
        "sales": [astuple(sale) for sale in kept.sales],
    }
    return json.dumps(document, separators=(",", ":"), default=date.isoformat, allow_nan=False).encode()


def read_held_out(artefact: Artefact) -> HeldOut | None:
    """The sales that are kept in an artefact; None in one of before they were. Raises RefusedModel if it is damaged."""
    if HELD_OUT_FILE not in artefact:
        return None
    try:
        document = json.loads(artefact[HELD_OUT_FILE])
        require_format(document["format"], _FORMAT, HELD_OUT_FILE)
        columns = document.get("columns", _COLUMNS)
        return HeldOut(tuple(_read(columns, row) for row in document["sales"]), int(document["of"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RefusedModel(f"{HELD_OUT_FILE} holds no sales: {error}") from error


_COLUMNS: Final = tuple(field.name for field in fields(HeldOutSale))


def _read(columns: Sequence[str], row: Sequence[object]) -> HeldOutSale:
    """Read a row by the names of its columns: those that this release doesn't know are ignored."""
    values = {name: _value(name, value) for name, value in zip(columns, row, strict=True) if name in _COLUMNS}
    sale = HeldOutSale(**values)
    if sale.estimate < 0 or sale.price <= 0:
        raise ValueError(f"a price of {sale.price}, an estimate of {sale.estimate}")
    return sale


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "sold_on":
        return date.fromisoformat(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} of {number}")
    return number
