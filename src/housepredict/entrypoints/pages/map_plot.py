"""The plot of where a version estimates too high or too low."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter

from housepredict.domain.held_out import HeldOut, sample
from housepredict.entrypoints.pages.charts import (
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    Figure,
    coloured,
    drawn,
    horizontal,
    vertical,
)
from housepredict.entrypoints.pages.markup import Markup
from housepredict.entrypoints.pages.numbers import alike, percent
from housepredict.entrypoints.pages.plots import MOST_DRAWN, how_many
from housepredict.entrypoints.pages.scales import ticks

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
    chosen = sample(placed, MOST_DRAWN)
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
