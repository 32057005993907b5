"""A plot as a figure: axes, the marks drawn between them, a title, a description and a caption."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import accumulate

from attrs import frozen

from housepredict.entrypoints.pages.markup import Markup, join, tag

_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12000, 24000)


@frozen
class Scale:
    """Maps the values from `low` to `high`, which is higher, to the places from `start` to `end`, and values beyond to
    the nearer end. A logarithmic scale needs values above 0.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        low, at, high = self.low, min(max(value, self.low), self.high), self.high
        if self.logarithmic:
            low, at, high = math.log(low), math.log(at), math.log(high)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def shows(self, value: float) -> bool:
        """Return whether a value lies within the scale."""
        return self.low <= value <= self.high


def ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Return at most `most` multiples of 1, 2 or 5 times a power of ten; at least two if `most` is 6 or more."""
    rough = (high - low) / (most - 1)
    exponent = math.floor(math.log10(rough))
    step = next(factor * 10.0**exponent for factor in (1, 2, 5, 10) if factor * 10.0**exponent >= rough * (1 - 1e-9))
    # 1e-9: an end that is a tick but for its last bit is one
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, max(0, 1 - exponent)) for at in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Return at most `most` of 1, 2 and 5 times powers of ten; linear ticks where these are too sparse."""
    decades = [10.0**exponent for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    whole = [decade for decade in decades if low <= decade <= high]
    parts = [factor * decade for decade in decades for factor in (1, 2, 5) if low <= factor * decade <= high]
    if len(parts) > most and len(whole) > 2:
        return whole[:: math.ceil(len(whole) / most)]
    return parts if 2 < len(parts) <= most else ticks(low, high, most)


def day_ticks(first: date, last: date, most: int = 6) -> Sequence[date]:
    """Return at most `most` evenly spaced first days of months; single days for a range of a few months."""
    # months since the year 0; that of `first` counts only from its first day
    start, end = first.year * 12 + first.month - (first.day == 1), last.year * 12 + last.month - 1
    every = (range(math.ceil(start / step) * step, end + 1, step) for step in _MONTH_STEPS)
    months = next(each for each in every if len(each) <= most)
    if len(months) < 3 and (last - first).days < 200:
        days = ticks(first.toordinal(), last.toordinal(), most)
        return [date.fromordinal(int(day)) for day in days if day == int(day)]
    return [date(month // 12, month % 12 + 1, 1) for month in months]


WIDTH, LEFT, RIGHT, TOP, BOTTOM = 400.0, 46.0, 16.0, 30.0, 40.0
"""Width and margins of a plot, in units of which its text is 12 high. A plot fills the width of its container."""

_LEGEND, _SWATCH, _LETTER = 22.0, 26.0, 6.5

Point = tuple[float, float]


def horizontal(low: float, high: float, *, logarithmic: bool = False) -> Scale:
    """Return a scale from the left to the right."""
    return Scale(low, high, LEFT, WIDTH - RIGHT, logarithmic)


def vertical(low: float, high: float, height: float = 220.0, *, logarithmic: bool = False) -> Scale:
    """Return a scale from the bottom to the top; `height` is measured between the margins."""
    return Scale(low, high, TOP + height, TOP, logarithmic)


@frozen
class Axis:
    """A scale, the values to label on it, and a title with the unit."""

    scale: Scale
    marks: Sequence[tuple[float, str]]
    title: str


@frozen
class Figure:
    """The axes and texts of a plot, and the marks that can be drawn in it; marks take values, not places.

    `name` is its id, `description` is read out by screen readers, and `caption` says how to read the plot. The legend
    has pairs of a class and its label.
    """

    name: str
    title: str
    description: str
    caption: str
    x: Axis
    y: Axis
    legend: Sequence[tuple[str, str]] = ()

    def drawn(self, *marks: Markup | None) -> Markup:
        """Return the figure, with the marks in order on top of the grid."""
        floor = self.y.scale.start
        height = floor + BOTTOM + (_LEGEND if self.legend else 0)
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
        """Return a dot for each point."""
        return tag("g", *(tag("circle", cx=x, cy=y, r=radius) for x, y in self._places(points)), class_=class_)

    def line(self, points: Iterable[Point], class_: str) -> Markup:
        """Return a line through the points."""
        return tag("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in self._places(points)), class_=class_)

    def trend(self, points: Sequence[Point]) -> Markup:
        """Return large dots with a line through them."""
        return join(self.line(points, "trend"), self.dots(points, "median", 4.5))

    def level(self, value: float) -> Markup:
        """Return a horizontal line through the whole plot, as a reference."""
        x, at = self.x.scale, self.y.scale(value)
        return tag("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="reference")

    def band(self, low: float, high: float) -> Markup:
        """Return the shaded area between two values."""
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
        """Return the entries in a row, each as wide as its label."""
        starts = accumulate((_SWATCH + _LETTER * len(label) for _, label in self.legend), initial=2.0)
        entries = []
        for start, (class_, label) in zip(starts, self.legend, strict=False):
            entries.append(tag("circle", cx=start + 4, cy=height - 4, r=4, class_=class_))
            entries.append(tag("text", label, x=start + 12, y=height))
        return tag("g", *entries)
