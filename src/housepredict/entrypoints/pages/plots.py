"""Plots of held-out sales: prices, errors, coverage and the map."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from statistics import median, quantiles

from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation.held_out import HeldOut, HeldOutSale, sample, tenths
from housepredict.entrypoints.pages.charts import (
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    Figure,
    Scale,
    band,
    coloured,
    day_ticks,
    dots,
    drawn,
    horizontal,
    level,
    line,
    log_ticks,
    ticks,
    vertical,
)
from housepredict.entrypoints.pages.markup import Markup, alike, difference, month, number, percent, short, signed

MAX_DRAWN = 2000
"""Of more sales, a sample is drawn."""

SALE, MEDIAN = ("sale", "a sale"), ("median", "median of a tenth of the sales")
"""Entries of legends."""


def sale_plots(kept: HeldOut) -> Sequence[Markup]:
    """What can be drawn of estimates and prices; two dates of sale at least are needed for the one over time."""
    plots = [estimate_by_price(kept), ratio_by_price(kept)]
    if len({sale.sold_on for sale in kept.sales} - {None}) > 1:
        plots.append(error_over_time(kept))
    return plots


def estimate_by_price(kept: HeldOut) -> Markup:
    """Estimates against prices, both on logarithmic scales."""
    low, high = _around([sale.price for sale in kept.sales])
    x, y = horizontal(low, high, logarithmic=True), vertical(low, high, 300, logarithmic=True)
    figure = Figure(
        "estimate-by-price",
        "Estimate and sale price",
        f"Scatter plot of {number(len(kept.sales))} sales, priced from {number(min(s.price for s in kept.sales))} to "
        f"{number(max(s.price for s in kept.sales))}. Half of the estimates are off by less than "
        f"{percent(100 * median(abs(sale.ratio - 1) for sale in kept.sales))}.",
        "Each dot is a sale, on the diagonal if the estimate is the price, and above it if the estimate is too high. "
        + _drawn_of(kept, lambda sale: x.shows(sale.price) and y.shows(sale.estimate)),
        _money(x, "Sale price"),
        _money(y, "Estimate"),
    )
    places = [(x(sale.price), y(sale.estimate)) for sale in sample(kept.sales, MAX_DRAWN)]
    return drawn(figure, dots(places, "sale"), line([(x(low), y(low)), (x(high), y(high))], "reference"))


def ratio_by_price(kept: HeldOut) -> Markup:
    """Sales ratios by price, and their medians by tenths of the price."""
    x = horizontal(*_around([sale.price for sale in kept.sales]), logarithmic=True)
    ratios = [sale.ratio for sale in kept.sales]
    y = vertical(*central(ratios, 0.75, 1.25))
    groups = tenths(sorted(kept.sales, key=lambda sale: sale.price))
    medians = [(median(s.price for s in group), median(s.ratio for s in group)) for group in groups]
    figure = Figure(
        "ratio-by-price",
        "Sales ratio by sale price",
        "Median sales ratio by tenth of the sale price, cheapest first: "
        f"{', '.join(number(ratio, 3) for _, ratio in medians)}.",
        "Above 1 a house was estimated too high; the band, 0.90 to 1.10, is acceptable for the median of all, and the "
        "cheapest tenth lies high for any model, since some are cheap for having been sold below value. "
        + _drawn_of(kept, lambda sale: y.shows(sale.ratio)),
        _money(x, "Sale price"),
        Axis(y, [(at, number(at, 2)) for at in ticks(y.low, y.high)], "Sales ratio (estimate / price)"),
        (SALE, MEDIAN),
    )
    places = [(x(sale.price), y(sale.ratio)) for sale in sample(kept.sales, MAX_DRAWN)]
    return drawn(
        figure,
        band(x, (y(0.9), y(1.1))),
        dots(places, "sale"),
        level(x, y(1), "reference"),
        *trend([(x(price), y(ratio)) for price, ratio in medians]),
    )


def error_over_time(kept: HeldOut) -> Markup:
    """Errors in percent by the date of sale, and their medians by tenths of the time."""
    dated = [(sale.sold_on, 100 * (sale.ratio - 1)) for sale in kept.sales if sale.sold_on]
    days = [day for day, _ in dated]
    first, last = min(days), max(days)
    x = horizontal(first.toordinal(), last.toordinal())
    y = vertical(*central([error for _, error in dated], -25, 25))
    groups = tenths(sorted(dated, key=lambda each: each[0]))
    medians = [(median(d.toordinal() for d, _ in group), median(error for _, error in group)) for group in groups]
    figure = Figure(
        "error-over-time",
        "Error by date of sale",
        f"Median error by tenth of the sales in order of their dates, from {month(first)} to {month(last)}: "
        f"{', '.join(difference(error) for _, error in medians)}.",
        "Above 0 a house was estimated too high, and medians that fall say that the model lags a rising market. "
        + _drawn_of(kept, lambda sale: y.shows(100 * (sale.ratio - 1))),
        Axis(x, [(day.toordinal(), day_label(day, first, last)) for day in day_ticks(first, last, 5)], "Date of sale"),
        Axis(y, [(at, signed(at)) for at in ticks(y.low, y.high)], "Error (% of the sale price)"),
        (SALE, MEDIAN),
    )
    places = [(x(day.toordinal()), y(error)) for day, error in sample(dated, MAX_DRAWN)]
    return drawn(
        figure,
        dots(places, "sale"),
        level(x, y(0), "reference"),
        *trend([(x(day), y(error)) for day, error in medians]),
    )


def trend(places: Sequence[tuple[float, float]]) -> tuple[Markup, Markup]:
    """Medians, and a line through them."""
    return line(places, "trend"), dots(places, "median", radius=4.5)


def _around(values: Sequence[float]) -> tuple[float, float]:
    """A range above zero with some room around the values."""
    return min(values) / 1.1, max(values) * 1.1


def central(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """The range of all but the outermost hundredth at either end, and at least that from `low` to `high`."""
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else values
    return min(cuts[0], low), max(cuts[-1], high)


def _money(scale: Scale, title: str) -> Axis:
    unit, name = next(
        (each for each in ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands")) if scale.high >= 10 * each[0]),
        (1.0, "currency of the sales"),
    )
    return Axis(scale, [(at, short(at / unit)) for at in log_ticks(scale.low, scale.high)], f"{title} ({name})")


def day_label(day: date, first: date, last: date) -> str:
    """A day on an axis from the first to the last."""
    return month(day) if (last - first).days >= 90 else f"{day.day} {month(day)}"


def _drawn_of(kept: HeldOut, shown: Callable[[HeldOutSale], bool]) -> str:
    """What of the sales is drawn, and where."""
    chosen = sample(kept.sales, MAX_DRAWN)
    beyond = sum(not shown(sale) for sale in chosen)
    where = f", {number(beyond)} of them beyond the axes, at their edge" if beyond else ""
    return f"{how_many(len(chosen), kept.of)}{where}."


def how_many(chosen: int, of: int) -> str:
    """How many of the held-out sales are drawn."""
    some = f"All {number(of)}" if chosen == of else f"{number(chosen)} of {number(of)}"
    return f"{some} held-out sales are drawn"


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


_CUTS = (0.8, 0.9, 1.1, 1.25)
_CLASSES = (
    ("far-below", "under 0.80"),
    ("below", "to 0.90"),
    ("near", "to 1.10"),
    ("above", "to 1.25"),
    ("far-above", "over 1.25"),
)
_SHORTEST, _TALLEST = 200.0, 420.0


def ratio_on_map(kept: HeldOut) -> Markup | None:
    """Where the houses stand, coloured by their sales ratio; None if no place is known."""
    placed = [
        (s.longitude, s.latitude, s.ratio) for s in kept.sales if s.longitude is not None and s.latitude is not None
    ]
    if not placed:
        return None
    counts = Counter(bisect(_CUTS, ratio) for _, _, ratio in placed)
    (west, east), (south, north) = (_room([each[at] for each in placed]) for at in (0, 1))
    # a degree of longitude is shorter, the further from the equator
    shrunk = math.cos(math.radians(min(abs(south + north) / 2, 80.0)))
    width = WIDTH - LEFT - RIGHT
    height = min(max(width * (north - south) / ((east - west) * shrunk), _SHORTEST), _TALLEST)
    degree = min(height / (north - south), width / ((east - west) * shrunk))
    x = horizontal(*_centred(west, east, width / degree / shrunk))
    y = vertical(*_centred(south, north, height / degree), height)
    chosen = sample(placed, MAX_DRAWN)
    figure = Figure(
        "ratio-on-map",
        "Sales ratio on the map",
        "Of the sales, by their sales ratio: "
        + "; ".join(f"{percent(100 * counts[at] / len(placed))} {label}" for at, (_, label) in enumerate(_CLASSES))
        + ".",
        "Each dot is a sale, north above: blue houses were estimated too low, orange ones too high, and a patch of one "
        "colour is a neighbourhood that the model does not know well enough. "
        f"{how_many(len(chosen), kept.of)}.",
        Axis(x, alike(ticks(x.low, x.high)), "Longitude (degrees)"),
        Axis(y, alike(ticks(y.low, y.high)), "Latitude (degrees)"),
        _CLASSES,
    )
    return drawn(figure, coloured((x(east_), y(north_), _CLASSES[bisect(_CUTS, r)][0]) for east_, north_, r in chosen))


def _room(values: list[float]) -> tuple[float, float]:
    """The range of coordinates with some room, also around a single one."""
    room = max((max(values) - min(values)) * 0.03, 0.001)
    return min(values) - room, max(values) + room


def _centred(low: float, high: float, span: float) -> tuple[float, float]:
    return (low + high - span) / 2, (low + high + span) / 2
