"""The page of a model version: its accuracy, plots, promotion decision, realized sales, features and origin."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from typing import assert_never

from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.held_out import HeldOut, Valued
from housepredict.domain.evaluation.measures import (
    RANGES,
    Accuracy,
    Bounds,
    Coverage,
    Evaluation,
    OutOfTimeEvaluation,
    Segment,
)
from housepredict.domain.features import Feature, FeatureSchema, Value
from housepredict.domain.models import ModelVersion, Performance
from housepredict.domain.training_options import Algorithm
from housepredict.domain.usecases.review import Measured, measured
from housepredict.entrypoints.measure_labels import (
    MEASURES,
    OUT_OF_RANGE,
    Measure,
    coverage_note,
    intervals_text,
    options_text,
    source_text,
)
from housepredict.entrypoints.pages.markup import (
    MINUS,
    Markup,
    day,
    join,
    number,
    page,
    percent,
    section,
    short,
    table,
    tag,
)
from housepredict.entrypoints.pages.plots import (
    calibration_plots,
    ratio_on_map,
    ratio_over_time,
    sale_plots,
    span_text,
)
from housepredict.version import __version__

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The Content-Security-Policy of the page."""

_MARK = tag("span", OUT_OF_RANGE, class_="badge off")
_COMPARED = [measure for measure in MEASURES if measure.field in ("mdape", "ppe10", "cod", "prd", "prb")]
_MAX_CATEGORIES = 5  # named in the table of features


def version_page(
    version: ModelVersion, promoted: str | None, held_out: HeldOut | None, returned: Sequence[Valued] = ()
) -> str:
    """Return a self-contained HTML document about a version.

    Args:
        version: the version.
        promoted: the name of the promoted version.
        held_out: the sales that the version was evaluated on; without them, the page says why there are no plots.
        returned: realized sales of houses that the version estimated.
    """
    style = tag("style", Markup(files(__package__).joinpath("style.css").read_text(encoding="utf-8")))
    main = tag(
        "main",
        _header(version, is_promoted=version.name == promoted),
        key_figures(version.evaluation),
        _plots(version, held_out),
        _accuracy(version.evaluation, version.intervals),
        _out_of_time(version.evaluation),
        _realized(returned, version.evaluation),
        _decision(version),
        *_segment_sections(version.evaluation),
        _features(version.schema),
        _origin(version),
        tag("footer", tag("p", f"Written by housepredict {__version__}. Prices are in the currency of the sales.")),
    )
    return page(f"Model version {version.name}", main, style, policy=POLICY)


def _header(version: ModelVersion, *, is_promoted: bool) -> Markup:
    evaluation = version.evaluation
    said = (
        f"{_method(version.algorithm)}, trained on {number(evaluation.trained_on)} sales on "
        f"{day(version.created_at)} and evaluated on {number(evaluation.held_out)} others that it has not seen."
    )
    made_up = "These sales are synthetic: the model says nothing about real houses."
    state, class_ = ("promoted", "badge on") if is_promoted else ("not promoted", "badge off")
    return tag(
        "header",
        tag("p", "Model version", class_="kicker"),
        tag("h1", version.name, tag("span", state, class_=class_)),
        tag("p", said, class_="lead"),
        tag("p", made_up, class_="note") if version.source.synthetic else None,
    )


def _method(algorithm: Algorithm) -> str:
    match algorithm:
        case Algorithm.LINEAR:
            return "Least squares"
        case Algorithm.RIDGE:
            return "Ridge regression on the logarithm of the price"
        case Algorithm.BOOSTING:
            return "Gradient-boosted trees"
        case Algorithm.AUTO:
            return "auto"  # which no version is
        case _:
            assert_never(algorithm)


def key_figures(evaluation: Evaluation) -> Markup:
    """Return the few figures to look at first."""
    accuracy, marked = evaluation.accuracy, evaluation.out_of_range
    figures = [
        ("mdape", percent(accuracy.mdape), "median error (MdAPE)"),
        ("ppe10", percent(accuracy.ppe10), f"of the estimates within {percent(10, 0)} of the price"),
        ("cod", number(accuracy.cod, 1), "coefficient of dispersion (COD)"),
        ("r2", number(accuracy.r2, 3), "of the variance of prices explained (R²)"),
    ]
    for each in evaluation.coverage[-1:]:
        name = f"of the prices in their {percent(each.level, 0)} interval"
        figures.append((f"coverage_{each.level}", percent(each.share), name))
    items = (
        tag("li", tag("b", value), " ", _marked(tag("span", name), field, marked)) for field, value, name in figures
    )
    shown = {field for field, *_ in figures}
    others = ", ".join(_title(field) for field in marked if field not in shown)
    return join(tag("ul", *items, class_="key"), tag("p", _MARK, f" {others}") if others else None)


def _marked(value: str, field: str, out_of_range: Collection[str]) -> Markup:
    """Return a value, followed by a mark if its measure is out of range."""
    return join(value, *((" ", _MARK) if field in out_of_range else ()))


