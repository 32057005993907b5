"""SVG plots of held-out and recorded sales, and the scales, axes and figures that the plots consist of."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import accumulate
from statistics import median, quantiles

from attrs import frozen

from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation.held_out import HeldOut, HeldOutSale, sample, tenths
from housepredict.entrypoints.measure_labels import counted
from housepredict.entrypoints.pages.markup import (
    Markup,
    alike,
    day,
    difference,
    join,
    month,
    number,
    percent,
    short,
    signed,
    tag,
)

_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000)


@frozen
class Scale:
    """A scale that maps values from `low` to `high` (low < high) to positions from `start` to `end`.

    Values outside this range are mapped to the nearer end. A logarithmic scale requires values above 0.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the position of a value."""
        low, at, high = self.low, min(max(value, self.low), self.high), self.high
        if self.logarithmic:
            low, at, high = math.log(low), math.log(at), math.log(high)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def shows(self, value: float) -> bool:
        """Return whether a value is within the range of the scale."""
        return self.low <= value <= self.high


def ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Return evenly spaced ticks from `low` to `high`, at steps of 1, 2 or 5 times a power of ten.

    The number of ticks is at most `most`. If `most` is 6 or more, there are at least two ticks.
    """
    rough = (high - low) / (most - 1)
    exponent = math.floor(math.log10(rough))
    step = next(factor * 10.0**exponent for factor in (1, 2, 5, 10) if factor * 10.0**exponent >= rough * (1 - 1e-9))
    # 1e-9 keeps a tick at either end despite rounding errors.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, max(0, 1 - exponent)) for at in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Return at most `most` ticks for a logarithmic scale: 1, 2 and 5 times powers of ten.

    If these are too many, return powers of ten. For a narrow range, return evenly spaced ticks.
    """
    decades = [10.0**exponent for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    powers = [decade for decade in decades if low <= decade <= high]
    parts = [factor * decade for decade in decades for factor in (1, 2, 5) if low <= factor * decade <= high]
    if len(parts) > most and len(powers) > 2:
        return powers[:: math.ceil(len(powers) / most)]
    return parts if 2 < len(parts) <= most else ticks(low, high, most)


def day_ticks(first: date, last: date, most: int = 6) -> Sequence[date]:
    """Return at most `most` evenly spaced days for ticks: first days of months, or any days if the range is short."""
    # Months are counted from year 0. The first month gets a tick only if `first` is the first day of the month.
    start, end = first.year * 12 + first.month - (first.day == 1), last.year * 12 + last.month - 1
    candidates = (range(math.ceil(start / step) * step, end + 1, step) for step in _MONTH_STEPS)
    months = next(steps for steps in candidates if len(steps) <= most)
    if len(months) < 3 and (last - first).days < 200:
        days = ticks(first.toordinal(), last.toordinal(), most)
        return [date.fromordinal(int(day)) for day in days if day == int(day)]
    return [date(month // 12, month % 12 + 1, 1) for month in months]


WIDTH, LEFT, RIGHT, TOP, BOTTOM = 400.0, 46.0, 16.0, 30.0, 40.0
"""The width and margins of a plot in SVG units. Text is 12 units high. A plot fills the width of its container."""

_LEGEND_HEIGHT, _SWATCH_WIDTH, _LETTER_WIDTH = 22.0, 26.0, 6.5

Point = tuple[float, float]


def horizontal(low: float, high: float, *, logarithmic: bool = False) -> Scale:
    """Return a scale for the x axis, from left to right."""
    return Scale(low, high, LEFT, WIDTH - RIGHT, logarithmic)


def vertical(low: float, high: float, height: float = 220.0, *, logarithmic: bool = False) -> Scale:
    """Return a scale for the y axis, from bottom to top. `height` is the height between the margins."""
    return Scale(low, high, TOP + height, TOP, logarithmic)


@frozen
class Axis:
    """A scale with a title that includes the unit. `marks` are pairs of a value on the scale and its label."""

    scale: Scale
    marks: Sequence[tuple[float, str]]
    title: str


@frozen
class Figure:
    """The axes and text of a plot, with methods that draw values as SVG elements (such as dots and lines).

    `name` is the HTML id, `description` is the text for screen readers, and `caption` explains how to read the plot.
    `legend` contains pairs of a CSS class and its label.
    """

    name: str
    title: str
    description: str
    caption: str
    x: Axis
    y: Axis
    legend: Sequence[tuple[str, str]] = ()

    def drawn(self, *marks: Markup | None) -> Markup:
        """Return the figure as HTML, with `marks` (SVG elements) drawn over its grid in the given order."""
        floor = self.y.scale.start
        height = floor + BOTTOM + (_LEGEND_HEIGHT if self.legend else 0)
        title, description = f"{self.name}-title", f"{self.name}-description"
        picture = tag(
            "svg",
            tag("title", self.title, id=title),
            tag("desc", self.description, id=description),
            self._grid(),
            *marks,
            tag("text", self.y.title, class_="axis", x=2, y=14),
            tag("text", self.x.title, class_="axis end", x=WIDTH - RIGHT, y=floor + 35),
            self._legend(height - 9) if self.legend else None,
            viewBox=f"0 0 {WIDTH:g} {height:.0f}",
            role="img",
            aria_labelledby=f"{title} {description}",
        )
        return tag("figure", tag("h3", self.title), picture, tag("figcaption", self.caption), id=self.name)

    def dots(self, points: Iterable[Point], class_: str, radius: float = 1.8) -> Markup:
        """Return a dot for each point. `class_` is the CSS class of the dots."""
        return tag("g", *(tag("circle", cx=x, cy=y, r=radius) for x, y in self._places(points)), class_=class_)

    def line(self, points: Iterable[Point], class_: str) -> Markup:
        """Return a line through the points. `class_` is its CSS class."""
        return tag("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in self._places(points)), class_=class_)

    def trend(self, points: Sequence[Point]) -> Markup:
        """Return large dots joined by a line."""
        return join(self.line(points, "trend"), self.dots(points, "median", 4.5))

    def level(self, value: float) -> Markup:
        """Return a horizontal reference line across the plot, at a value of the y axis."""
        x, at = self.x.scale, self.y.scale(value)
        return tag("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="reference")

    def band(self, low: float, high: float) -> Markup:
        """Return a shaded band across the plot, between two values of the y axis."""
        x, bottom, top = self.x.scale, self.y.scale(low), self.y.scale(high)
        return tag("rect", x=x.start, y=top, width=x.end - x.start, height=bottom - top, class_="band")

    def _places(self, points: Iterable[Point]) -> Iterable[Point]:
        return ((self.x.scale(x), self.y.scale(y)) for x, y in points)

    def _grid(self) -> Markup:
        x, y = self.x.scale, self.y.scale
        lines = []
        for value, label in self.x.marks:
            at = x(value)
            lines.append(tag("line", x1=at, x2=at, y1=y.start, y2=y.end, class_="grid"))
            lines.append(tag("text", label, x=at, y=y.start + 16, class_="middle"))
        for value, label in self.y.marks:
            at = y(value)
            lines.append(tag("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid"))
            lines.append(tag("text", label, x=x.start - 6, y=at + 4, class_="end"))
        return tag("g", *lines)

    def _legend(self, height: float) -> Markup:
        """Return the legend, with its entries in a row."""
        starts = accumulate((_SWATCH_WIDTH + _LETTER_WIDTH * len(label) for _, label in self.legend), initial=2.0)
        entries = []
        for start, (class_, label) in zip(starts, self.legend, strict=False):
            entries.append(tag("circle", cx=start + 4, cy=height - 4, r=4, class_=class_))
            entries.append(tag("text", label, x=start + 12, y=height))
        return tag("g", *entries)


MAX_DRAWN = 2000
"""Maximum number of sales in a plot. If there are more, only a sample is drawn."""

_SALES_LEGEND = (("sale", "sale"), ("median", "median of a tenth of the sales"))
_MIN_FOR_MEDIANS = 20  # With fewer recorded sales, a tenth could be a single sale.


def sale_plots(held_out: HeldOut) -> Sequence[Markup]:
    """Return the plots that compare estimates with prices. The plot over time requires at least two sale dates."""
    plots = [_estimate_by_price(held_out), _ratio_by_price(held_out)]
    if len({sale.sold_on for sale in held_out.sales} - {None}) > 1:
        plots.append(_error_over_time(held_out))
    return plots


def _estimate_by_price(held_out: HeldOut) -> Markup:
    prices = [sale.price for sale in held_out.sales]
    low, high = _padded(prices)
    x, y = horizontal(low, high, logarithmic=True), vertical(low, high, 300, logarithmic=True)
    points = [(sale.price, sale.estimate) for sale in sample(held_out.sales, MAX_DRAWN)]
    figure = Figure(
        "estimate-by-price",
        "Estimate and sale price",
        f"Scatter plot of {number(len(prices))} sales, priced from {number(min(prices))} to {number(max(prices))}. "
        "Half of the estimates are off by less than "
        f"{percent(100 * median(abs(sale.ratio - 1) for sale in held_out.sales))}.",
        "Each dot is a sale. It is on the diagonal if the estimate equals the price, and above if the estimate is too "
        "high. " + _drawn_note(points, y, held_out.of, "held-out sales"),
        _price_axis(x, "Sale price"),
        _price_axis(y, "Estimate"),
    )
    return figure.drawn(figure.dots(points, "sale"), figure.line([(low, low), (high, high)], "reference"))


def _ratio_by_price(held_out: HeldOut) -> Markup:
    y = vertical(*_central([sale.ratio for sale in held_out.sales], 0.75, 1.25))
    ordered = [(sale.price, sale.ratio) for sale in sorted(held_out.sales, key=lambda sale: sale.price)]
    medians = _medians(ordered)
    points = [(sale.price, sale.ratio) for sale in sample(held_out.sales, MAX_DRAWN)]
    figure = Figure(
        "ratio-by-price",
        "Sales ratio by sale price",
        "Median sales ratio by tenth of the sales, cheapest first: "
        f"{', '.join(number(ratio, 3) for _, ratio in medians)}.",
        "A ratio above 1 means that a house was overvalued. The band, from 0.90 to 1.10, is the acceptable range for "
        "the median of all sales. The cheapest tenth has high ratios with any model, because some houses are sold "
        "below their value. " + _drawn_note(points, y, held_out.of, "held-out sales"),
        _price_axis(horizontal(*_padded([price for price, _ in ordered]), logarithmic=True), "Sale price"),
        _ratio_axis(y),
        _SALES_LEGEND,
    )
    return figure.drawn(figure.band(0.9, 1.1), figure.dots(points, "sale"), figure.level(1), figure.trend(medians))


def _error_over_time(held_out: HeldOut) -> Markup:
    dated = [(float(sale.sold_on.toordinal()), 100 * (sale.ratio - 1)) for sale in held_out.sales if sale.sold_on]
    ordered = sorted(dated, key=lambda point: point[0])
    first, last = (date.fromordinal(int(ordered[at][0])) for at in (0, -1))
    y = vertical(*_central([error for _, error in dated], -25, 25))
    medians = _medians(ordered)
    figure = Figure(
        "error-over-time",
        "Error by sale date",
        f"Median error by tenth of the sales, in order of sale date from {month(first)} to {month(last)}: "
        f"{', '.join(difference(error) for _, error in medians)}.",
        "An error above 0 means that a house was overvalued. Falling medians mean that the model lags behind a rising "
        "market. "
        + _drawn_note(
            [(0.0, 100 * (sale.ratio - 1)) for sale in sample(held_out.sales, MAX_DRAWN)],
            y,
            held_out.of,
            "held-out sales",
        ),
        _date_axis(first, last),
        Axis(y, [(at, signed(at)) for at in ticks(y.low, y.high)], "Error (% of the sale price)"),
        _SALES_LEGEND,
    )
    return figure.drawn(figure.dots(sample(dated, MAX_DRAWN), "sale"), figure.level(0), figure.trend(medians))


def ratio_over_time(sold: Sequence[tuple[date, float]]) -> Markup:
    """Plot sales ratios by sale date, with medians if there are enough sales.

    Args:
        sold: pairs of sale date and sales ratio, ordered by date.
    """
    first, last = sold[0][0], sold[-1][0]
    span = span_text(first, last)
    if first == last:  # A scale needs two different ends.
        first, last = first - timedelta(1), last + timedelta(1)
    ratios = [ratio for _, ratio in sold]
    y = vertical(*_central(ratios, 0.75, 1.25))
    points = [(float(on.toordinal()), ratio) for on, ratio in sold]
    medians = _medians(points) if len(sold) >= _MIN_FOR_MEDIANS else ()
    drawn = sample(points, MAX_DRAWN)
    figure = Figure(
        "ratio-over-time",
        "Sales ratio by sale date",
        f"Scatter plot of {counted(len(sold), 'sale')}, {span}. Median ratio: {number(median(ratios), 3)}."
        + (
            f" Medians by tenth, in order of sale date: {', '.join(number(ratio, 3) for _, ratio in medians)}."
            if medians
            else ""
        ),
        "A ratio above 1 means that the estimate was higher than the sale price. The band, from 0.90 to 1.10, is the "
        "acceptable range for the median of all sales. Falling ratios mean that the market has risen since the model "
        "was trained. " + _drawn_note(drawn, y, len(sold), "sales"),
        _date_axis(first, last),
        _ratio_axis(y),
        _SALES_LEGEND if medians else (),
    )
    return figure.drawn(
        figure.band(0.9, 1.1),
        figure.dots(drawn, "sale"),
        figure.level(1),
        figure.trend(medians) if medians else None,
    )


def span_text(first: date, last: date) -> str:
    """Format a range of days, such as `from June 3, 2025 to July 1, 2025`, or `on June 3, 2025` for a single day."""
    return f"on {day(first)}" if first == last else f"from {day(first)} to {day(last)}"


def _medians(points: Sequence[Point]) -> Sequence[Point]:
    """Divide the points, in their order, into tenths. Return the median x and the median y of each tenth."""
    return [(median(x for x, _ in group), median(y for _, y in group)) for group in tenths(points)]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of the values, with a margin of 10% at both ends. The values must be positive."""
    return min(values) / 1.1, max(values) * 1.1


