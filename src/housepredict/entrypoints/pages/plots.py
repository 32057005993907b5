"""The plots of what a version said of its held-out sales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from statistics import median, quantiles

from housepredict.domain.evaluation import tenths
from housepredict.domain.held_out import HeldOut, HeldOutSale, sample
from housepredict.entrypoints.pages.charts import Axis, Figure, band, dots, drawn, horizontal, level, line, vertical
from housepredict.entrypoints.pages.markup import Markup
from housepredict.entrypoints.pages.numbers import difference, month, number, percent, short, signed
from housepredict.entrypoints.pages.scales import Scale, day_ticks, log_ticks, ticks

MOST_DRAWN = 2000
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
    places = [(x(sale.price), y(sale.estimate)) for sale in sample(kept.sales, MOST_DRAWN)]
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
    places = [(x(sale.price), y(sale.ratio)) for sale in sample(kept.sales, MOST_DRAWN)]
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
    places = [(x(day.toordinal()), y(error)) for day, error in sample(dated, MOST_DRAWN)]
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
    chosen = sample(kept.sales, MOST_DRAWN)
    beyond = sum(not shown(sale) for sale in chosen)
    where = f", {number(beyond)} of them beyond the axes, at their edge" if beyond else ""
    return f"{how_many(len(chosen), kept.of)}{where}."


def how_many(chosen: int, of: int) -> str:
    """How many of the held-out sales are drawn."""
    some = f"All {number(of)}" if chosen == of else f"{number(chosen)} of {number(of)}"
    return f"{some} held-out sales are drawn"
