"""The plots of how sure a version was, and of how sure it should have been."""

from __future__ import annotations

import math
from collections.abc import Sequence

from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation import tenths
from housepredict.domain.held_out import HeldOut, HeldOutSale
from housepredict.entrypoints.pages.charts import Axis, Figure, band, dots, drawn, horizontal, level, line, vertical
from housepredict.entrypoints.pages.markup import Markup
from housepredict.entrypoints.pages.numbers import number, percent

_NINETY_FIVE = 1.96  # standard deviations


def calibration_plots(kept: HeldOut, calibration: Calibration | None) -> Sequence[Markup]:
    """What can be drawn of the intervals of a version; nothing of one that gives none."""
    if calibration is None or calibration.within_80 is None:
        return ()
    level, within = (80, calibration.within_80) if calibration.within_90 is None else (90, calibration.within_90)
    return [actual_by_nominal(kept, calibration), coverage_by_estimate(kept, level, within)]


def coverage(sales: Sequence[HeldOutSale], within: float) -> float:
    """The share of the prices that lie in the intervals of a factor, in percent."""
    return 100 * sum(sale.within(within) for sale in sales) / len(sales)


def actual_by_nominal(kept: HeldOut, calibration: Calibration) -> Markup:
    """How many prices lie in intervals of 10, 20, … percent."""
    shares = [(10.0 * at, coverage(kept.sales, each)) for at, each in enumerate(calibration.within_tenths, start=1)]
    x, y = horizontal(0, 100), vertical(0, 100, 300)
    marks = [(at, number(at)) for at in range(0, 101, 20)]
    figure = Figure(
        "actual-by-nominal",
        "Coverage of the intervals, promised and actual",
        " ".join(
            f"Intervals of {percent(promised, 0)} hold {percent(actual)} of the prices." for promised, actual in shares
        ),
        "Each dot is a kind of interval: on the diagonal it holds as many of the held-out prices as it promises; below "
        f"it, fewer, and the model is surer than it may be. All {number(len(kept.sales))} sales count.",
        Axis(x, marks, "Promised (% of the prices)"),
        Axis(y, marks, "Actual (% of the prices)"),
    )
    places = [(x(promised), y(actual)) for promised, actual in shares]
    return drawn(
        figure, line([(x(0), y(0)), (x(100), y(100))], "reference"), line(places, "trend"), dots(places, "median", 4.5)
    )


def coverage_by_estimate(kept: HeldOut, promised: int, within: float) -> Markup:
    """How many prices lie in the widest intervals that there are, by tenths of the estimate."""
    groups = tenths(sorted(kept.sales, key=lambda sale: sale.estimate))
    shares = [coverage(group, within) for group in groups]
    luck = 100 * _NINETY_FIVE * math.sqrt(promised / 100 * (1 - promised / 100) / len(groups[0]))
    x = horizontal(0.5, len(groups) + 0.5)
    y = vertical(min(*shares, promised - luck, 60) - 2, 100)
    figure = Figure(
        "coverage-by-estimate",
        f"Coverage of the {percent(promised, 0)} intervals by estimate",
        f"Coverage by tenth of the estimate, lowest first: {', '.join(percent(share) for share in shares)}.",
        f"Each dot is a tenth of the sales, {number(len(groups[0]))} or so, from the lowest estimates to the highest; "
        f"inside the shaded band a difference from {percent(promised, 0)} may be luck, as it is 95 times in 100.",
        Axis(x, [(at, number(at)) for at in range(1, len(groups) + 1)], "Tenth of the sales by estimate"),
        Axis(y, [(at, number(at)) for at in range(0, 101, 10) if y.shows(at)], "Coverage (% of the prices)"),
    )
    places = [(x(at), y(share)) for at, share in enumerate(shares, start=1)]
    return drawn(
        figure,
        band(x, (y(promised - luck), y(promised + luck))),
        level(x, y(promised), "reference"),
        line(places, "trend"),
        dots(places, "median", 4.5),
    )
