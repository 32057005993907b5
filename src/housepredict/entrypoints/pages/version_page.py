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
    SYNTHETIC,
    Measure,
    counted,
    coverage_note,
    coverage_text,
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
_MAX_CATEGORIES = 5  # in a cell of the table of features


def version_page(
    version: ModelVersion, promoted: str | None, held_out: HeldOut | None, realized: Sequence[Valued] = ()
) -> str:
    """Render the page of a model version as a self-contained HTML document.

    Args:
        version: the model version.
        promoted: the name of the promoted version.
        held_out: the held-out sales that the version was evaluated on. If None, the page omits their plots.
        realized: recorded sales of houses that the version estimated.
    """
    style = tag("style", Markup(files(__package__).joinpath("style.css").read_text(encoding="utf-8")))
    main = tag(
        "main",
        _header(version, is_promoted=version.name == promoted),
        key_figures(version.evaluation),
        _plots(version, held_out),
        _accuracy(version.evaluation, version.intervals),
        _out_of_time(version.evaluation),
        _realized(realized, version.evaluation),
        _decision(version),
        *_segment_sections(version.evaluation),
        _features(version.schema),
        _origin(version),
        tag("footer", tag("p", f"Written by housepredict {__version__}. Prices are in the currency of the sales.")),
    )
    return page(f"Model version {version.name}", main, style, policy=POLICY)


