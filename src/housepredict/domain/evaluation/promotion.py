"""The promotion rule: whether a new version is promoted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import fmean, median

from attrs import asdict, evolve

from housepredict.domain.evaluation.held_out import Valued, coverage, measure, share_better, valued
from housepredict.domain.evaluation.measures import RANGES, Accuracy, Range
from housepredict.domain.models import Comparison, ModelVersion, Performance, Verdict
from housepredict.domain.ports import Predictor
from housepredict.domain.sales import Sale

ENOUGH_BETTER = 95.0
"""The share of resamples, in percent, in which a challenger must have the smaller error."""

COVERAGE = "coverage of the 90 % intervals"
GUARDS = {
    "COD": RANGES["cod"],
    "PRD": RANGES["prd"],
    "|PRB|": evolve(RANGES["prb"], low=0.0),
    COVERAGE: Range(COVERAGE, 85.0, 95.0, 1, "the promotion rule"),
}
"""The acceptable ranges of the measures that a promotion must not worsen."""

MIN_HELD_OUT = 20
"""The fewest held-out sales of a version that is promoted without a champion to compare with."""

COD_LIMIT = 100.0
"""Without a champion, the COD must be below this: above it, the typical error exceeds the typical price."""


class PromotionPolicy(StrEnum):
    """Whether a version that was trained takes the place of the promoted one."""

    ALWAYS = "always"
    IF_BETTER = "if-better"
    NEVER = "never"


def compare(challenger: Sequence[Valued], champion: Predictor, sales: Sequence[Sale]) -> Comparison | None:
    """Compare a version with the champion on the held-out sales that both have a price for; None if there are none."""
    schema = champion.version.schema
    known = [sale for sale in sales if not schema.violations(sale.house.values)]
    if not known:
        return None
    incumbent = valued(
        known, champion.predict([schema.house(sale.house.values) for sale in known]), champion.version.calibration
    )
    # by place: two sales may be equal
    theirs, ours = {id(row.sale): row for row in incumbent}, {id(row.sale): row for row in challenger}
    both = [(ours[place], theirs[place]) for place in map(id, sales) if place in ours and place in theirs]
    if not both:
        return None
    losses = [[_loss(row) for row in rows] for rows in zip(*both, strict=True)]
    return Comparison(
        champion=champion.version.name,
        sales=len(both),
        better=share_better(*losses),
        challenger=_performance([row for row, _ in both], losses[0], len(challenger), len(sales)),
        incumbent=_performance([row for _, row in both], losses[1], len(incumbent), len(sales)),
    )


def judge_alone(why: str, evaluated: Accuracy, rows: Sequence[Valued], training: Sequence[Sale]) -> Verdict:
    """Apply the rule where there is no champion to compare with: a version must pass absolute floors.

    It must be more accurate than the median price of the training sales, by the error that `compare` uses. Of all
    constant estimates the median has the smallest such error, so a model that does not beat it has learned nothing.

    Args:
        why: the sentence that says why there is no champion.
        evaluated: the measures of `rows`, which are the held-out sales.
        training: the training sales.
    """
    against = []
    if evaluated.n < MIN_HELD_OUT:
        sales = "1 sale was" if evaluated.n == 1 else f"{evaluated.n} sales were"
        against.append(f"Only {sales} held out; it takes {MIN_HELD_OUT} to judge a version by itself.")
    measures = {name: value for name, value in asdict(evaluated).items() if value is not None}
    if infinite := [name for name, value in measures.items() if not math.isfinite(value)]:
        against.append(f"These measures are not finite: {', '.join(infinite)}.")
    if evaluated.cod is None or not evaluated.cod < COD_LIMIT:
        cod = "not defined" if evaluated.cod is None else f"{evaluated.cod:,.1f}"
        against.append(f"Its COD is {cod}; it must be below {COD_LIMIT:.0f}.")
    typical = median(sale.price for sale in training)
    error = fmean(_loss(row) for row in rows)
    constant = fmean(_loss(evolve(row, estimate=typical)) for row in rows)
    if not error < constant:
        against.append(
            f"On the held-out sales it is off by {100 * math.expm1(error):,.1f}% on average; the median price of the "
            f"training sales ({typical:,.0f}) for every house is off by {100 * math.expm1(constant):,.1f}%."
        )
    if not against:
        return Verdict(promoted=True, reasons=(why,))
    anyway = f"It is stored: to use it anyway, promote it by name, or train with the policy `{PromotionPolicy.ALWAYS}`."
    return Verdict(promoted=False, reasons=(why, *against, anyway))


def judge(comparison: Comparison) -> Verdict:
    """Apply the rule where there is a champion: a version must be better beyond chance, and no guarded measure that is
    out of its range may be worse.
    """
    challenger, incumbent, name = comparison.challenger, comparison.incumbent, comparison.champion
    beside = (
        f"On {comparison.sales} held-out sales it is off by {_percent(challenger.error)} on average, "
        f"{name} by {_percent(incumbent.error)}; it is closer in {comparison.better:.1f} % of the resamples"
    )
    against = []
    if comparison.better < ENOUGH_BETTER:
        against.append(f"{beside}, where {ENOUGH_BETTER:.0f} % are due.")
    before = _guarded(incumbent)
    for guard, value in _guarded(challenger).items():
        if value is not None and _outside(guard, value) > _outside(guard, before[guard]):
            limits = GUARDS[guard]
            against.append(
                f"Its {guard} is {_figure(guard, value)}, outside {limits.low:g} to {limits.high:g}; "
                f"that of {name} is {_figure(guard, before[guard])}."
            )
    if challenger.refused > incumbent.refused:
        against.append(
            f"It has no price for {challenger.refused:.1f} % of the held-out houses, "
            f"{name} for {incumbent.refused:.1f} %."
        )
    return Verdict(not against, tuple(against) or (f"{beside}.",), comparison)


def is_same(version: ModelVersion, other: ModelVersion) -> bool:
    """Whether two versions have the same options, sales and files."""
    return (
        version.options == other.options
        and version.source.digest == other.source.digest
        and version.digests == other.digests
    )


def incomparable(version: ModelVersion, champion: ModelVersion) -> str | None:
    """The reason, from their manifests, why two versions cannot be compared; None if they may be."""
    if version.source.synthetic and not champion.source.synthetic:
        return f"Made-up sales say nothing about {champion.name}, which learned from real ones."
    if version.schema.names != champion.schema.names:
        return f"{champion.name} has other features: the two can be compared on no house."
    return None


def _loss(row: Valued) -> float:
    # the error of an estimate of 0 is large, and not infinite
    return abs(math.log(max(row.estimate, 0.01) / row.sale.price))


def _performance(rows: Sequence[Valued], losses: Sequence[float], given: int, sales: int) -> Performance:
    held = coverage(rows, 90)
    return Performance(
        error=math.fsum(losses) / len(losses),
        accuracy=measure(rows),
        coverage=held.share if held else None,
        refused=100 * (sales - given) / sales,
    )


def _guarded(performance: Performance) -> dict[str, float | None]:
    """The guarded measures, rounded as in messages: what looks the same is no worse."""
    measured = performance.accuracy
    prb = None if measured.prb is None else abs(measured.prb)
    figures = {"COD": measured.cod, "PRD": measured.prd, "|PRB|": prb, COVERAGE: performance.coverage}
    return {guard: None if value is None else round(value, GUARDS[guard].digits) for guard, value in figures.items()}


def _outside(guard: str, value: float | None) -> float:
    """The distance of a measure from its range. A version without intervals promises no coverage; the other measures
    are undefined only if every estimate is 0.
    """
    limits = GUARDS[guard]
    if value is None:
        return 0.0 if guard == COVERAGE else math.inf
    return round(max(limits.low - value, value - limits.high, 0.0), limits.digits)


def _figure(guard: str, value: float | None) -> str:
    return "not defined" if value is None else f"{value:.{GUARDS[guard].digits}f}"


def _percent(error: float) -> str:
    """A mean error of logarithms as a share of the price."""
    return f"{100 * math.expm1(error):.2f} %"
