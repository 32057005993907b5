"""The commands for trainings: `housepredict train | trainings | trainings cancel`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePath
from uuid import UUID

from attrs import fields

from housepredict.domain.errors import HousepredictError, InvalidSettings, interrupt_in
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import Kind
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions, choice, column, seconds, seed
from housepredict.domain.training_status import TrainingStatus
from housepredict.domain.usecases import Training
from housepredict.entrypoints.answer_documents import training_document, training_record_document
from housepredict.entrypoints.cli.model_commands import evaluation_text
from housepredict.entrypoints.cli.terminal import (
    Commands,
    add_encoding,
    add_limit,
    answer,
    number_reader,
    progress_bar,
    reader,
    split_pair,
    table,
)
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.measure_labels import intervals_text


def add_train_commands(commands: Commands) -> None:
    """Add the commands for trainings."""
    about = "Train a model on sales, evaluate it on sales held out, and promote it if it is better."
    _add_training_options(commands.add("train", about, train))

    about = "List what was trained, by whomever, newest first, or cancel it."
    trainings = commands.add("trainings", about, list_trainings)
    add_limit(trainings)
    about = "Ask a training to end; it ends within seconds, or when the fit that it is at is done."
    cancel = Commands.below(trainings).add("cancel", about, cancel_training)
    cancel.add_argument("training", type=UUID, metavar="ID", help="its id, as `housepredict trainings` lists it")


def _add_training_options(train: argparse.ArgumentParser) -> None:
    """Add the options of `train`; those named as a field of TrainingOptions are that field."""

    def column_option(name: str, about: str) -> None:
        train.add_argument(name, type=reader(column), metavar="COLUMN", help=about)

    def repeatable(name: str, field: str, about: str) -> None:
        about = f"{about} (repeatable)"
        train.add_argument(
            name, dest=field, action="append", default=[], type=reader(column), metavar="COLUMN", help=about
        )

    def choosing(name: str, default: Algorithm | Effort | PromotionPolicy, about: str) -> None:
        kind = type(default)
        train.add_argument(name, type=reader(choice(kind)), choices=list(kind), default=default, help=about)

    sales = train.add_mutually_exclusive_group()
    sales.add_argument("sales", nargs="?", metavar="SALES", help="a .csv, .csv.gz or .parquet file, one sale a row")
    sales.add_argument("--synthetic", action="store_true", help="1,000 made-up sales, as in the demonstration model")
    train.add_argument(
        "--from-sales",
        action="store_true",
        help="learn from the sales that came back, too; without a file, beside the one of the promoted version",
    )
    add_encoding(train)
    column_option("--price", "the column of sale prices; found by its name if not given")
    column_option("--sale-date", "the column that says when the house was sold")
    column_option("--house-id", "the column that names the house, to tell resales apart")
    repeatable("--feature", "features", "use these columns alone")
    repeatable("--exclude", "exclude", "use no such column")
    train.add_argument(
        "--type",
        dest="kinds",
        action="append",
        default=[],
        type=reader(_column_kind),
        metavar="COLUMN=KIND",
        help=f"what a column is: {', '.join(Kind)} (repeatable)",
    )
    repeatable("--closed", "closed", "refuse categories that the sales do not have, instead of warning of them")
    repeatable("--allow", "allow", "use this column though it seems to give the price away")
    choosing(
        "--algorithm",
        Algorithm.AUTO,
        "auto (what does best in cross-validation; a line for --synthetic), or one of the others",
    )
    choosing("--effort", Effort.NORMAL, "how much to search (normal)")
    choosing(
        "--promote",
        PromotionPolicy.IF_BETTER,
        "whether the version is to serve: if-better compares it with the promoted one on the sales held out",
    )
    train.add_argument("--seed", type=number_reader(int, seed), default=42, help="for whatever is drawn by chance (42)")
    train.add_argument(
        "--time-limit",
        type=number_reader(float, seconds),
        metavar="SECONDS",
        help="end the search after so long, with the best of what was compared; the result depends on the machine then",
    )


def _column_kind(text: str) -> tuple[str, Kind]:
    name, kind = split_pair(text)
    return name, choice(Kind)(kind)


def train(application: Application, options: argparse.Namespace) -> int:
    """Train a model, and promote it if the policy says so."""
    if options.synthetic and options.from_sales:
        raise InvalidSettings(["--synthetic and --from-sales exclude each other: sales that came back are real"])
    if not (options.synthetic or options.from_sales or options.sales):
        raise InvalidSettings(["train needs a file of sales, --from-sales or --synthetic"])
    options.kinds = dict(options.kinds)
    training_options = TrainingOptions(
        **{field.name: getattr(options, field.name) for field in fields(TrainingOptions)}
    )
    source, training_options = application.sales_to_train_on(
        options.sales, training_options, with_recorded=options.from_sales
    )
    begun: list[UUID] = []
    try:
        with progress_bar(sys.stderr, "training") as progress:
            training = application.train(source, training_options, progress, options.promote, begun=begun.append)
    except BaseException as error:
        if not (interrupt := interrupt_in(error)):
            raise
        with suppress(HousepredictError):
            outcome = application.trainings.get(begun[0]).outcome if begun else None
            stored = outcome and outcome.version
            interrupt.add_note(f"model version {stored} is stored" if stored else "no model version is stored")
        raise interrupt from None
    return answer(options, training_document(training), training_text(training))


def list_trainings(application: Application, options: argparse.Namespace) -> int:
    """List the newest trainings."""
    trainings = application.trainings.recent(options.limit)
    document = {"trainings": [training_record_document(training) for training in trainings]}
    return answer(options, document, trainings_text(trainings))


def cancel_training(application: Application, options: argparse.Namespace) -> int:
    """Ask a training to end."""
    training = application.trainings.cancel(options.training)
    return answer(options, training_record_document(training), f"Training {training.id} is told to end.")


def training_text(training: Training) -> str:
    """The decisions of a training, what it left out, and the accuracy of the model."""
    version, sales = training.version, training.sales
    rows = [(decision.column, decision.use, decision.kind or "", decision.why) for decision in sales.decisions]
    lines = [table(("column", "used as", "kind", "why"), rows)]
    lines += [f"The file: {note}" for note in sales.notes]
    lines += [f"{_counted(count, 'row')} rejected: {reason}" for reason, count in sales.rejected.items()]
    lines += [
        f"{_counted(count, 'cell')} of {name} unreadable, taken as missing" for name, count in sales.unreadable.items()
    ]
    if version.valuation_date:
        lines.append(
            f"Estimates are for {version.valuation_date}, the latest sale used, unless a house says otherwise."
        )
    if version.source.recorded is not None:
        lines.append(f"{version.source.recorded} sales came back of houses that were estimated.")
    if version.source.synthetic:
        lines.append("These sales are synthetic: the model says nothing about real houses.")
    if version.irreproducible:
        lines.append(f"Training again may make another model: {version.irreproducible}.")
    verdict = training.verdict
    # a verdict may give the same reasons
    with_reasons = version.intervals is not None and version.intervals.reasons != verdict.reasons
    lines += ["", evaluation_text(version.evaluation)]
    lines += [f"Intervals: {intervals_text(version.intervals, with_reasons=with_reasons)}", ""]
    lines.append(f"Model trained successfully. MSE: {version.evaluation.accuracy.mse:.2f}")
    lines += verdict.reasons
    if verdict.promoted:
        lines.append(f"Promoted {version.name} ({version.algorithm}).")
    else:
        lines.append(f"Stored, but not promoted: {version.name} ({version.algorithm}).")
        lines.append(f"To promote it anyway: housepredict models promote {version.name}")
    return "\n".join(lines)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def trainings_text(trainings: Sequence[TrainingStatus]) -> str:
    """Trainings as a table, newest first."""
    if not trainings:
        return "Nothing was trained yet."
    rows = [
        (
            str(training.id),
            f"{training.started_at:%Y-%m-%d %H:%M:%S}",
            "cancelling" if training.cancelling and not training.outcome else training.state,
            f"{training.done}/{training.total}" if training.total else "",
            _source(training),
            _result(training),
        )
        for training in trainings
    ]
    return table(("training", "began (UTC)", "state", "steps", "sales", "result"), rows, whole=("training",))


def _source(training: TrainingStatus) -> str:
    if training.synthetic:
        return "synthetic"
    recorded = ["sales that came back"] if training.with_recorded else []
    return " and ".join(([PurePath(training.location).name] if training.location else []) + recorded)


def _result(training: TrainingStatus) -> str:
    outcome = training.outcome
    if outcome is None:
        return ""
    if outcome.version is None:
        return outcome.error or ""
    return outcome.version + (", promoted" if outcome.promoted else "")