def _title(field: str) -> str:
    """Return the title of a measure, or of the coverage of a level."""
    titles = {each.field: each.title for each in MEASURES}
    return titles.get(field) or f"coverage of the {percent(int(field.removeprefix('coverage_')), 0)} intervals"


def _plots(version: ModelVersion, held_out: HeldOut | None) -> Markup:
    if held_out is None or not held_out.sales:
        why = (
            "There is nothing to plot: this version was trained before held-out sales were kept. Train again for plots."
        )
        return section("Held-out sales", tag("p", why))
    plots = [*sale_plots(held_out), ratio_on_map(held_out), *calibration_plots(held_out, version.calibration)]
    return section("Held-out sales", tag("div", *plots, class_="figures"))


def _accuracy(evaluation: Evaluation, intervals: IntervalChoice | None) -> Markup:
    """Return every measure with its bounds and its acceptable range, and the kind of intervals."""
    rows = [_measure_row(evaluation, each) for each in MEASURES]
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


def _out_of_time(evaluation: Evaluation) -> Markup:
    """Return the measures on the latest sales beside those on sales of all dates, or why there are none."""
    title, latest = "On the latest sales", evaluation.out_of_time
    if latest is None:
        why = evaluation.out_of_time_skipped or "this version was trained before that was done"
        return section(title, tag("p", f"It was not evaluated on the latest of the sales: {why}."))
    said = (
        f"The same recipe learned from {number(latest.trained_on)} sales before {day(latest.since)}, and estimated "
        f"{number(latest.held_out)} of that day and after: what a model may be worth by the time it is replaced."
    )
    rows = _rows_beside(latest, evaluation, {})
    return section(title, tag("p", said), table("The measures", ("", "Latest sales", "Sales of all dates"), rows))


def _rows_beside(
    current: OutOfTimeEvaluation | Measured, reference: Evaluation, bounds: Mapping[str, Bounds]
) -> list[tuple[str, str, str]]:
    """Return every measure, and the coverage of every level, beside those of the held-out sales."""
    marked, marked_beside = current.out_of_range, reference.out_of_range
    rows: list[tuple[str, str, str]] = []
    for measure in MEASURES:
        value = _marked(_value(current.accuracy, measure), measure.field, marked)
        beside = _marked(_value(reference.accuracy, measure), measure.field, marked_beside)
        rows.append((measure.title, join(value, _bounds_note(measure, bounds)), beside))
    shares = {each.level: each.share for each in reference.coverage}
    for each in current.coverage:
        field = f"coverage_{each.level}"
        value = _marked(percent(each.share), field, marked)
        rows.append(
            (f"In {each.level} % interval", value, _marked(percent(shares.get(each.level)), field, marked_beside))
        )
    return rows


def _bounds_note(measure: Measure, bounds: Mapping[str, Bounds]) -> Markup | None:
    if measure.field not in bounds:
        return None
    low, high = bounds[measure.field].low, bounds[measure.field].high
    return tag("small", f"{number(low, measure.digits)} to {number(high, measure.digits)}")


def _measure_row(evaluation: Evaluation, measure: Measure) -> tuple[str, ...]:
    value, acceptable = getattr(evaluation.accuracy, measure.field), RANGES.get(measure.field)
    judged = join()
    if acceptable is not None and value is not None:
        badge = tag("span", "yes", class_="badge on") if acceptable.contains(value) else _MARK
        judged = join(badge, tag("small", measure.range.replace("-", MINUS)))
    shown = join(_value(evaluation.accuracy, measure), _bounds_note(measure, evaluation.bounds))
    return join(measure.title, tag("small", measure.meaning)), shown, judged


def _covered(evaluation: Evaluation, coverage: Coverage) -> Markup:
    level = coverage.level
    text = f"{percent(coverage.share)} of the prices lie in their {percent(level, 0)} interval"
    if coverage.width:
        text += f"; half of these intervals end below {number(coverage.width, 2)} times the estimate"
    text += f". Acceptable for so many sales: {coverage_note(level, evaluation.accuracy.n)}."
    return _marked(text, f"coverage_{level}", evaluation.out_of_range)


def _decision(version: ModelVersion) -> Markup:
    """Return what the promotion rule decided, and what it compared."""
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
    names = ("Mean error", *(measure.title for measure in _COMPARED), "In 90 % interval", "No price for")
    rows = list(zip(names, _performance(comparison.challenger), _performance(comparison.incumbent), strict=True))
    caption = f"Both versions on the same {number(comparison.sales)} held-out sales"
    return section(title, tag("p", said), reasons, table(caption, ("", "This version", comparison.champion), rows))


def _performance(performance: Performance) -> Sequence[str]:
    error = percent(100 * math.expm1(performance.error), 2)
    measures = (_value(performance.accuracy, measure) for measure in _COMPARED)
    return (error, *measures, percent(performance.coverage), percent(performance.refused))


