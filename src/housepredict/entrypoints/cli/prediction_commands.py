"""The commands for predictions: `housepredict predict | predictions | drift | export | erase | prune`."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from attrs import asdict

from housepredict.domain.errors import InvalidSettings
from housepredict.domain.estimates import ExplainedPrediction, Explanation, Prediction, Unit
from housepredict.domain.evaluation.drift import MIN_ESTIMATES, Drift, Shift
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.usecases.estimate_table import EstimatedTable
from housepredict.domain.usecases.manage_records import Removed
from housepredict.entrypoints.answers import DriftAnswer, ExportedPredictionAnswer
from housepredict.entrypoints.cli.terminal import (
    Commands,
    add_encoding,
    add_limit,
    add_period,
    answer,
    print_json,
    progress_bar,
    report,
    split_pair,
    table,
)
from housepredict.entrypoints.composition import (
    Application,
    houses_at,
    open_price_output,
    open_text_output,
    output_ending,
    write_csv,
)
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.measure_labels import counted

_MAX_REPORTED = 20  # rejected rows
_MAX_HOUSE = 60  # characters


def add_prediction_commands(commands: Commands) -> None:
    """Add the commands for predictions."""
    about = "Estimate one house, or all houses in a file, and store the estimates"
    examples = ("predict size=2500 bedrooms=3 age=10 --explain", "predict houses.csv -o prices.csv")
    predict = commands.add("predict", about, _predict, demo=True, examples=examples)
    about = "one house, such as size=2500 bedrooms=3; with -o, a .csv, .csv.gz or .parquet file with one house per row"
    predict.add_argument("houses", nargs="+", metavar="FEATURE=VALUE", help=about)
    about = "write the houses and their estimates to this file (-: standard output)"
    predict.add_argument("-o", "--output", metavar="PRICES", help=about)
    add_encoding(predict)
    predict.add_argument("--explain", action="store_true", help="also show how much each feature contributes")

    predictions = commands.add("predictions", "List stored predictions, newest first, or show one", _list)
    add_limit(predictions)
    about = "only predictions older than the one with this id"
    predictions.add_argument("--before", type=UUID, metavar="ID", help=about)
    about = "Show a prediction: house, estimate, intervals and model version"
    show = Commands.below(predictions).add("show", about, _show)
    about = "id of a prediction, or number of a prediction imported from the tutorial's table"
    show.add_argument("prediction", metavar="ID", help=about)

    commands.add("drift", "Show how far recent houses have drifted from the training data", _drift)

    examples = ("export -o predictions.csv.gz", "export -o - --since 2025-01-01")
    export = commands.add(
        "export", "Write stored predictions to a file, oldest first", _export, as_json=False, examples=examples
    )
    about = ".csv, .csv.gz, .jsonl or .jsonl.gz file (-: JSON Lines on standard output)"
    export.add_argument("-o", "--output", required=True, metavar="FILE", help=about)
    add_period(export, "predictions made")

    about = "Permanently erase predictions and the sales recorded for them"
    erase = commands.add("erase", about, _erase)
    about = "id of a prediction to erase; a prediction with this id is never stored again"
    erase.add_argument("predictions", nargs="+", metavar="ID", help=about)

    about = "Delete predictions older than the retention period, and the sales recorded for them"
    prune = commands.add("prune", about, _prune, examples=("prune --keep 400d",))
    about = "retention period in days, such as 400d [env: HOUSEPREDICT_KEEP]"
    prune.add_argument("--keep", metavar="DAYS", help=about)


def _predict(application: Application, options: argparse.Namespace) -> int:
    if options.output:
        return _predict_file(application, options)
    try:
        pairs = [split_pair(text) for text in options.houses]
    except ValueError as error:
        raise InvalidSettings([f"{error}; to estimate the houses in a file, add -o PRICES"]) from None
    schema = application.live_model.current().version.schema
    use_case = application.explain if options.explain else application.predict
    prediction = use_case.one(_house(schema, pairs))
    for warning in prediction.estimate.warnings:
        report(warning.message)
    lines = [f"{prediction.price:.2f}"]
    if isinstance(prediction, ExplainedPrediction):
        lines.append(_explanation_text(prediction.explanation))
    return answer(options, document(prediction, ExportedPredictionAnswer), "\n".join(lines))


class _House(dict[str, object]):
    """A house from the command line. `repeated` lists the features that were given more than once."""

    repeated: Sequence[str] = ()


def _house(schema: FeatureSchema, pairs: Sequence[tuple[str, str]]) -> _House:
    house = _House((name, _value(schema.named(name), text)) for name, text in pairs)
    counts = Counter(name for name, _ in pairs)
    house.repeated = [name for name, count in counts.items() if count > 1]
    return house


def _value(feature: Feature | None, text: str) -> object:
    """Parse the value of a feature according to the feature's kind.

    If `feature` is None (an unknown feature), or if the text can't be parsed, the text is returned unchanged, and
    validation rejects it later.
    """
    if feature is None or feature.kind not in (Kind.NUMBER, Kind.INTEGER, Kind.BOOLEAN):
        return text
    try:
        return json.loads(text.lower() if feature.kind is Kind.BOOLEAN else text)
    except ValueError:
        return text


def _predict_file(application: Application, options: argparse.Namespace) -> int:
    """Estimate the houses in a file. Return exit code 3 if some houses were rejected, else 0."""
    problems = []
    if len(options.houses) > 1:
        problems.append(f"-o takes one file of houses, not {len(options.houses)}")
    if options.explain:
        problems.append("--explain takes one house, not a file")
    if options.json and options.output == "-":
        problems.append("--json and -o - can't be combined: both write to standard output")
    if problems:
        raise InvalidSettings(problems)
    file = options.houses[0]
    with open_price_output(_output(options)) as prices, progress_bar("estimating") as progress:
        estimated = application.estimate_table(houses_at(Path(file), options.encoding), prices, progress)
    for note in estimated.notes:
        report(f"{file}: {note}")
    for refusal in estimated.refusals[:_MAX_REPORTED]:
        violations = "; ".join(violation.describe() for violation in refusal.violations)
        report(f"row {refusal.row}: {violations}")
    refused = f"; rejected {estimated.refused:,} (see the column `error`)" if estimated.refused else ""
    report(f"estimated {counted(estimated.estimated, 'house')} with model {estimated.model_version}{refused}")
    if options.json:
        print_json(_table_document(estimated))
    return 3 if estimated.refused else 0


def _output(options: argparse.Namespace) -> Path | None:
    return None if options.output == "-" else Path(options.output)


def _table_document(table: EstimatedTable) -> dict[str, Any]:
    return {
        "model_version": table.model_version,
        "estimated": table.estimated,
        "refused": table.refused,
        "notes": table.notes,
        "refusals": [
            {"row": refusal.row, "violations": [violation.describe() for violation in refusal.violations]}
            for refusal in table.refusals
        ],
    }


def _explanation_text(explanation: Explanation) -> str:
    """Format an explanation as a table, largest contributions first."""
    in_percent = explanation.unit is Unit.LOG_PRICE
    rows = [("(base)", f"{explanation.base_price:,.2f}")]
    rows += [
        (contribution.name, f"{contribution.percent:+.1f}%" if in_percent else f"{contribution.amount:+,.2f}")
        for contribution in sorted(explanation.contributions, key=lambda contribution: -abs(contribution.amount))
    ]
    return table(("feature", "contribution"), rows)


def _list(application: Application, options: argparse.Namespace) -> int:
    predictions = application.records.recent(options.limit, options.before)
    application.records.require_all()
    answers = {"predictions": [document(prediction, ExportedPredictionAnswer) for prediction in predictions]}
    return answer(options, answers, _predictions_text(predictions))


def _predictions_text(predictions: Sequence[Prediction]) -> str:
    if not predictions:
        return "No predictions yet."
    rows = [
        (
            str(prediction.id),
            f"{prediction.created_at:%Y-%m-%d %H:%M:%S}",
            f"{prediction.price:,.2f}",
            prediction.estimate.model_version,
            _house_text(prediction),
        )
        for prediction in predictions
    ]
    return table(("id", "time (UTC)", "price", "model version", "house"), rows, unwrapped=("id",))


def _house_text(prediction: Prediction) -> str:
    text = " ".join(f"{name}={value}" for name, value in prediction.estimate.house.values.items())
    return text if len(text) <= _MAX_HOUSE else f"{text[: _MAX_HOUSE - 1]}…"


def _show(application: Application, options: argparse.Namespace) -> int:
    prediction = application.records.one(options.prediction)
    return answer(options, document(prediction, ExportedPredictionAnswer), _prediction_text(prediction))


def _prediction_text(prediction: Prediction) -> str:
    estimate = prediction.estimate
    rows = [
        ("id", str(prediction.id)),
        ("time (UTC)", f"{prediction.created_at:%Y-%m-%d %H:%M:%S}"),
        ("model version", estimate.model_version),
        ("price", f"{prediction.price:,.2f}"),
        *((f"{bounds.level}% interval", f"{bounds.low:,.2f} to {bounds.high:,.2f}") for bounds in estimate.intervals),
        *((name, str(value)) for name, value in estimate.house.values.items()),
        *(("warning", warning.message) for warning in estimate.warnings),
    ]
    return table(("field", "value"), rows)


def _drift(application: Application, options: argparse.Namespace) -> int:
    drift = application.review_drift()
    application.records.require_all()
    return answer(options, document(drift, DriftAnswer), _drift_text(drift))


def _drift_text(drift: Drift) -> str:
    """Format the measured drift as a table, largest shift first."""
    since = f" since {drift.since:%Y-%m-%d %H:%M:%S} UTC" if drift.since else ""
    newest = f"{drift.n:,} of the newest {counted(drift.examined, 'prediction')}"
    lines = [f"Measured on {newest}: those by {drift.model_version}{since}."]
    if drift.n < MIN_ESTIMATES:
        lines.append(f"Too few to measure drift: at least {MIN_ESTIMATES} are needed.")
    features = sorted(drift.features, key=lambda feature: -(feature.shift.psi or 0))
    rows = [_drift_row("estimates", drift.estimates, drift.out_of_range)]
    rows += [_drift_row(feature.name, feature.shift, feature.out_of_range) for feature in features]
    return "\n".join([*lines, "", table(("", "PSI", "by chance", "movement", "out of range"), rows)])


def _drift_row(name: str, shift: Shift, out_of_range: float | None) -> Sequence[str]:
    psi, chance = ("" if value is None else f"{value:.3f}" for value in (shift.psi, shift.chance))
    return name, psi, chance, str(shift.movement), "" if out_of_range is None else f"{out_of_range:.1f}%"


def _export(application: Application, options: argparse.Namespace) -> int:
    path = _output(options)
    ending = output_ending(path, ".jsonl", ".jsonl.gz", ".csv", ".csv.gz")
    # Without --until, export only up to the current time, so that predictions made during the export don't prolong it.
    until = _midnight(options.until + timedelta(days=1)) if options.until else datetime.now(UTC)
    read = partial(application.records.between, _midnight(options.since) if options.since else None, until)
    with open_text_output(path) as stream:
        count = write_csv(read, stream) if ending.startswith(".csv") else _write_lines(read(), stream)
    report(f"exported {counted(count, 'prediction')}")
    return 0


def _write_lines(predictions: Iterable[Prediction], stream: IO[str]) -> int:
    """Write predictions as JSON Lines, and return how many were written."""
    count = 0
    for prediction in predictions:
        stream.write(json.dumps(document(prediction, ExportedPredictionAnswer), ensure_ascii=False) + "\n")
        count += 1
    return count


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _erase(application: Application, options: argparse.Namespace) -> int:
    removed = application.records.erase(options.predictions)
    unknown = len({*options.predictions}) - removed.predictions
    blocked = f" {counted(unknown, 'unknown id')} blocked from being stored later." if unknown else ""
    return answer(options, asdict(removed), f"Erased {_counted(removed)}.{blocked}")


def _prune(application: Application, options: argparse.Namespace) -> int:
    keep = application.settings.keep
    if keep is None:
        raise InvalidSettings(["prune needs --keep, such as --keep 400d, or HOUSEPREDICT_KEEP"])
    removed = application.records.prune(timedelta(days=keep))
    return answer(options, asdict(removed), f"Deleted {_counted(removed)} older than {counted(keep, 'day')}.")


def _counted(removed: Removed) -> str:
    return f"{counted(removed.predictions, 'prediction')} and {counted(removed.sales, 'sale')}"
