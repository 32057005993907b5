"""Evaluation of a version on held-out sales, and out-of-time evaluation on the most recent sales."""

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
from housepredict.domain.estimates import LEVELS, Calibration, Interval, round_to_cents
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
from housepredict.domain.models import Artifact, require_format
from housepredict.domain.ports import Valuation
from housepredict.domain.sales import Sale
from housepredict.domain.schema_inference.inference import MIN_SALES
from housepredict.domain.validation import counted

MEASURES = ("median_ratio", "mdape", "ppe10", "cod", "prd", "prb")
"""The measures that get confidence bounds. They are fields of Accuracy."""

RESAMPLES = 200
PAIRED_RESAMPLES = 1000

LARGEST = 1000
"""Maximum size of a bootstrap resample.

If there are more sales, resamples are smaller than the set of all sales, so the statistics computed from them vary too
much. To correct this, their deviations from the statistic of all sales are scaled down.
"""

_SEED = 42


def bounds(estimates: Sequence[float], prices: Sequence[float], measured: Accuracy) -> Mapping[str, Bounds]:
    """Compute 95% confidence bounds of accuracy measures by bootstrap.

    Args:
        estimates: the estimates.
        prices: the sale prices, in the same order.
        measured: the measures of these estimates.

    Returns:
        The bounds by measure. A measure is omitted if it is undefined for `measured` or for any resample.
    """
    draw, size = Random(_SEED), min(len(prices), LARGEST)
    resamples = []
    for _ in range(RESAMPLES):
        rows = draw.choices(range(len(prices)), k=size)
        resamples.append(accuracy([estimates[row] for row in rows], [prices[row] for row in rows]))
    scale = math.sqrt(size / len(prices))
    intervals = {}
    for name in MEASURES:
        middle = getattr(measured, name)
        values = [getattr(resample, name) for resample in resamples]
        if middle is not None and None not in values:
            cuts = quantiles(values, n=40, method="inclusive")
            intervals[name] = Bounds(*(middle + scale * (cut - middle) for cut in (cuts[0], cuts[-1])))
    return intervals


def share_better(losses: Sequence[float], others: Sequence[float]) -> float:
    """Compute the share of paired bootstrap resamples in which the mean of `losses` is below the mean of `others`.

    Args:
        losses: the loss of one model on each sale.
        others: the loss of the other model on the same sales, in the same order.

    Returns:
        The share in percent.
    """
    gains = [other - loss for loss, other in zip(losses, others, strict=True)]
    draw, size = Random(_SEED), min(len(gains), LARGEST)
    middle, scale = fmean(gains), math.sqrt(size / len(gains))
    means = (fmean(draw.choices(gains, k=size)) for _ in range(PAIRED_RESAMPLES))
    return 100 * sum(middle + scale * (mean - middle) > 0 for mean in means) / PAIRED_RESAMPLES


GROUPS = 10
MAX_CATEGORIES = 10
"""Maximum number of categories for which accuracy is reported separately."""

T = TypeVar("T")


@frozen
class Valued:
    """A sale with a model's estimate, intervals and spread (see Calibration)."""

    sale: Sale
    estimate: float
    intervals: tuple[Interval, ...] = ()
    spread: float | None = None


def valued(sales: Sequence[Sale], valuation: Valuation, calibration: Calibration | None) -> Sequence[Valued]:
    """Combine sales with a model's estimates. Sales of houses that the model can't estimate are omitted.

    Args:
        sales: the sales.
        valuation: the model's estimates, in the order of the sales.
        calibration: the calibration used to compute intervals, or None for a model without intervals.
    """
    spreads = valuation.spreads if calibration else None
    rows = []
    for row, (sale, price) in enumerate(zip(sales, valuation.prices, strict=True)):
        if round_to_cents(price) is not None:
            estimate = max(price, 0.0)
            spread = None if spreads is None else spreads[row]
            intervals = calibration.intervals(estimate, spread) if calibration and spread is not None else ()
            rows.append(Valued(sale, estimate, intervals, spread))
    return rows


def measure(rows: Sequence[Valued]) -> Accuracy:
    """Compute the accuracy measures of these sales, which must not be empty."""
    return accuracy([row.estimate for row in rows], [row.sale.price for row in rows])


def coverage(rows: Sequence[Valued], level: int) -> Coverage | None:
    """Compute the coverage and median width of the intervals at one level. Returns None if there are no intervals."""
    pairs = [(row, interval) for row in rows for interval in row.intervals if interval.level == level]
    if not pairs:
        return None
    inside = sum(interval.holds(row.sale.price) for row, interval in pairs)
    factors = [interval.high / row.estimate for row, interval in pairs if row.estimate]
    return Coverage(level, 100 * inside / len(pairs), median(factors) if factors else None)


