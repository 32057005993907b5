"""What became of a version's own estimates: the sales of the houses, as they came back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from statistics import median

from attrs import frozen

from housepredict.domain.evaluation import Valued, tenths
from housepredict.domain.held_out import sample
from housepredict.domain.models import Evaluation
from housepredict.domain.usecases.review_accuracy import measured
from housepredict.entrypoints.measures import MEASURES
from housepredict.entrypoints.pages.charts import Axis, Figure, band, dots, drawn, horizontal, level, vertical
from housepredict.entrypoints.pages.evaluation import marked, told
from housepredict.entrypoints.pages.markup import Markup, join, tag
from housepredict.entrypoints.pages.numbers import day, number, percent
from housepredict.entrypoints.pages.plots import MEDIAN, MOST_DRAWN, SALE, central, day_label, trend
from housepredict.entrypoints.pages.scales import day_ticks, ticks
from housepredict.entrypoints.pages.tables import section, table

_ENOUGH = 20  # sales for medians of their tenths to say more than the sales themselves


@frozen
class _Sold:
    on: date
    ratio: float


def returned_section(rows: Sequence[Valued], evaluation: Evaluation) -> Markup | None:
    """The measures of the sales that came back, beside those of the held-out ones, and the sales over time; None
    without any.
    """
    sold = sorted(
        (_Sold(row.sale.sold_on, row.estimate / row.sale.price) for row in rows if row.sale.sold_on),
        key=lambda each: each.on,
    )
    if not sold:
        return None
    found, beside = measured(rows), {each.level: each.share for each in evaluation.coverage}
    one = len(sold) == 1
    houses = "1 house that it had estimated was" if one else f"{number(len(sold))} houses that it had estimated were"
    said = (
        f"{houses} sold later, {_span(sold[0].on, sold[-1].on)}, and the price was sent back. Where the market moved, "
        "or other houses were asked about than it learned from, these measures tell and those of the held-out sales "
        "do not."
    )
    table_rows = [("Sales", number(found.accuracy.n), number(evaluation.held_out))]
    now, before = found.out_of_range, evaluation.out_of_range
    for each in MEASURES:
        bounds = found.bounds.get(each.field)
        between = f"{number(bounds.low, each.digits)} to {number(bounds.high, each.digits)}" if bounds else None
        value = marked(told(found.accuracy, each), each.field, now)
        beside_it = marked(told(evaluation.accuracy, each), each.field, before)
        table_rows.append((each.title, join(value, tag("small", between) if between else None), beside_it))
    table_rows += [
        (
            f"In {each.level} % interval",
            marked(percent(each.share), f"coverage_{each.level}", now),
            marked(percent(beside.get(each.level)), f"coverage_{each.level}", before),
        )
        for each in found.coverage
    ]
    header = ("", "Sales that came back", "Held-out sales")
    return section(
        "Sales that came back",
        tag("p", said),
        table("The measures, with bounds as above", header, table_rows),
        tag("div", ratio_over_time(sold), class_="figures"),
    )


def ratio_over_time(sold: Sequence[_Sold]) -> Markup:
    """Sales ratios by the date of sale, in that order, and their medians by tenths of the time."""
    first, last = sold[0].on, sold[-1].on
    if first == last:  # a scale has two ends
        first, last = first - timedelta(1), last + timedelta(1)
    x = horizontal(first.toordinal(), last.toordinal())
    y = vertical(*central([each.ratio for each in sold], 0.75, 1.25))
    groups = tenths(sold) if len(sold) >= _ENOUGH else ()
    medians = [(median(e.on.toordinal() for e in group), median(e.ratio for e in group)) for group in groups]
    chosen = sample(sold, MOST_DRAWN)
    beyond = sum(not y.shows(each.ratio) for each in chosen)
    some = f"All {number(len(sold))}" if len(chosen) == len(sold) else f"{number(len(chosen))} of {number(len(sold))}"
    where = f", {number(beyond)} of them beyond the axes, at their edge" if beyond else ""
    figure = Figure(
        "ratio-over-time",
        "Sales ratio by date of sale",
        f"Scatter plot of {number(len(sold))} sales, {_span(sold[0].on, sold[-1].on)}. "
        f"Their median ratio is {number(median(each.ratio for each in sold), 3)}."
        + (f" By tenth, in order of dates: {', '.join(number(ratio, 3) for _, ratio in medians)}." if medians else ""),
        "Above 1 a house was estimated higher than it sold; the band, 0.90 to 1.10, is acceptable for the median of "
        "all, and ratios that fall say that the market has risen since the model learned. "
        f"{some} sales are drawn{where}.",
        Axis(x, [(at.toordinal(), day_label(at, first, last)) for at in day_ticks(first, last, 5)], "Date of sale"),
        Axis(y, [(at, number(at, 2)) for at in ticks(y.low, y.high)], "Sales ratio (estimate / price)"),
        (SALE, MEDIAN) if medians else (),
    )
    return drawn(
        figure,
        band(x, (y(0.9), y(1.1))),
        dots([(x(each.on.toordinal()), y(each.ratio)) for each in chosen], "sale"),
        level(x, y(1), "reference"),
        *(trend([(x(at), y(ratio)) for at, ratio in medians]) if medians else ()),
    )


def _span(first: date, last: date) -> str:
    return f"on {day(first)}" if first == last else f"from {day(first)} to {day(last)}"
