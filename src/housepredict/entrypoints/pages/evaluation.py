"""What became of a version's own estimates: the sales of the houses, as they came back."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from statistics import median

from attrs import frozen

from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.held_out import Valued, sample, tenths
from housepredict.domain.evaluation.measures import RANGES, Accuracy, Coverage, Evaluation, Segment
from housepredict.domain.models import ModelVersion, Performance
from housepredict.domain.usecases.review import measured
from housepredict.entrypoints.measure_labels import MEASURES, OUT_OF_RANGE, Measure, coverage_note, intervals_text
from housepredict.entrypoints.pages.charts import (
    Axis,
    Figure,
    band,
    day_ticks,
    dots,
    drawn,
    horizontal,
    level,
    ticks,
    vertical,
)
from housepredict.entrypoints.pages.markup import MINUS, Markup, day, join, number, percent, section, table, tag
from housepredict.entrypoints.pages.plots import MAX_DRAWN, MEDIAN, SALE, central, day_label, trend

_MARK = tag("span", OUT_OF_RANGE, class_="badge off")


def key_figures(evaluation: Evaluation) -> Markup:
    """The few figures to look at first."""
    measured = evaluation.accuracy
    figures = [
        ("mdape", percent(measured.mdape), "median error (MdAPE)"),
        ("ppe10", percent(measured.ppe10), f"of the estimates within {percent(10, 0)} of the price"),
        ("cod", number(measured.cod, 1), "coefficient of dispersion (COD)"),
        ("r2", number(measured.r2, 3), "of the variance of prices explained (R²)"),
        *(
            (
                f"coverage_{each.level}",
                percent(each.share),
                f"of the prices in their {percent(each.level, 0)} interval",
            )
            for each in evaluation.coverage[-1:]
        ),
    ]
    names, shown = evaluation.out_of_range, {field for field, *_ in figures}
    items = (tag("li", tag("b", value), " ", marked(tag("span", name), field, names)) for field, value, name in figures)
    others = [_title(field) for field in names if field not in shown]
    below = tag("p", _MARK, f" {', '.join(others)}") if others else None
    return join(tag("ul", *items, class_="key"), below)


def marked(value: str, field: str, names: Collection[str]) -> Markup:
    """A value, with a mark in words if its measure is among the names of those out of range."""
    return join(value, *((" ", _MARK) if field in names else ()))


def _title(field: str) -> str:
    """The title of a measure, or of the coverage of a level."""
    titles = {each.field: each.title for each in MEASURES}
    return titles.get(field) or f"coverage of the {percent(int(field.removeprefix('coverage_')), 0)} intervals"


def accuracy_section(evaluation: Evaluation, intervals: IntervalChoice | None) -> Markup:
    """Every measure, with bounds and with what is acceptable of it, and which intervals there are."""
    rows = [_measured(evaluation, each) for each in MEASURES]
    said = (
        "Had other sales of the same market been held out, a measure would lie within its bounds 95 times in 100 "
        "(bootstrap). What is acceptable for houses was set by the International Association of Assessing Officers, "
        "Standard on Ratio Studies (2013)."
    )
    lines: Sequence[str] = [_covered(evaluation, each) for each in evaluation.coverage]
    return section(
        "Accuracy",
        tag("p", said),
        table("Measures on the held-out sales", ("Measure", "Value and bounds", "Acceptable"), rows),
        *(tag("p", each) for each in lines or ["Its estimates have no intervals."]),
        tag("p", f"Intervals: {intervals_text(intervals)}"),
    )


def later_section(evaluation: Evaluation) -> Markup:
    """The measures on the latest sales, beside those on sales of all dates, or why there are none."""
    title, later = "On the latest sales", evaluation.out_of_time
    if later is None:
        why = evaluation.out_of_time_skipped or "this version was trained before that was done"
        return section(title, tag("p", f"It was not evaluated on the latest of the sales: {why}."))
    said = (
        f"The same recipe learned from {number(later.trained_on)} sales before {day(later.since)}, and estimated "
        f"{number(later.held_out)} of that day and after: what a model may be worth by the time it is replaced."
    )
    now, before = later.out_of_range, evaluation.out_of_range
    rows = [
        (
            each.title,
            marked(told(later.accuracy, each), each.field, now),
            marked(told(evaluation.accuracy, each), each.field, before),
        )
        for each in MEASURES
    ]
    shares = {each.level: each.share for each in evaluation.coverage}
    rows += [
        (
            f"In {each.level} % interval",
            marked(percent(each.share), f"coverage_{each.level}", now),
            marked(percent(shares.get(each.level)), f"coverage_{each.level}", before),
        )
        for each in later.coverage
    ]
    return section(title, tag("p", said), table("The measures", ("", "Latest sales", "Sales of all dates"), rows))


def _measured(evaluation: Evaluation, measure: Measure) -> tuple[str, ...]:
    value, bounds = getattr(evaluation.accuracy, measure.field), evaluation.bounds.get(measure.field)
    between = f"{number(bounds.low, measure.digits)} to {number(bounds.high, measure.digits)}" if bounds else ""
    return (
        join(measure.title, tag("small", measure.meaning)),
        join(number(value, measure.digits, measure.unit.strip()), tag("small", between) if between else None),
        _judged(measure, value),
    )


def _judged(measure: Measure, value: float | None) -> Markup:
    acceptable = RANGES.get(measure.field)
    if acceptable is None or value is None:
        return join("")
    badge = tag("span", "yes", class_="badge on") if acceptable.contains(value) else _MARK
    return join(badge, tag("small", measure.range.replace("-", MINUS)))


def _covered(evaluation: Evaluation, coverage: Coverage) -> Markup:
    measured, level = evaluation.accuracy, coverage.level
    text = f"{percent(coverage.share)} of the prices lie in their {percent(level, 0)} interval"
    if coverage.width:
        text += f"; half of these intervals end below {number(coverage.width, 2)} times the estimate"
    text += f". Acceptable for so many sales: {coverage_note(level, measured.n)}."
    return marked(text, f"coverage_{level}", evaluation.out_of_range)


def decision_section(version: ModelVersion) -> Markup:
    """What the promotion rule said, and what it compared."""
    title, verdict = "Promotion", version.verdict
    if verdict is None:
        return section(
            title, tag("p", "What was decided is not known: this version was trained before that was kept with it.")
        )
    said = (
        "It was promoted when it was trained."
        if verdict.promoted
        else "It was kept when it was trained, and not promoted."
    )
    reasons = tag("ul", *(tag("li", reason) for reason in verdict.reasons))
    if verdict.comparison is None:
        return section(title, tag("p", said), reasons)
    comparison = verdict.comparison
    rows = [
        (name, *(_performed(each, name) for each in (comparison.challenger, comparison.incumbent)))
        for name in ("Mean error", "MdAPE", "PPE10", "COD", "PRD", "PRB", "In 90 % interval", "No price for")
    ]
    caption = f"Both versions on the same {number(comparison.sales)} held-out sales"
    return section(title, tag("p", said), reasons, table(caption, ("", "This version", comparison.champion), rows))


def _performed(performance: Performance, name: str) -> str:
    match name:
        case "Mean error":
            return percent(100 * math.expm1(performance.error), 2)
        case "In 90 % interval":
            return percent(performance.coverage)
        case "No price for":
            return percent(performance.refused)
    measure = next(each for each in MEASURES if each.title == name)
    return told(performance.accuracy, measure)


def told(accuracy: Accuracy, measure: Measure) -> str:
    """A measure as people read it."""
    return number(getattr(accuracy, measure.field), measure.digits, measure.unit.strip())


def segments_section(evaluation: Evaluation) -> Sequence[Markup]:
    """Accuracy by price, and by category."""
    found = []
    if evaluation.price_tenths:
        rows = [
            _segment(each, re.sub(r"\d+", lambda digits: f"{int(digits[0]):,}", each.name))
            for each in evaluation.price_tenths
        ]
        found.append(
            section("By sale price", _segments("Tenths of the held-out sales, cheapest first", "Sale price", rows))
        )
    if evaluation.categories and evaluation.category is not None:
        rows = [_segment(each, each.name) for each in evaluation.categories]
        title = f"By {evaluation.category}"
        found.append(section(title, _segments("The commonest values, most sales first", evaluation.category, rows)))
    return found


def _segments(caption: str, name: str, rows: Sequence[Sequence[str]]) -> Markup:
    return table(caption, (name, "Sales", "Median ratio", "MdAPE", "In 90 % interval"), rows)


def _segment(segment: Segment, name: str) -> Sequence[str]:
    return (
        name,
        number(segment.n),
        number(segment.median_ratio, 3),
        percent(segment.mdape),
        percent(segment.coverage),
    )


_ENOUGH = 20  # sales for medians of their tenths to say more than the sales themselves


@frozen
class _Sold:
    on: date
    ratio: float


def realized_section(rows: Sequence[Valued], evaluation: Evaluation) -> Markup | None:
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
    chosen = sample(sold, MAX_DRAWN)
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
