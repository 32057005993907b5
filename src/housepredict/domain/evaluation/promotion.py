"""The promotion rule, which decides whether a new version (challenger) replaces the promoted version (champion)."""

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
from housepredict.domain.validation import counted

MIN_SHARE_BETTER = 95.0
"""Minimum percentage of resamples in which the challenger must have a smaller error than the champion."""

COVERAGE = "Coverage of the 90% intervals"
GUARDS = {
    "COD": RANGES["cod"],
    "PRD": RANGES["prd"],
    "Absolute PRB": evolve(RANGES["prb"], low=0.0),
    COVERAGE: Range(COVERAGE, 85.0, 95.0, 1, "the promotion rule"),
}
"""Guards: the acceptable ranges of measures that can block a promotion.

Each of these measures must either be in range, or be no farther out of range than the champion's.
"""

MIN_HELD_OUT = 20
"""Minimum number of held-out sales needed to promote a version if there is no champion."""

COD_LIMIT = 100.0
"""The COD of a version promoted without a champion must be below this limit. At 100, errors are as large as prices."""


class PromotionPolicy(StrEnum):
    """Whether to promote a new version: `always`, `never`, or `if-better` (if the promotion rule allows it)."""

    ALWAYS = "always"
    IF_BETTER = "if-better"
    NEVER = "never"


def compare(challenger: Sequence[Valued], champion: Predictor, sales: Sequence[Sale]) -> Comparison | None:
    """Compare a challenger with the champion on the held-out sales that both can estimate.

    Args:
        challenger: the held-out sales with the challenger's estimates.
        champion: the champion.
        sales: all held-out sales. `challenger` must contain these same objects and not copies, because sales are
            matched by object identity.

    Returns:
        The comparison, or None if there is no sale that both can estimate.
    """
    schema = champion.version.schema
    valid = [sale for sale in sales if not schema.violations(sale.house.values)]
    if not valid:
        return None
    incumbent = valued(
        valid, champion.predict([schema.house(sale.house.values) for sale in valid]), champion.version.calibration
    )
    # Sales are matched by object identity because two sales may be equal.
    theirs, ours = {id(row.sale): row for row in incumbent}, {id(row.sale): row for row in challenger}
    both = [(ours[key], theirs[key]) for key in map(id, sales) if key in ours and key in theirs]
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


def judge_without_champion(why: str, evaluated: Accuracy, rows: Sequence[Valued], training: Sequence[Sale]) -> Verdict:
    """Decide whether to promote a version if there is no champion to compare it with.

    The version must meet minimum requirements. One is that its error is smaller than the error of estimating the median
    training price for every house. A model that can't beat this constant is useless.

    Args:
        why: the reason why there is no champion, as a sentence.
        evaluated: the version's accuracy on `rows`.
        rows: the held-out sales with the version's estimates.
        training: the training sales.
    """
    failures = []
    if evaluated.n < MIN_HELD_OUT:
        failures.append(
            f"Only {counted(evaluated.n, 'held-out sale')}; promoting a version without a champion requires at least "
            f"{MIN_HELD_OUT}."
        )
    measures = {name: value for name, value in asdict(evaluated).items() if value is not None}
    if infinite := [name for name, value in measures.items() if not math.isfinite(value)]:
        failures.append(f"Some measures are not finite: {', '.join(infinite)}.")
    if evaluated.cod is None or not evaluated.cod < COD_LIMIT:
        cod = "not defined" if evaluated.cod is None else f"{evaluated.cod:,.1f}"
        failures.append(f"COD: {cod}, must be below {COD_LIMIT:.0f}.")
    typical = median(sale.price for sale in training)
    error = fmean(_loss(row) for row in rows)
    constant = fmean(_loss(evolve(row, estimate=typical)) for row in rows)
    if not error < constant:
        failures.append(
            f"Mean error: {_percent(error, 1)}, must be below {_percent(constant, 1)}, the error of estimating the "
            f"median training price ({typical:,.0f}) for every house."
        )
    if not failures:
        return Verdict(promoted=True, reasons=(why,))
    anyway = (
        "The version is stored. To use it anyway, promote it by name, or train with the policy "
        f"`{PromotionPolicy.ALWAYS}`."
    )
    return Verdict(promoted=False, reasons=(why, *failures, anyway))


