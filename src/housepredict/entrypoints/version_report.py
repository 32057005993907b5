"""What is printed of model versions: text for people, documents for programs."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from attrs import asdict

from housepredict.domain.features import Feature
from housepredict.domain.intervals import IntervalChoice
from housepredict.domain.models import (
    Bounds,
    Evaluation,
    LaterEvaluation,
    ModelVersion,
    TrainingOptions,
    TrainingSource,
)
from housepredict.domain.verdicts import Verdict
from housepredict.entrypoints.measures import MEASURES, OUT_OF_RANGE, coverage_note
from housepredict.entrypoints.terminal import table


def verdict_lines(version: ModelVersion, verdict: Verdict) -> list[str]:
    """Whether a version was promoted and why, and how to promote one that was not."""
    if verdict.promoted:
        return [*verdict.reasons, f"Promoted {version.name} ({version.algorithm})."]
    return [
        *verdict.reasons,
        f"Stored, but not promoted: {version.name} ({version.algorithm}).",
        f"To promote it anyway: housepredict models promote {version.name}",
    ]


def intervals_text(choice: IntervalChoice | None, *, with_reasons: bool = True) -> str:
    """Which intervals a version has, how the coverage tests came out, and why."""
    if choice is None:
        return "not recorded, an older release trained this version"
    tests = ", ".join(f"{each.level}% p = {each.p_value:.2g}" for each in choice.tests if each.kind is choice.kind)
    result = f"{choice.kind} (coverage test: {tests})" if tests else str(choice.kind)
    return ". ".join([result, " ".join(choice.reasons)]) if with_reasons and choice.reasons else result


def evaluation_text(evaluation: Evaluation) -> str:
    """The measures, each with what it means."""
    rows, marked = [], evaluation.out_of_range
    for each in MEASURES:
        value, bounds = getattr(evaluation.accuracy, each.field), evaluation.bounds.get(each.field)
        meaning = f"{each.meaning}; acceptable: {each.range}" if each.range else each.meaning
        if each.field in marked:
            meaning = f"{OUT_OF_RANGE.upper()}: {meaning}"
        rows.append((each.title, number(value, each.digits, each.unit), _range(bounds, each.digits), meaning))
    lines = [f"Trained on {evaluation.trained_on} sales, evaluated on {evaluation.held_out} others:"]
    lines.append(table(("measure", "value", "95 % bounds", "meaning"), rows))
    for level in evaluation.coverage:
        width = f"; half of them end below {level.width:.2f} times the estimate" if level.width else ""
        line = f"{level.share:.1f} % of the prices lie in their {level.level} % interval{width}"
        if f"coverage_{level.level}" in marked:
            note = coverage_note(level.level, evaluation.accuracy.n)
            line = f"{OUT_OF_RANGE.upper()}: {line}; acceptable: {note}"
        lines.append(line)
    if evaluation.later:
        lines.append(_later_text(evaluation.later))
    elif evaluation.why_no_later:
        lines.append(f"Not evaluated on the latest sales: {evaluation.why_no_later}.")
    return "\n".join(lines)


def _later_text(later: LaterEvaluation) -> str:
    measures = later.accuracy
    told = {"mdape": f"MdAPE {measures.mdape:.1f} %", "median_ratio": f"median ratio {measures.median_ratio:.3f}"}
    told |= {f"coverage_{each.level}": f"{each.level} % coverage {each.share:.1f} %" for each in later.coverage}
    for name in told.keys() & later.out_of_range:
        told[name] += f" ({OUT_OF_RANGE.upper()})"
    sales = f"{later.held_out} since {later.since}, the same recipe having learned from {later.trained_on} before"
    return f"On the latest sales ({sales}): {', '.join(told.values())}"


def segments_text(evaluation: Evaluation) -> str:
    """The measures by price, and by category."""
    parts = []
    for title, segments in (("price", evaluation.price_tenths), (evaluation.category or "", evaluation.categories)):
        if segments:
            rows = [
                (
                    each.name,
                    str(each.n),
                    number(each.median_ratio, 3),
                    number(each.mdape, 1, " %"),
                    number(each.coverage, 1, " %"),
                )
                for each in segments
            ]
            parts.append(table((title, "sales", "median ratio", "MdAPE", "in 90 % interval"), rows))
    return "\n\n".join(parts)


def model_document(version: ModelVersion, promoted: str | None) -> dict[str, Any]:
    """A version as JSON: what a program wants to know of it."""
    return {
        "model_version": version.name,
        "promoted": version.name == promoted,
        "created_at": version.created_at.isoformat(),
        "algorithm": version.algorithm,
        "source": version.source.location,
        "synthetic": version.source.synthetic,
        "recorded": version.source.recorded,
        "rejected_rows": dict(version.source.rejected),
        "notes": version.source.notes,
        "valuation_date": version.valuation_date.isoformat() if version.valuation_date else None,
        "reproducible": version.irreproducible is None,
        "irreproducible": version.irreproducible,
        "intervals": intervals_document(version.intervals),
        "features": [
            {"name": each.name, "kind": each.kind, "unit": each.unit, "required": each.required}
            for each in version.schema.features
        ],
        "evaluation": evaluation_document(version.evaluation),
    }


def intervals_document(choice: IntervalChoice | None) -> dict[str, Any] | None:
    """Which intervals a version has, with the tests that led there, as JSON."""
    return asdict(choice) if choice else None


def evaluation_document(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON: the measures as numbers, null where one is not defined."""
    return {
        "trained_on": evaluation.trained_on,
        "held_out": evaluation.held_out,
        **asdict(evaluation.accuracy),
        "bounds": {name: asdict(each) for name, each in evaluation.bounds.items()},
        "coverage": [asdict(each) for each in evaluation.coverage],
        "out_of_range": evaluation.out_of_range,
        "price_tenths": [asdict(each) for each in evaluation.price_tenths],
        "category": evaluation.category,
        "categories": [asdict(each) for each in evaluation.categories],
        "later": _later_document(evaluation.later) if evaluation.later else None,
        "why_no_later": evaluation.why_no_later,
    }


