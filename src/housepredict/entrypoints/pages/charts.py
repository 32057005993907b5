"""A plot as a figure: axes, what is drawn between them, and the words that go with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import accumulate, chain

from attrs import frozen

from housepredict.entrypoints.pages.markup import Markup, join, tag

_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000)


@frozen
class Scale:
    """Takes `low` to the place `start`, and `high`, which is above it, to `end`; what lies beyond, to the nearer end.

    Both are above zero where the scale is logarithmic.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value."""
        low, at, high = self.low, min(max(value, self.low), self.high), self.high
        if self.logarithmic:
            low, at, high = math.log(low), math.log(at), math.log(high)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def shows(self, value: float) -> bool:
        """Whether a value lies within the scale."""
        return self.low <= value <= self.high


def ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most so many: two at least if that is six or more."""
    rough = (high - low) / (most - 1)
    exponent = math.floor(math.log10(rough))
    step = next(factor * 10.0**exponent for factor in (1, 2, 5, 10) if factor * 10.0**exponent >= rough * (1 - 1e-9))
    # 1e-9: an end that is a tick but for its last bit is one
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, max(0, 1 - exponent)) for at in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """1, 2 and 5 times powers of ten, or fewer of them, at most so many; as on a linear scale where these are too far
    apart.
    """
    decades = [10.0**exponent for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    whole = [decade for decade in decades if low <= decade <= high]
    parts = [factor * decade for decade in decades for factor in (1, 2, 5) if low <= factor * decade <= high]
    if len(parts) > most and len(whole) > 2:
        return whole[:: math.ceil(len(whole) / most)]
    return parts if 2 < len(parts) <= most else ticks(low, high, most)


def day_ticks(first: date, last: date, most: int = 6) -> Sequence[date]:
    """Firsts of months, evenly apart, at most so many; days where the months are too few."""
    # months since the year 0; that of `first` counts only from its first day
    start, end = first.year * 12 + first.month - (first.day == 1), last.year * 12 + last.month - 1
    every = (range(math.ceil(start / step) * step, end + 1, step) for step in _MONTH_STEPS)
    months = next(each for each in every if len(each) <= most)
    if len(months) < 3 and (last - first).days < 200:
        days = ticks(first.toordinal(), last.toordinal(), most)
        return [date.fromordinal(int(day)) for day in days if day == int(day)]
    return [date(month // 12, month % 12 + 1, 1) for month in months]


WIDTH, LEFT, RIGHT, TOP, BOTTOM = 400.0, 46.0, 16.0, 30.0, 40.0
"""Of a plot and of its margins, in the units of its text's height: 12. It is drawn as wide as there is room."""

_LEGEND, _SWATCH, _LETTER = 22.0, 26.0, 6.5


@frozen
class Axis:
    """A scale, the values to mark on it with their labels, and what it shows, in which unit."""

    scale: Scale
    marks: Sequence[tuple[float, str]]
    title: str


@frozen
class Figure:
    """What there is to say about a plot: `name` is its id; `description` is for whoever does not see it, and `caption`
    tells how to read it. The legend has pairs of a class and what is drawn in it.
    """

    name: str
    title: str
    description: str
    caption: str
    x: Axis
    y: Axis
    legend: Sequence[tuple[str, str]] = ()


def horizontal(low: float, high: float, *, logarithmic: bool = False) -> Scale:
    """A scale from the left to the right."""
    return Scale(low, high, LEFT, WIDTH - RIGHT, logarithmic)


def vertical(low: float, high: float, height: float = 220.0, *, logarithmic: bool = False) -> Scale:
    """A scale from the bottom to the top; the height is that between the margins."""
    return Scale(low, high, TOP + height, TOP, logarithmic)


def drawn(figure: Figure, *marks: Markup) -> Markup:
    """The figure, with its marks in order on top of the axes' grid."""
    floor = figure.y.scale.start
    height = floor + BOTTOM + (_LEGEND if figure.legend else 0)
    title, description = f"{figure.name}-title", f"{figure.name}-description"
    picture = tag(
        "svg",
        tag("title", figure.title, id=title),
        tag("desc", figure.description, id=description),
        _grid(figure.x, figure.y),
        *marks,
        tag("text", figure.y.title, class_="axis", x=2, y=14),
        tag("text", figure.x.title, class_="axis end", x=WIDTH - RIGHT, y=floor + 35),
        _legend(figure.legend, height - 9),
        viewBox=f"0 0 {WIDTH:g} {height:.0f}",
        role="img",
        aria_labelledby=f"{title} {description}",
    )
    return tag("figure", tag("h3", figure.title), picture, tag("figcaption", figure.caption), id=figure.name)


def dots(places: Iterable[tuple[float, float]], class_: str, radius: float = 1.8) -> Markup:
    """A dot at each place."""
    return tag("g", *(tag("circle", cx=x, cy=y, r=radius) for x, y in places), class_=class_)


def coloured(places: Iterable[tuple[float, float, str]], radius: float = 1.8) -> Markup:
    """A dot at each place in a class of its own; later ones on top."""
    return tag("g", *(tag("circle", cx=x, cy=y, r=radius, class_=class_) for x, y, class_ in places))


def line(places: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A line through places."""
    return tag("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places), class_=class_)


def level(figure_x: Scale, place: float, class_: str) -> Markup:
    """A horizontal line at a place, through the whole plot."""
    return tag("line", x1=figure_x.start, x2=figure_x.end, y1=place, y2=place, class_=class_)


def band(figure_x: Scale, places: tuple[float, float]) -> Markup:
    """What lies between two heights, shaded."""
    top, bottom = min(places), max(places)
    return tag("rect", x=figure_x.start, y=top, width=figure_x.end - figure_x.start, height=bottom - top, class_="band")


def _grid(x: Axis, y: Axis) -> Markup:
    columns = ((x.scale(value), label) for value, label in x.marks)
    rows = ((y.scale(value), label) for value, label in y.marks)
    bottom, top, left, right = y.scale.start, y.scale.end, x.scale.start, x.scale.end
    vertical_ones = (
        join(
            tag("line", x1=at, x2=at, y1=bottom, y2=top, class_="grid"),
            tag("text", label, x=at, y=bottom + 16, class_="middle"),
        )
        for at, label in columns
    )
    horizontal_ones = (
        join(
            tag("line", x1=left, x2=right, y1=at, y2=at, class_="grid"),
            tag("text", label, x=left - 6, y=at + 4, class_="end"),
        )
        for at, label in rows
    )
    return tag("g", *chain(vertical_ones, horizontal_ones))


def _legend(entries: Sequence[tuple[str, str]], height: float) -> Markup | None:
    """Entries in a row, each with room for its label."""
    if not entries:
        return None
    starts = accumulate((_SWATCH + _LETTER * len(label) for _, label in entries), initial=2.0)
    return tag(
        "g",
        *(
            join(
                tag("circle", cx=start + 4, cy=height - 4, r=4, class_=class_),
                tag("text", label, x=start + 12, y=height),
            )
            for start, (class_, label) in zip(starts, entries, strict=False)
        ),
    )