def _value(accuracy: Accuracy, measure: Measure) -> str:
    return number(getattr(accuracy, measure.field), measure.digits, measure.unit.strip())


def _segment_sections(evaluation: Evaluation) -> Sequence[Markup]:
    """Return the accuracy by price, and by category."""
    sections = []
    if evaluation.price_tenths:
        names = [re.sub(r"\d+", lambda digits: f"{int(digits[0]):,}", each.name) for each in evaluation.price_tenths]
        caption = "Tenths of the held-out sales, cheapest first"
        sections.append(section("By sale price", _segments(caption, "Sale price", names, evaluation.price_tenths)))
    if evaluation.categories and evaluation.category is not None:
        names = [each.name for each in evaluation.categories]
        caption = "The commonest values, most sales first"
        content = _segments(caption, evaluation.category, names, evaluation.categories)
        sections.append(section(f"By {evaluation.category}", content))
    return sections


def _segments(caption: str, title: str, names: Sequence[str], segments: Sequence[Segment]) -> Markup:
    rows = [
        (name, number(each.n), number(each.median_ratio, 3), percent(each.mdape), percent(each.coverage))
        for name, each in zip(names, segments, strict=True)
    ]
    return table(caption, (title, "Sales", "Median ratio", "MdAPE", "In 90 % interval"), rows)


def _realized(rows: Sequence[Valued], evaluation: Evaluation) -> Markup | None:
    """Return the measures of the realized sales beside those of the held-out ones, and a plot over time; None without
    realized sales.
    """
    sold = sorted(
        ((row.sale.sold_on, row.estimate / row.sale.price) for row in rows if row.sale.sold_on),
        key=lambda sale: sale[0],
    )
    if not sold:
        return None
    one = len(sold) == 1
    houses = "1 house that it had estimated was" if one else f"{number(len(sold))} houses that it had estimated were"
    said = (
        f"{houses} sold later, {span_text(sold[0][0], sold[-1][0])}, and the price was sent back. Where the market "
        "moved, or other houses were asked about than it learned from, these measures tell and those of the held-out "
        "sales do not."
    )
    realized = measured(rows)
    counts = ("Sales", number(realized.accuracy.n), number(evaluation.held_out))
    return section(
        "Sales that came back",
        tag("p", said),
        table(
            "The measures, with bounds as above",
            ("", "Sales that came back", "Held-out sales"),
            [counts, *_rows_beside(realized, evaluation, realized.bounds)],
        ),
        tag("div", ratio_over_time(sold), class_="figures"),
    )


def _features(schema: FeatureSchema) -> Markup | None:
    if not schema.features:
        return None
    rows = [
        (
            feature.name,
            feature.kind,
            feature.unit or "",
            "required" if feature.required else "may be missing",
            _observed(feature),
            _accepted(feature),
        )
        for feature in schema.features
    ]
    header = ("Feature", "Kind", "Unit", "In a request", "Learned from", "Accepted")
    said = "What lies beyond what the model learned from is estimated with a warning; what is not accepted is refused."
    content = table("What the version must know of a house", header, rows, of_words=True)
    return section("Features", tag("p", said), content)


def _observed(feature: Feature) -> str:
    if feature.observed:
        return " to ".join(_bound(feature, value) for value in feature.observed)
    names = ", ".join(feature.categories[:_MAX_CATEGORIES])
    more = len(feature.categories) - _MAX_CATEGORIES
    return f"{names}, and {number(more)} more" if more > 0 else names


def _bound(feature: Feature, value: Value) -> str:
    if isinstance(value, str):
        return value
    # a number without a unit may be a year or a code
    return short(value) if feature.unit else short(value).replace(",", "")


def _accepted(feature: Feature) -> str:
    if feature.closed:
        return "these categories"
    match feature.minimum, feature.maximum:
        case float(low), None:
            return f"from {short(low)}"
        case None, float(high):
            return f"up to {short(high)}"
        case float(low), float(high):
            return f"{short(low)} to {short(high)}"
    return "any"


def _origin(version: ModelVersion) -> Markup:
    rows: Sequence[tuple[str, str]] = [
        ("Trained", f"{day(version.created_at)}, {version.created_at:%H:%M:%S} UTC"),
        ("Sales", source_text(version.source)),
        ("SHA-256 of the sales", version.source.digest),
        ("Options", options_text(version.options)),
        ("Reproducible", f"no: {version.irreproducible}" if version.irreproducible else "yes"),
        ("Estimates are for", day(version.valuation_date) if version.valuation_date else "no date"),
        ("Libraries", ", ".join(f"{name} {release}" for name, release in sorted(version.libraries.items()))),
        *((f"SHA-256 of {name}", digest) for name, digest in sorted(version.digests.items())),
    ]
    facts = (tag("div", tag("dt", name), tag("dd", value)) for name, value in rows)
    return section("How it came about", tag("dl", *facts))