def _later_document(later: LaterEvaluation) -> dict[str, Any]:
    return {
        "since": later.since.isoformat(),
        "trained_on": later.trained_on,
        "held_out": later.held_out,
        **asdict(later.accuracy),
        "coverage": [asdict(each) for each in later.coverage],
        "out_of_range": later.out_of_range,
    }


def version_document(version: ModelVersion, promoted: str | None) -> dict[str, Any]:
    """A version as JSON, with how it came about."""
    schema = version.schema
    return {
        **model_document(version, promoted),
        "features": [asdict(each) for each in schema.features],
        "sale_date": schema.sale_date,
        "options": asdict(version.options),
        "source_digest": version.source.digest,
        "digests": dict(version.digests),
        "libraries": dict(version.libraries),
        "calibration": asdict(version.calibration) if version.calibration else None,
        "self_test": [{"house": dict(each.house.values), "price": each.price} for each in version.self_test],
    }


def version_text(version: ModelVersion, promoted: str | None) -> str:
    """A version for people: how it came about, what it must know of a house, and how good it is."""
    usual = asdict(TrainingOptions())
    given = {name: value for name, value in asdict(version.options).items() if value != usual[name]}
    facts = [
        ("version", version.name),
        ("promoted", "yes" if version.name == promoted else "no"),
        ("trained", f"{version.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("algorithm", str(version.algorithm)),
        ("sales", f"{source_text(version.source)}, SHA-256 {version.source.digest}"),
        ("options", ", ".join(f"{name}={value}" for name, value in given.items()) or "none"),
        ("reproducible", f"no: {version.irreproducible}" if version.irreproducible else "yes"),
        ("intervals", intervals_text(version.intervals)),
        ("estimates for", str(version.valuation_date or "no date")),
        *[("file", f"{name}, SHA-256 {digest}") for name, digest in sorted(version.digests.items())],
        *[("library", f"{name} {number}") for name, number in sorted(version.libraries.items())],
    ]
    width = max(len(name) for name, _ in facts)
    features = [
        (each.name, each.kind, each.unit or "", "yes" if each.required else "no", _known(each))
        for each in version.schema.features
    ]
    parts = [
        "\n".join(f"{name:<{width}}  {value}" for name, value in facts),
        table(("feature", "kind", "unit", "required", "learned from"), features) if features else "",
        evaluation_text(version.evaluation),
        segments_text(version.evaluation),
        f"As a page with plots: housepredict models show {version.name} --html FILE",
    ]
    return "\n\n".join(part for part in parts if part)


def source_text(source: TrainingSource, *, short: bool = False) -> str:
    """Where a version's sales came from; `short`, without the folder of their file."""
    if source.synthetic:
        return "synthetic"
    recorded = [] if source.recorded is None else [f"{source.recorded} that came back"]
    location = PurePath(source.location).name if source.location and short else source.location
    return " and ".join(([location] if location else []) + recorded)


def _known(feature: Feature) -> str:
    if feature.observed:
        return f"{feature.observed[0]} to {feature.observed[1]}"
    names = ", ".join(feature.categories[:5])
    return f"{names}, and {len(feature.categories) - 5} more" if len(feature.categories) > 5 else names


def _range(bounds: Bounds | None, digits: int) -> str:
    return f"{bounds.low:,.{digits}f} to {bounds.high:,.{digits}f}" if bounds else ""


def number(value: float | None, digits: int, unit: str = "") -> str:
    """A measure as it is printed; `-` where it is not defined."""
    return "-" if value is None else f"{value:,.{digits}f}{unit}"
