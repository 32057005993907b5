"""Every answer as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from attrs import asdict

from housepredict.domain.estimates import LEVELS, Explanation, Prediction, Unit
from housepredict.domain.evaluation.coverage import IntervalChoice
from housepredict.domain.evaluation.drift import MIN_ESTIMATES, Drift, Shift
from housepredict.domain.evaluation.measures import Bounds, Evaluation, OutOfTimeEvaluation
from housepredict.domain.features import Feature
from housepredict.domain.models import ModelVersion, Pointer, TrainingSource, Verdict
from housepredict.domain.sales import RealizedSale
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.training_status import TrainingStatus
from housepredict.domain.usecases.review import AccuracyReview, Measured
from housepredict.domain.usecases.train import Training
from housepredict.entrypoints.answer_documents import Origins, settings_document, unmatched
from housepredict.entrypoints.cli.terminal import table
from housepredict.entrypoints.measure_labels import MEASURES, OUT_OF_RANGE, coverage_note
from housepredict.entrypoints.settings import Settings


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
    if evaluation.out_of_time:
        lines.append(_later_text(evaluation.out_of_time))
    elif evaluation.out_of_time_skipped:
        lines.append(f"Not evaluated on the latest sales: {evaluation.out_of_time_skipped}.")
    return "\n".join(lines)


def _later_text(later: OutOfTimeEvaluation) -> str:
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


def models_text(versions: Sequence[ModelVersion], pointer: Pointer) -> str:
    """The versions as a table, with the promoted one marked."""
    if not versions:
        return "No model yet: train one with `housepredict train SALES.csv --price COLUMN`."
    rows = [
        (
            "*" if version.name == pointer.name else "",
            version.name,
            version.algorithm,
            source_text(version.source, short=True),
            number(version.evaluation.accuracy.mdape, 1, " %"),
            number(version.evaluation.accuracy.ppe10, 1, " %"),
            number(version.evaluation.accuracy.cod, 1),
        )
        for version in versions
    ]
    parts = [table(("", "version", "algorithm", "sales", "MdAPE", "PPE10", "COD"), rows, whole=("version",))]
    parts.append(f"* promoted, generation {pointer.generation}" if pointer.name else "None is promoted.")
    parts += [
        f"{version.name} is {OUT_OF_RANGE}: {', '.join(names)}"
        for version in versions
        if (names := version.evaluation.out_of_range)
    ]
    return "\n".join(parts)


def training_text(training: Training) -> str:
    """What was decided, what was left out, and how good the model is."""
    version, sales = training.version, training.sales
    rows = [(each.column, each.use, each.kind or "", each.why) for each in sales.decisions]
    parts = [table(("column", "used as", "kind", "why"), rows)]
    parts += [f"The file: {note}" for note in sales.notes]
    parts += [
        f"{count} {'row' if count == 1 else 'rows'} rejected: {reason}" for reason, count in sales.rejected.items()
    ]
    parts += [
        f"{count} {'cell' if count == 1 else 'cells'} of {name} unreadable, taken as missing"
        for name, count in sales.unreadable.items()
    ]
    if day := version.valuation_date:
        parts.append(f"Estimates are for {day}, the latest sale used, unless a house says otherwise.")
    if version.source.recorded is not None:
        parts.append(f"{version.source.recorded} sales came back of houses that were estimated.")
    if version.source.synthetic:
        parts.append("These sales are synthetic: the model says nothing about real houses.")
    if version.irreproducible:
        parts.append(f"Training again may make another model: {version.irreproducible}.")
    # a verdict may give the same reasons
    with_reasons = version.intervals is not None and version.intervals.reasons != training.verdict.reasons
    parts += ["", evaluation_text(version.evaluation)]
    parts += [f"Intervals: {intervals_text(version.intervals, with_reasons=with_reasons)}", ""]
    parts.append(f"Model trained successfully. MSE: {version.evaluation.accuracy.mse:.2f}")
    parts += verdict_lines(version, training.verdict)
    return "\n".join(parts)


def explanation_text(explanation: Explanation) -> str:
    """An explanation as a table, the largest contributions first."""
    in_logarithms = explanation.unit is Unit.LOG_PRICE
    largest_first = sorted(explanation.contributions, key=lambda each: -abs(each.amount))
    rows = [
        (each.name, f"{each.percent:+.1f} %" if in_logarithms else f"{each.amount:+,.2f}") for each in largest_first
    ]
    return table(("feature", "contribution"), [("(base)", f"{explanation.base_price:,.2f}"), *rows])


def prediction_text(prediction: Prediction) -> str:
    """A prediction as a table of what was said and of which house."""
    estimate = prediction.estimate
    rows = [
        ("id", str(prediction.id)),
        ("time (UTC)", f"{prediction.created_at:%Y-%m-%d %H:%M:%S}"),
        ("model version", estimate.model_version),
        ("price", f"{prediction.price:,.2f}"),
        *((f"{each.level} % interval", f"{each.low:,.2f} to {each.high:,.2f}") for each in estimate.intervals),
        *((name, str(value)) for name, value in estimate.house.values.items()),
        *(("warning", each.message) for each in estimate.warnings),
    ]
    return table(("what", "value"), rows)


def predictions_text(predictions: Sequence[Prediction]) -> str:
    """Predictions as a table, newest first."""
    if not predictions:
        return "Nothing was estimated yet."
    rows = [
        (
            str(each.id),
            f"{each.created_at:%Y-%m-%d %H:%M:%S}",
            f"{each.price:,.2f}",
            each.estimate.model_version,
            _features(each.estimate.house.values),
        )
        for each in predictions
    ]
    return table(("id", "time (UTC)", "price", "model version", "house"), rows, whole=("id",))


def _features(values: Mapping[str, object]) -> str:
    text = " ".join(f"{name}={value}" for name, value in values.items())
    return text if len(text) <= 60 else text[:59] + "…"


_IN_THE_TABLE = ("mdape", "ppe10", "median_ratio", "cod", "prd", "prb")


def sale_text(returned: RealizedSale) -> str:
    """What was recorded, in a line."""
    said = f"Recorded: sold on {returned.sale.sold_on} for {returned.sale.price:,.2f}"
    if returned.prediction is None:
        return f"{said}. No such prediction is known yet; it counts once there is one."
    return f"{said}, estimated at {returned.prediction.price:,.2f} (ratio {returned.ratio:.3f})."


def sales_text(returned: Sequence[RealizedSale]) -> str:
    """How many were recorded, in a line."""
    waiting = unmatched(returned)
    more = f"; {_sales(waiting)} of predictions that are not known yet, which count once they are" if waiting else ""
    return f"Recorded {_sales(len(returned))}{more}."


def accuracy_text(review: AccuracyReview) -> str:
    """A review as a table by model version, with what was left out below."""
    returned, lines = review.returned, []
    if review.overall:
        measures = [each for name in _IN_THE_TABLE for each in MEASURES if each.field == name]
        header = (
            "version",
            "sales",
            *(each.title for each in measures),
            *(f"in {level} %" for level in LEVELS),
            OUT_OF_RANGE,
        )
        measured = [*review.by_version.items(), ("all", review.overall)]
        rows = [(name, str(each.accuracy.n), *_cells(each)) for name, each in measured]
        lines.append(table(header, rows, whole=("version",)))
    else:
        lines.append("No sale that came back can be measured yet.")
    if returned.unmatched:
        lines.append(f"{_sales(returned.unmatched)} left out: no such prediction is known yet.")
    if returned.estimated_after_sale:
        late = _sales(returned.estimated_after_sale)
        lines.append(f"{late} left out: the estimate was made on the day of the sale or after it.")
    if returned.truncated:
        lines.append(f"Only the latest {returned.sales} sales were looked at.")
    return "\n".join(lines)


def _sales(count: int) -> str:
    return "1 sale" if count == 1 else f"{count} sales"


def _cells(measured: Measured) -> Sequence[str]:
    measures = [each for name in _IN_THE_TABLE for each in MEASURES if each.field == name]
    values = [(getattr(measured.accuracy, each.field), each) for each in measures]
    shares = {each.level: each.share for each in measured.coverage}
    return (
        *("-" if value is None else f"{value:,.{each.digits}f}{each.unit}" for value, each in values),
        *(f"{shares[level]:.1f} %" if level in shares else "-" for level in LEVELS),
        ", ".join(measured.out_of_range),
    )


def drift_text(drift: Drift) -> str:
    """A drift as a table, what moved most first."""
    rows = sorted(drift.features, key=lambda each: -(each.shift.psi or 0))
    columns = ("", "psi", "by chance", "movement", "out of range")
    lines = [("estimates", *_drift_cells(drift.estimates), _percent(drift.out_of_range))]
    lines += [(each.name, *_drift_cells(each.shift), _percent(each.out_of_range)) for each in rows]
    since = f", since {drift.since:%Y-%m-%d %H:%M:%S} UTC" if drift.since else ""
    said = [f"{drift.n} of the newest {drift.examined} estimates are by {drift.model_version}{since}."]
    if drift.n < MIN_ESTIMATES:
        said.append(f"Fewer than {MIN_ESTIMATES} say nothing of drift.")
    return "\n".join([*said, "", table(columns, lines)])


def _drift_cells(shift: Shift) -> tuple[str, str, str]:
    return _number(shift.psi), _number(shift.chance), str(shift.movement)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"


def trainings_text(records: Sequence[TrainingStatus]) -> str:
    """Trainings as a table, newest first."""
    if not records:
        return "Nothing was trained yet."
    rows = [
        (
            str(each.id),
            f"{each.started_at:%Y-%m-%d %H:%M:%S}",
            "cancelling" if each.cancelling and not each.outcome else each.state,
            f"{each.done}/{each.total}" if each.total else "",
            _training_sales(each),
            _result(each),
        )
        for each in records
    ]
    return table(("training", "began (UTC)", "state", "steps", "sales", "result"), rows, whole=("training",))


def _training_sales(record: TrainingStatus) -> str:
    if record.synthetic:
        return "synthetic"
    recorded = ["sales that came back"] if record.with_recorded else []
    return " and ".join(([PurePath(record.location).name] if record.location else []) + recorded)


def _result(record: TrainingStatus) -> str:
    if record.outcome is None:
        return ""
    if record.outcome.version is None:
        return record.outcome.error or ""
    return record.outcome.version + (", promoted" if record.outcome.promoted else "")


def settings_text(settings: Settings, origins: Origins) -> str:
    """The same as a table."""
    rows = [
        (each["setting"], _written(each["value"]), ", ".join(each["from"]))
        for each in settings_document(settings, origins)
    ]
    return table(("setting", "value", "from"), rows)


def _written(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "1" if value else "0"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(value)
    return str(value)