def _central(values: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Return the range from the 1st to the 99th percentile of the values, extended to include `low` and `high`."""
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else values
    return min(cuts[0], low), max(cuts[-1], high)


def _price_axis(scale: Scale, title: str) -> Axis:
    unit, name = next(
        (unit for unit in ((1e9, "billions"), (1e6, "millions"), (1e3, "thousands")) if scale.high >= 10 * unit[0]),
        (1.0, "currency of the sales"),
    )
    return Axis(scale, [(at, short(at / unit)) for at in log_ticks(scale.low, scale.high)], f"{title} ({name})")


def _ratio_axis(scale: Scale) -> Axis:
    return Axis(scale, [(at, number(at, 2)) for at in ticks(scale.low, scale.high)], "Sales ratio (estimate / price)")


def _date_axis(first: date, last: date) -> Axis:
    labels = [
        (at.toordinal(), month(at) if (last - first).days >= 90 else f"{at:%b} {at.day}, {at.year}")
        for at in day_ticks(first, last, 5)
    ]
    return Axis(horizontal(first.toordinal(), last.toordinal()), labels, "Sale date")


def _drawn_note(points: Sequence[Point], y: Scale, of: int, sales: str) -> str:
    """Return a note that says how many sales are drawn, and how many of the drawn sales are outside the y axis.

    `points` are the drawn sales, `of` is the number of all sales, and `sales` is the noun for them, such as "held-out
    sales".
    """
    outside = sum(not y.shows(value) for _, value in points)
    where = f", including {number(outside)} outside the axes, drawn at the edge" if outside else ""
    return f"Shown: {_count_note(len(points), of)} {sales}{where}."


def _count_note(drawn: int, of: int) -> str:
    return f"all {number(of)}" if drawn == of else f"{number(drawn)} of {number(of)}"


_NINETY_FIVE = 1.96  # standard deviations


def calibration_plots(held_out: HeldOut, calibration: Calibration | None) -> Sequence[Markup]:
    """Return the plots of the coverage of a version's intervals, or an empty sequence if it has no intervals."""
    if calibration is None or calibration.within_80 is None:
        return ()
    level, within = (80, calibration.within_80) if calibration.within_90 is None else (90, calibration.within_90)
    return [_actual_by_nominal(held_out, calibration), _coverage_by_estimate(held_out, level, within)]


def coverage(sales: Sequence[HeldOutSale], within: float) -> float:
    """Return the percentage of sales priced at most `within` spreads from the estimate (see HeldOutSale.within)."""
    return 100 * sum(sale.within(within) for sale in sales) / len(sales)


def _actual_by_nominal(held_out: HeldOut, calibration: Calibration) -> Markup:
    """Plot the actual coverage of the 10%, 20%, … intervals against their nominal coverage."""
    shares = [
        (10.0 * at, coverage(held_out.sales, within)) for at, within in enumerate(calibration.within_tenths, start=1)
    ]
    marks = [(at, number(at)) for at in range(0, 101, 20)]
    figure = Figure(
        "actual-by-nominal",
        "Actual and nominal coverage",
        " ".join(f"{percent(nominal, 0)} interval: covered {percent(actual)}." for nominal, actual in shares),
        "Each dot is an interval level. On the diagonal, the actual coverage equals the nominal coverage. Below the "
        f"diagonal, the intervals are too narrow. Based on {counted(len(held_out.sales), 'held-out sale')}.",
        Axis(horizontal(0, 100), marks, "Interval level (%)"),
        Axis(vertical(0, 100, 300), marks, "Sale prices inside their interval (%)"),
    )
    return figure.drawn(figure.line([(0, 0), (100, 100)], "reference"), figure.trend(shares))


def _coverage_by_estimate(held_out: HeldOut, nominal: int, within: float) -> Markup:
    """Plot the coverage of a version's widest intervals for each tenth of the sales, ordered by estimate.

    `nominal` is the intervals' nominal coverage in percent. `within` is their half-width in spreads (see
    HeldOutSale.within).
    """
    groups = tenths(sorted(held_out.sales, key=lambda sale: sale.estimate))
    shares = [coverage(group, within) for group in groups]
    chance = 100 * _NINETY_FIVE * math.sqrt(nominal / 100 * (1 - nominal / 100) / len(groups[0]))
    y = vertical(min(*shares, nominal - chance, 60) - 2, 100)
    figure = Figure(
        "coverage-by-estimate",
        f"Coverage of the {nominal}% intervals by estimate",
        f"Coverage by tenth of the sales, lowest estimates first: {', '.join(percent(share) for share in shares)}.",
        f"Each dot is a tenth of the sales (about {number(len(groups[0]))}), from the lowest estimates to the highest. "
        f"Differences from {nominal}% inside the band can be due to chance (95% probability).",
        Axis(
            horizontal(0.5, len(groups) + 0.5),
            [(at, number(at)) for at in range(1, len(groups) + 1)],
            "Tenth of the sales by estimate",
        ),
        Axis(y, [(at, number(at)) for at in range(0, 101, 10) if y.shows(at)], "Coverage (% of the sale prices)"),
    )
    return figure.drawn(
        figure.band(nominal - chance, nominal + chance),
        figure.level(nominal),
        figure.trend([(float(at), share) for at, share in enumerate(shares, start=1)]),
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


def ratio_on_map(held_out: HeldOut) -> Markup | None:
    """Plot the houses on a map, colored by sales ratio. Return None if no house has coordinates."""
    placed = [
        (sale.longitude, sale.latitude, bisect(_CUTS, sale.ratio))
        for sale in held_out.sales
        if sale.longitude is not None and sale.latitude is not None
    ]
    if not placed:
        return None
    counts = Counter(color for _, _, color in placed)
    west, east = _with_room([longitude for longitude, _, _ in placed])
    south, north = _with_room([latitude for _, latitude, _ in placed])
    # A degree of longitude is shorter at higher latitudes.
    shrunk = math.cos(math.radians(min(abs(south + north) / 2, 80.0)))
    width = WIDTH - LEFT - RIGHT
    height = min(max(width * (north - south) / ((east - west) * shrunk), _SHORTEST), _TALLEST)
    degree = min(height / (north - south), width / ((east - west) * shrunk))
    x = horizontal(*_centered(west, east, width / degree / shrunk))
    y = vertical(*_centered(south, north, height / degree), height)
    drawn = sample(placed, MAX_DRAWN)
    figure = Figure(
        "ratio-on-map",
        "Map of sales ratios",
        "Share of the sales by sales ratio: "
        + "; ".join(f"{percent(100 * counts[at] / len(placed))} {label}" for at, (_, label) in enumerate(_CLASSES))
        + ".",
        "Each dot is a sale. North is at the top. Blue houses were undervalued, and orange houses were overvalued. A "
        "cluster of one color is a neighborhood that the model doesn't know well enough. "
        f"Shown: {_count_note(len(drawn), held_out.of)} held-out sales.",
        Axis(x, alike(ticks(x.low, x.high)), "Longitude (degrees)"),
        Axis(y, alike(ticks(y.low, y.high)), "Latitude (degrees)"),
        _CLASSES,
    )
    dots = (
        tag("circle", cx=x(longitude), cy=y(latitude), r=1.8, class_=_CLASSES[color][0])
        for longitude, latitude, color in drawn
    )
    return figure.drawn(tag("g", *dots))


def _with_room(values: list[float]) -> tuple[float, float]:
    """Return the range of the coordinates, with a margin at both ends. Even a single coordinate gets a margin."""
    room = max((max(values) - min(values)) * 0.03, 0.001)
    return min(values) - room, max(values) + room


def _centered(low: float, high: float, span: float) -> tuple[float, float]:
    return (low + high - span) / 2, (low + high + span) / 2