def _header(version: ModelVersion, *, is_promoted: bool) -> Markup:
    evaluation = version.evaluation
    summary = (
        f"{_method(version.algorithm)}, trained on {counted(evaluation.trained_on, 'sale')} on "
        f"{day(version.created_at)} and evaluated on {counted(evaluation.held_out, 'held-out sale')}."
    )
    state, class_ = ("promoted", "badge on") if is_promoted else ("not promoted", "badge off")
    return tag(
        "header",
        tag("p", "Model version", class_="kicker"),
        tag("h1", version.name, tag("span", state, class_=class_)),
        tag("p", summary, class_="lead"),
        tag("p", SYNTHETIC, class_="note") if version.source.synthetic else None,
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
            return "auto"  # A stored version always names the algorithm that was selected.
        case _:
            assert_never(algorithm)


def key_figures(evaluation: Evaluation) -> Markup:
    """Return a list of key figures, followed by the titles of other measures outside their acceptable ranges."""
    accuracy, marked = evaluation.accuracy, evaluation.out_of_range
    figures = [
        ("mdape", percent(accuracy.mdape), "median error (MdAPE)"),
        ("ppe10", percent(accuracy.ppe10), "of estimates within 10% of the sale price"),
        ("cod", number(accuracy.cod, 1), "coefficient of dispersion (COD)"),
        ("r2", number(accuracy.r2, 3), "of price variance explained (R²)"),
    ]
    for coverage in evaluation.coverage[-1:]:
        name = f"of sale prices in the {coverage.level}% interval"
        figures.append((f"coverage_{coverage.level}", percent(coverage.share), name))
    items = (
        tag("li", tag("b", value), " ", _marked(tag("span", name), field, marked)) for field, value, name in figures
    )
    shown = {field for field, *_ in figures}
    others = ", ".join(_title(field) for field in marked if field not in shown)
    return join(tag("ul", *items, class_="key"), tag("p", _MARK, f" {others}") if others else None)


def _marked(value: str, field: str, out_of_range: Collection[str]) -> Markup:
    """Return the value of the measure `field`, with a mark if `out_of_range` contains the measure."""
    return join(value, *((" ", _MARK) if field in out_of_range else ()))


def _title(field: str) -> str:
    """Return the title of a measure or of a coverage level."""
    titles = {measure.field: measure.title for measure in MEASURES}
    return titles.get(field) or f"{field.removeprefix('coverage_')}% coverage"


def _plots(version: ModelVersion, held_out: HeldOut | None) -> Markup:
    if held_out is None or not held_out.sales:
        return section("Held-out sales", tag("p", "No plots (trained by an older release). Retrain to get them."))
    plots = [*sale_plots(held_out), ratio_on_map(held_out), *calibration_plots(held_out, version.calibration)]
    return section("Held-out sales", tag("div", *plots, class_="figures"))


def _accuracy(evaluation: Evaluation, intervals: IntervalChoice | None) -> Markup:
    """Return all measures with their bounds and acceptable ranges, the coverage, and the kind of intervals."""
    rows = [_measure_row(evaluation, measure) for measure in MEASURES]
    note = (
        "Bounds are 95% bootstrap confidence bounds. Acceptable ranges are from the International Association of "
        "Assessing Officers, Standard on Ratio Studies (2013)."
    )
    lines: list[str] = []
    for coverage in evaluation.coverage:
        acceptable = coverage_note(coverage.level, evaluation.accuracy.n)
        text = f"{coverage_text(coverage).replace('-', MINUS)}. Acceptable for this number of sales: {acceptable}."
        lines.append(_marked(text, f"coverage_{coverage.level}", evaluation.out_of_range))
    return section(
        "Accuracy",
        tag("p", note),
        table("Measures on the held-out sales", ("Measure", "Value and bounds", "Acceptable"), rows),
        *(tag("p", line) for line in lines or ["Estimates of this version have no intervals."]),
        tag("p", f"Intervals: {intervals_text(intervals)}"),
    )


def _out_of_time(evaluation: Evaluation) -> Markup:
    """Compare the out-of-time evaluation with the evaluation on held-out sales, or say why there is none."""
    title, latest = "Out-of-time evaluation", evaluation.out_of_time
    if latest is None:
        reason = evaluation.out_of_time_skipped or "trained by an older release"
        return section(title, tag("p", f"Not available: {reason}."))
    note = (
        f"A model with the same settings was trained on {counted(latest.trained_on, 'sale')} before "
        f"{day(latest.since)} and evaluated on {number(latest.held_out)} from that day on. This shows its accuracy on "
        "later sales."
    )
    rows = _compared_rows(latest, evaluation, {})
    return section(title, tag("p", note), table("Measures", ("", "Latest sales", "Held-out sales, all dates"), rows))


def _compared_rows(
    current: OutOfTimeEvaluation | Measured, reference: Evaluation, bounds: Mapping[str, Bounds]
) -> list[tuple[str, str, str]]:
    """Return a row per measure and coverage level: its title, its value in `current`, and its value in `reference`.

    `bounds` are the confidence bounds of the values in `current`, by measure.
    """
    rows: list[tuple[str, str, str]] = []
    for measure in MEASURES:
        value = _marked(_value(current.accuracy, measure), measure.field, current.out_of_range)
        other = _marked(_value(reference.accuracy, measure), measure.field, reference.out_of_range)
        rows.append((measure.title, join(value, _bounds_note(measure, bounds)), other))
    shares = {coverage.level: coverage.share for coverage in reference.coverage}
    for coverage in current.coverage:
        field = f"coverage_{coverage.level}"
        value = _marked(percent(coverage.share), field, current.out_of_range)
        other = _marked(percent(shares.get(coverage.level)), field, reference.out_of_range)
        rows.append((_title(field), value, other))
    return rows


def _bounds_note(measure: Measure, bounds: Mapping[str, Bounds]) -> Markup | None:
    if measure.field not in bounds:
        return None
    low, high = bounds[measure.field].low, bounds[measure.field].high
    return tag("small", f"{number(low, measure.digits)} to {number(high, measure.digits)}")


def _measure_row(evaluation: Evaluation, measure: Measure) -> tuple[str, ...]:
    value, acceptable = getattr(evaluation.accuracy, measure.field), RANGES.get(measure.field)
    judgment = join()
    if acceptable is not None and value is not None:
        badge = tag("span", "yes", class_="badge on") if acceptable.contains(value) else _MARK
        judgment = join(badge, tag("small", measure.range.replace("-", MINUS)))
    text = join(_value(evaluation.accuracy, measure), _bounds_note(measure, evaluation.bounds))
    return join(measure.title, tag("small", measure.meaning)), text, judgment


def _decision(version: ModelVersion) -> Markup:
    """Return the promotion decision, its reasons, and the comparison with the champion."""
    title, verdict = "Promotion", version.verdict
    if verdict is None:
        return section(title, tag("p", "No promotion decision was recorded (trained by an older release)."))
    decision = tag("p", f"This version was {'' if verdict.promoted else 'not '}promoted after training.")
    reasons = tag("ul", *(tag("li", reason) for reason in verdict.reasons))
    if verdict.comparison is None:
        return section(title, decision, reasons)
    comparison = verdict.comparison
    names = ("Mean error", *(measure.title for measure in _COMPARED), "90% coverage", "Houses without an estimate")
    rows = list(zip(names, _performance(comparison.challenger), _performance(comparison.incumbent), strict=True))
    caption = f"Both versions on the same {counted(comparison.sales, 'held-out sale')}"
    return section(title, decision, reasons, table(caption, ("", "This version", comparison.champion), rows))


def _performance(performance: Performance) -> Sequence[str]:
    error = percent(100 * math.expm1(performance.error), 2)
    measures = (_value(performance.accuracy, measure) for measure in _COMPARED)
    return (error, *measures, percent(performance.coverage), percent(performance.refused))


def _value(accuracy: Accuracy, measure: Measure) -> str:
    return number(getattr(accuracy, measure.field), measure.digits, measure.unit)


def _segment_sections(evaluation: Evaluation) -> Sequence[Markup]:
    """Return the accuracy by sale price, and by the most common categories of a feature."""
    sections = []
    if evaluation.price_tenths:
        names = [
            re.sub(r"\d+", lambda digits: f"{int(digits[0]):,}", segment.name) for segment in evaluation.price_tenths
        ]
        caption = "Tenths of the held-out sales by price, cheapest first"
        sections.append(section("By sale price", _segments(caption, "Sale price", names, evaluation.price_tenths)))
    if evaluation.categories and evaluation.category is not None:
        names = [segment.name for segment in evaluation.categories]
        caption = "The most common values"
        content = _segments(caption, evaluation.category, names, evaluation.categories)
        sections.append(section(f"By {evaluation.category}", content))
    return sections


def _segments(caption: str, title: str, names: Sequence[str], segments: Sequence[Segment]) -> Markup:
    rows = [
        (name, number(segment.n), number(segment.median_ratio, 3), percent(segment.mdape), percent(segment.coverage))
        for name, segment in zip(names, segments, strict=True)
    ]
    return table(caption, (title, "Sales", "Median ratio", "MdAPE", "90% coverage"), rows)


def _realized(rows: Sequence[Valued], evaluation: Evaluation) -> Markup | None:
    """Compare recorded sales with held-out sales, and plot the recorded sales over time.

    Return None if there are no recorded sales.
    """
    sold = sorted(
        ((row.sale.sold_on, row.estimate / row.sale.price) for row in rows if row.sale.sold_on),
        key=lambda sale: sale[0],
    )
    if not sold:
        return None
    note = (
        f"{counted(len(sold), 'recorded sale')} {span_text(sold[0][0], sold[-1][0])} of houses that this version "
        "estimated before the sale. Unlike held-out sales, they show how the version performs if the market moves, or "
        "if the houses differ from those in the training sales."
    )
    realized = measured(rows)
    counts = ("Sales", number(realized.accuracy.n), number(evaluation.held_out))
    return section(
        "Recorded sales",
        tag("p", note),
        table(
            "Measures, with 95% bounds",
            ("", "Recorded sales", "Held-out sales"),
            [counts, *_compared_rows(realized, evaluation, realized.bounds)],
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
            "required" if feature.required else "optional",
            _observed(feature),
            _accepted(feature),
        )
        for feature in schema.features
    ]
    header = ("Feature", "Kind", "Unit", "In a request", "Training values", "Accepted values")
    note = (
        "Houses with accepted values outside the training values are estimated with a warning. Houses with values that "
        "are not accepted are rejected."
    )
    content = table("Features that the version uses", header, rows, of_words=True)
    return section("Features", tag("p", note), content)


def _observed(feature: Feature) -> str:
    if feature.observed:
        return " to ".join(_bound(feature, value) for value in feature.observed)
    names = ", ".join(feature.categories[:_MAX_CATEGORIES])
    more = len(feature.categories) - _MAX_CATEGORIES
    return f"{names} and {number(more)} more" if more > 0 else names


def _bound(feature: Feature, value: Value) -> str:
    if isinstance(value, str):
        return value
    # A number without a unit may be a year or a code, so it gets no comma.
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
        ("Valuation date", day(version.valuation_date) if version.valuation_date else "none"),
        ("Libraries", ", ".join(f"{name} {release}" for name, release in sorted(version.libraries.items()))),
        *((f"SHA-256 of {name}", digest) for name, digest in sorted(version.digests.items())),
    ]
    facts = (tag("div", tag("dt", name), tag("dd", value)) for name, value in rows)
    return section("Origin", tag("dl", *facts))
