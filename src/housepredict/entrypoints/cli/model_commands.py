"""The commands for model versions: `housepredict models | models show | models promote | models rollback`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.evaluation.held_out import Valued, read_held_out
from housepredict.domain.evaluation.measures import Bounds, Evaluation, OutOfTimeEvaluation
from housepredict.domain.features import Feature
from housepredict.domain.models import ModelVersion, Pointer
from housepredict.entrypoints.answers import ModelVersionAnswer, model_document, models_document
from housepredict.entrypoints.cli.terminal import Commands, answer, number, print_json, report, table
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.measure_labels import (
    MEASURES,
    OUT_OF_RANGE,
    counted,
    coverage_note,
    coverage_text,
    intervals_text,
    options_text,
    source_text,
)

_SHOWN_CATEGORIES = 5


def add_model_commands(commands: Commands) -> None:
    """Add the commands for model versions."""
    about = "List, show, promote or roll back model versions"
    below = Commands.below(commands.add("models", about, _list))
    show = below.add("show", "Show the origin, features and accuracy of a version", _show)
    promote = below.add("promote", "Promote a version after checking that it loads and estimates", _promote)
    for parser in (show, promote):
        parser.add_argument("version", metavar="VERSION", help="version name, as listed by `housepredict models`")
    show.add_argument("--html", type=Path, metavar="FILE", help="write an HTML page with plots to this file")
    about = "Return to the previously promoted version; repeat to go back further"
    below.add("rollback", about, _roll_back)


def _list(application: Application, options: argparse.Namespace) -> int:
    versions, pointer = application.models.versions(), application.models.pointer()
    return answer(options, models_document(versions, pointer), models_text(versions, pointer))


def _show(application: Application, options: argparse.Namespace) -> int:
    version, artifact = application.models.get(options.version)
    promoted = application.models.pointer().name
    if options.html:
        from housepredict.entrypoints.pages.version_page import version_page

        page = version_page(version, promoted, read_held_out(artifact), _realized_sales(application, version))
        try:
            options.html.write_text(page, encoding="utf-8")
        except OSError as error:
            report(f"cannot write the page: {error}")
            return 5
        report(f"wrote {options.html}")
    if options.json:
        print_json(model_document(version, promoted, ModelVersionAnswer))
    elif not options.html:
        print(version_text(version, promoted))
    return 0


def _realized_sales(application: Application, version: ModelVersion) -> Sequence[Valued]:
    """Return the recorded sales of houses that a version estimated.

    If storage is unavailable, print a warning and return no sales.
    """
    try:
        return application.review_accuracy.returned().rows.get(version.name, ())
    except RepositoryUnavailable as error:
        report(f"the page doesn't include recorded sales: {error}")
        return ()


def _promote(application: Application, options: argparse.Namespace) -> int:
    return _answer_promoted(application.promote(options.version), options)


def _roll_back(application: Application, options: argparse.Namespace) -> int:
    return _answer_promoted(application.promote.rollback(), options)


def _answer_promoted(version: ModelVersion, options: argparse.Namespace) -> int:
    return answer(options, model_document(version, version.name), f"Promoted {version.name} ({version.algorithm}).")


def models_text(versions: Sequence[ModelVersion], pointer: Pointer) -> str:
    """Format model versions as a table that marks the promoted version."""
    if not versions:
        return "No models yet. Train one: housepredict train SALES.csv --price COLUMN"
    rows = [
        (
            "*" if version.name == pointer.name else "",
            version.name,
            version.algorithm,
            source_text(version.source, short=True),
            number(version.evaluation.accuracy.mdape, 1, "%"),
            number(version.evaluation.accuracy.ppe10, 1, "%"),
            number(version.evaluation.accuracy.cod, 1),
        )
        for version in versions
    ]
    lines = [table(("", "version", "algorithm", "sales", "MdAPE", "PPE10", "COD"), rows, unwrapped=("version",))]
    lines.append(f"* promoted (generation {pointer.generation})" if pointer.name else "No version is promoted.")
    lines += [
        f"{version.name}: {OUT_OF_RANGE}: {', '.join(names)}"
        for version in versions
        if (names := version.evaluation.out_of_range)
    ]
    return "\n".join(lines)


def version_text(version: ModelVersion, promoted: str | None) -> str:
    """Format the origin, features and accuracy of a version. `promoted` is the name of the promoted version."""
    facts = [
        ("version", version.name),
        ("promoted", "yes" if version.name == promoted else "no"),
        ("trained", f"{version.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("algorithm", str(version.algorithm)),
        ("sales", f"{source_text(version.source)}, SHA-256 {version.source.digest}"),
        ("options", options_text(version.options)),
        ("reproducible", f"no: {version.irreproducible}" if version.irreproducible else "yes"),
        ("intervals", intervals_text(version.intervals)),
        ("valuation date", str(version.valuation_date or "none")),
        *[("file", f"{name}, SHA-256 {digest}") for name, digest in sorted(version.digests.items())],
        *[("library", f"{name} {release}") for name, release in sorted(version.libraries.items())],
    ]
    width = max(len(name) for name, _ in facts)
    features = [
        (feature.name, feature.kind, feature.unit or "", "yes" if feature.required else "no", _observed(feature))
        for feature in version.schema.features
    ]
    parts = [
        "\n".join(f"{name:<{width}}  {value}" for name, value in facts),
        table(("feature", "kind", "unit", "required", "training values"), features) if features else "",
        evaluation_text(version.evaluation),
        _segments_text(version.evaluation),
        f"For a page with plots: housepredict models show {version.name} --html FILE",
    ]
    return "\n\n".join(part for part in parts if part)


def _observed(feature: Feature) -> str:
    if feature.observed:
        return f"{feature.observed[0]} to {feature.observed[1]}"
    names = ", ".join(feature.categories[:_SHOWN_CATEGORIES])
    more = len(feature.categories) - _SHOWN_CATEGORIES
    return f"{names} and {more:,} more" if more > 0 else names


def evaluation_text(evaluation: Evaluation) -> str:
    """Format a table of the measures and their meanings, followed by the coverage and the out-of-time evaluation."""
    rows, marked = [], evaluation.out_of_range
    for measure in MEASURES:
        value, bounds = getattr(evaluation.accuracy, measure.field), evaluation.bounds.get(measure.field)
        meaning = f"{measure.meaning}; acceptable: {measure.range}" if measure.range else measure.meaning
        if measure.field in marked:
            meaning = f"{OUT_OF_RANGE.upper()}: {meaning}"
        rows.append(
            (measure.title, number(value, measure.digits, measure.unit), _range(bounds, measure.digits), meaning)
        )
    held_out = counted(evaluation.held_out, "held-out sale")
    lines = [f"Trained on {counted(evaluation.trained_on, 'sale')}, evaluated on {held_out}:"]
    lines.append(table(("measure", "value", "95% bounds", "meaning"), rows))
    for coverage in evaluation.coverage:
        line = coverage_text(coverage)
        if f"coverage_{coverage.level}" in marked:
            note = coverage_note(coverage.level, evaluation.accuracy.n)
            line = f"{OUT_OF_RANGE.upper()}: {line}; acceptable: {note}"
        lines.append(line)
    if evaluation.out_of_time:
        lines.append(_out_of_time_text(evaluation.out_of_time))
    elif evaluation.out_of_time_skipped:
        lines.append(f"No out-of-time evaluation: {evaluation.out_of_time_skipped}.")
    return "\n".join(lines)


def _out_of_time_text(evaluation: OutOfTimeEvaluation) -> str:
    accuracy = evaluation.accuracy
    measures = {"mdape": f"MdAPE {accuracy.mdape:.1f}%", "median_ratio": f"median ratio {accuracy.median_ratio:.3f}"}
    for coverage in evaluation.coverage:
        measures[f"coverage_{coverage.level}"] = f"{coverage.level}% coverage {coverage.share:.1f}%"
    for name in measures.keys() & evaluation.out_of_range:
        measures[name] += f" ({OUT_OF_RANGE.upper()})"
    sales = f"{counted(evaluation.held_out, 'sale')} since {evaluation.since}"
    trained = f"trained on {evaluation.trained_on:,} earlier"
    return f"Out-of-time evaluation ({sales}, {trained}): {', '.join(measures.values())}"


def _segments_text(evaluation: Evaluation) -> str:
    """Format two tables: the measures by sale price, and the measures by the most common categories of a feature."""
    tables = []
    for title, segments in (
        ("sale price", evaluation.price_tenths),
        (evaluation.category or "", evaluation.categories),
    ):
        rows = [
            (
                segment.name,
                f"{segment.n:,}",
                number(segment.median_ratio, 3),
                number(segment.mdape, 1, "%"),
                number(segment.coverage, 1, "%"),
            )
            for segment in segments
        ]
        if rows:
            tables.append(table((title, "sales", "median ratio", "MdAPE", "90% coverage"), rows))
    return "\n\n".join(tables)


def _range(bounds: Bounds | None, digits: int) -> str:
    return f"{bounds.low:,.{digits}f} to {bounds.high:,.{digits}f}" if bounds else ""