def judge(comparison: Comparison) -> Verdict:
    """Decide whether to promote the challenger in a comparison.

    The challenger must be significantly more accurate than the champion, estimate at least as many of the held-out
    houses, and pass all guards (see GUARDS).
    """
    challenger, incumbent, name = comparison.challenger, comparison.incumbent, comparison.champion
    result = (
        f"Mean error on {counted(comparison.sales, 'held-out sale')}: {_percent(challenger.error)}, against "
        f"{_percent(incumbent.error)} for {name}; smaller in {comparison.better:.1f}% of the resamples"
    )
    failures = []
    if comparison.better < MIN_SHARE_BETTER:
        failures.append(f"{result}, must be at least {MIN_SHARE_BETTER:.0f}%.")
    before = _guarded(incumbent)
    for guard, value in _guarded(challenger).items():
        if value is not None and _outside(guard, value) > _outside(guard, before[guard]):
            limits = GUARDS[guard]
            failures.append(
                f"{guard}: {_figure(guard, value)}, against {_figure(guard, before[guard])} for {name}; "
                f"must be {limits.low:g} to {limits.high:g}, or no worse."
            )
    if challenger.refused > incumbent.refused:
        failures.append(
            f"Held-out houses not estimated: {challenger.refused:.1f}%, against {incumbent.refused:.1f}% for {name}."
        )
    return Verdict(not failures, tuple(failures) or (f"{result}.",), comparison)


def is_same(version: ModelVersion, other: ModelVersion) -> bool:
    """Return whether two versions have the same training options, the same sales and the same artifact files."""
    return (
        version.options == other.options
        and version.source.digest == other.source.digest
        and version.digests == other.digests
    )


def incomparable(version: ModelVersion, champion: ModelVersion) -> str | None:
    """Return why two versions can't be compared, as a sentence, or None if their manifests show no obstacle."""
    if version.source.synthetic and not champion.source.synthetic:
        return f"Not comparable with {champion.name}: it was trained on real sales, this version on synthetic ones."
    if version.schema.names != champion.schema.names:
        return f"Not comparable with {champion.name}: it has different features."
    return None


def _loss(row: Valued) -> float:
    # 0.01 avoids an infinite loss for an estimate of 0.
    return abs(math.log(max(row.estimate, 0.01) / row.sale.price))


def _performance(rows: Sequence[Valued], losses: Sequence[float], estimated: int, sales: int) -> Performance:
    covered = coverage(rows, 90)
    return Performance(
        error=math.fsum(losses) / len(losses),
        accuracy=measure(rows),
        coverage=covered.share if covered else None,
        refused=100 * (sales - estimated) / sales,
    )


def _guarded(performance: Performance) -> dict[str, float | None]:
    """Return a model's value for each measure in GUARDS, rounded as in messages.

    Without rounding, the values of two models might look the same in a message but be treated as different.
    """
    measured = performance.accuracy
    prb = None if measured.prb is None else abs(measured.prb)
    figures = {"COD": measured.cod, "PRD": measured.prd, "Absolute PRB": prb, COVERAGE: performance.coverage}
    return {guard: None if value is None else round(value, GUARDS[guard].digits) for guard, value in figures.items()}


def _outside(guard: str, value: float | None) -> float:
    """Return how far the value of a measure is outside its range in GUARDS, or 0 if it is in range.

    The coverage of a version without intervals is undefined (None) and counts as in range. Other measures are undefined
    only if every estimate is 0, and then count as infinitely far out of range.
    """
    limits = GUARDS[guard]
    if value is None:
        return 0.0 if guard == COVERAGE else math.inf
    return round(max(limits.low - value, value - limits.high, 0.0), limits.digits)


def _figure(guard: str, value: float | None) -> str:
    return "not defined" if value is None else f"{value:.{GUARDS[guard].digits}f}"


def _percent(error: float, digits: int = 2) -> str:
    """Format a mean log error as a percentage of the price. `digits` is the number of decimals."""
    return f"{100 * math.expm1(error):,.{digits}f}%"