def evaluate(
    rows: Sequence[Valued], schema: FeatureSchema, trained_on: int, out_of_time: OutOfTimeEvaluation | str
) -> Evaluation:
    """Evaluate a version on held-out sales.

    Args:
        rows: the held-out sales with the version's estimates.
        schema: the version's features.
        trained_on: the number of training sales.
        out_of_time: the version's out-of-time evaluation, or the reason why there is none.
    """
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
        out_of_time=None if isinstance(out_of_time, str) else out_of_time,
        out_of_time_skipped=out_of_time if isinstance(out_of_time, str) else None,
    )


def tenths(ordered: Sequence[T]) -> Sequence[Sequence[T]]:
    """Split rows into ten consecutive groups of about equal size, or into groups of one if there are fewer than ten."""
    groups = min(GROUPS, len(ordered))
    cuts = [len(ordered) * group // groups for group in range(groups + 1)] if groups else []
    return [ordered[start:end] for start, end in pairwise(cuts)]


def evaluate_out_of_time(rows: Sequence[Valued], since: date, trained_on: int) -> OutOfTimeEvaluation:
    """Evaluate a model on the most recent sales.

    Args:
        rows: the most recent sales with the model's estimates.
        since: the date of the first of these sales.
        trained_on: the number of earlier sales that the model was fitted to.
    """
    return OutOfTimeEvaluation(since, trained_on, len(rows), measure(rows), coverages(rows))


def coverages(rows: Sequence[Valued]) -> tuple[Coverage, ...]:
    """Compute the coverage for each interval level. Levels without intervals are omitted."""
    return tuple(covered for level in LEVELS if (covered := coverage(rows, level)))


def _segment(name: str, rows: Sequence[Valued]) -> Segment:
    measured, covered = measure(rows), coverage(rows, 90)
    return Segment(name, len(rows), measured.median_ratio, measured.mdape, covered.share if covered else None)


def _price_tenths(rows: Sequence[Valued]) -> tuple[Segment, ...]:
    ordered = tenths(sorted(rows, key=lambda row: row.sale.price))
    return tuple(_segment(f"{tenth[0].sale.price:.0f} to {tenth[-1].sale.price:.0f}", tenth) for tenth in ordered)


def _broadest_category(schema: FeatureSchema) -> str | None:
    features = [feature for feature in schema.features if feature.kind is Kind.CATEGORY]
    return max(features, key=lambda feature: len(feature.categories)).name if features else None


def _by_category(rows: Sequence[Valued], feature: str) -> tuple[Segment, ...]:
    groups: dict[str, list[Valued]] = {}
    for row in rows:
        if (value := row.sale.house.values.get(feature)) is not None:
            groups.setdefault(str(value), []).append(row)
    common = sorted(groups, key=lambda name: (-len(groups[name]), name))[:MAX_CATEGORIES]
    return tuple(_segment(name, groups[name]) for name in common)


LATEST_SHARE = 0.2
"""Approximate share of sales that count as the most recent ones in an out-of-time evaluation."""


@frozen
class OutOfTimeSales:
    """The split of sales for an out-of-time evaluation.

    Attributes:
        since: the date of the first sale in `latest`.
        earlier: the sales before `since`, without the houses in `latest`. The model is fitted to these.
        latest: all sales from `since` on. The model is evaluated on these.
    """

    since: date
    earlier: Sequence[Sale]
    latest: Sequence[Sale]


def latest_sales(sales: Sequence[Sale]) -> OutOfTimeSales | str:
    """Split off about the most recent fifth of the sales. Sales on the same day stay together.

    If a house is among the most recent sales, its earlier sales are omitted, because a model that has already seen the
    house would look better than it is.

    Returns:
        The split. If it is impossible, the reason, as a clause such as "the sales have no dates".
    """
    counts = Counter(sale.sold_on for sale in sales if sale.sold_on)
    days = sorted(counts, reverse=True)
    if len(days) < 2:
        return "all sales have the same date" if days else "the sales have no dates"
    # The first day can't start the most recent sales, because there must be earlier sales.
    sales_since = dict(zip(days[:-1], accumulate(counts[day] for day in days), strict=False))
    since = min(sales_since, key=lambda day: abs(sales_since[day] - LATEST_SHARE * len(sales)))
    latest = [sale for sale in sales if sale.sold_on and sale.sold_on >= since]
    houses = {sale.house_key for sale in latest}
    earlier = [sale for sale in sales if sale.sold_on and sale.sold_on < since and sale.house_key not in houses]
    if min(len(earlier), len(latest)) < MIN_SALES:
        sizes = f"{counted(len(latest), 'sale')} since {since}, {counted(len(earlier), 'earlier sale')}"
        return f"{sizes} of other houses; at least {MIN_SALES} of each are needed"
    return OutOfTimeSales(since, earlier, latest)


HELD_OUT_FILE: Final = "held-out.json"
"""Name of the artifact file that contains a version's held-out sales."""

MAX_HELD_OUT = 5000
"""Maximum number of sales in the held-out file. If there are more, the file contains a random sample.

Each sale takes about 60 bytes.
"""

_FORMAT = 1
_SAMPLE_SEED = 42


@frozen
class HeldOutSale:
    """A held-out sale with its estimate.

    Attributes:
        estimate: the estimated price.
        price: the sale price.
        spread: the spread of the estimate (see Calibration), or None if the version has no intervals.
        sold_on: the sale date, or None if it is unknown.
        latitude: the latitude in degrees, or None if it is unknown.
        longitude: the longitude in degrees, or None if it is unknown.
    """

    estimate: float
    price: float
    spread: float | None = None
    sold_on: date | None = None
    latitude: float | None = None
    longitude: float | None = None

    @property
    def ratio(self) -> float:
        """The sales ratio (estimate / price)."""
        return self.estimate / self.price

    def within(self, factor: float) -> bool:
        """Return whether |ln(price / estimate)| is at most `factor` times `spread` (see Calibration.intervals)."""
        return (
            self.spread is not None
            and self.estimate > 0
            and abs(math.log(self.price / self.estimate)) <= factor * self.spread
        )


@frozen
class HeldOut:
    """The held-out sales of a version.

    Attributes:
        sales: all held-out sales, or a random sample if there are more than MAX_HELD_OUT.
        of: the number of all held-out sales.
    """

    sales: tuple[HeldOutSale, ...]
    of: int


def sample(rows: Sequence[T], most: int) -> Sequence[T]:
    """Draw a random sample of up to `most` rows, in their original order.

    The sampled positions depend only on `most` and the number of rows.
    """
    if len(rows) <= most:
        return rows
    return [rows[position] for position in sorted(Random(_SAMPLE_SEED).sample(range(len(rows)), most))]


def held_out(rows: Sequence[Valued], schema: FeatureSchema) -> HeldOut:
    """Convert evaluated sales to the form in which a version stores them."""
    names = coordinates(schema) or ()

    def held_out_sale(row: Valued) -> HeldOutSale:
        values = row.sale.house.values
        place = [float(values[name]) for name in names if name in values]
        spread = None if row.spread is None else float(f"{row.spread:.6g}")
        estimate = round(row.estimate, 2)
        return HeldOutSale(estimate, row.sale.price, spread, row.sale.sold_on, *(place if len(place) == 2 else ()))

    return HeldOut(tuple(map(held_out_sale, sample(rows, MAX_HELD_OUT))), len(rows))


def write_held_out(held_out: HeldOut) -> bytes:
    """Serialize held-out sales to JSON."""
    sales = [astuple(sale) for sale in held_out.sales]
    document = {"format": _FORMAT, "of": held_out.of, "columns": _COLUMNS, "sales": sales}
    return json.dumps(document, separators=(",", ":"), default=date.isoformat, allow_nan=False).encode()


def read_held_out(artifact: Artifact) -> HeldOut | None:
    """Read a version's held-out sales.

    Returns:
        The held-out sales, or None if the version was trained by an older release.

    Raises:
        RefusedModel: if the file is damaged.
    """
    if HELD_OUT_FILE not in artifact:
        return None
    try:
        document = json.loads(artifact[HELD_OUT_FILE])
        require_format(document["format"], _FORMAT, HELD_OUT_FILE)
        columns = document.get("columns", _COLUMNS)
        return HeldOut(tuple(_read(columns, row) for row in document["sales"]), int(document["of"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RefusedModel(f"{HELD_OUT_FILE} is damaged: {error}") from error


_COLUMNS: Final = tuple(field.name for field in fields(HeldOutSale))


def _read(columns: Sequence[str], row: Sequence[object]) -> HeldOutSale:
    """Parse a row of the held-out file. Unknown columns, which a newer release may have added, are ignored.

    Args:
        columns: the column names.
        row: the value for each column.
    """
    values = {name: _value(name, value) for name, value in zip(columns, row, strict=True) if name in _COLUMNS}
    sale = HeldOutSale(**values)
    if sale.estimate < 0 or sale.price <= 0:
        raise ValueError(f"price must be positive, and estimate not negative: {sale.price}, {sale.estimate}")
    return sale


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "sold_on":
        return date.fromisoformat(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {number}")
    return number
