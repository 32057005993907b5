"""The commands for trainings: `housepredict train | trainings | trainings cancel`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePath
from typing import Any
from uuid import UUID

from attrs import fields

from housepredict.domain.errors import HousepredictError, InvalidSettings, interrupt_in
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import Kind
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions, choice, column, seconds, seed
from housepredict.domain.training_status import TrainingStatus
from housepredict.domain.usecases.train import Training
from housepredict.entrypoints.answers import TrainingAnswer, TrainingResultAnswer, TrainingsAnswer
from housepredict.entrypoints.cli.model_commands import evaluation_text
from housepredict.entrypoints.cli.terminal import (
    Commands,
    add_encoding,
    add_limit,
    answer,
    counted,
    number_reader,
    progress_bar,
    reader,
    split_pair,
    table,
)
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.measure_labels import intervals_text


def add_train_commands(commands: Commands) -> None:
    """Add the commands for trainings."""
    about = "Train a model on sales, evaluate it on sales held out, and promote it if it is better."
    _add_training_options(commands.add("train", about, _train))

    about = "List what was trained, by whomever, newest first, or cancel it."
    trainings = commands.add("trainings", about, _list)
    add_limit(trainings)
    about = "Ask a training to end; it ends within seconds, or when the fit that it is at is done."
    cancel = Commands.below(trainings).add("cancel", about, _cancel)
    cancel.add_argument("training", type=UUID, metavar="ID", help="its id, as `housepredict trainings` lists it")


def _add_training_options(train: argparse.ArgumentParser) -> None:
    """Add the options of `train`; those whose `dest` is a field of TrainingOptions set that field."""
    sales = train.add_mutually_exclusive_group()
    sales.add_argument("sales", nargs="?", metavar="SALES", help="a .csv, .csv.gz or .parquet file, one sale a row")
    sales.add_argument("--synthetic", action="store_true", help="1,000 made-up sales, as in the demonstration model")
    about = "learn from the sales that came back, too; without a file, beside the one of the promoted version"
    train.add_argument("--from-sales", action="store_true", help=about)
    add_encoding(train)

    one: dict[str, Any] = {"type": reader(column), "metavar": "COLUMN"}
    train.add_argument("--price", **one, help="the column of sale prices; found by its name if not given")
    train.add_argument("--sale-date", **one, help="the column that says when the house was sold")
    train.add_argument("--house-id", **one, help="the column that names the house, to tell resales apart")

    many: dict[str, Any] = {**one, "action": "append", "default": []}
    kinds: dict[str, Any] = {**many, "type": reader(_column_kind), "metavar": "COLUMN=KIND"}
    train.add_argument("--feature", dest="features", **many, help="use these columns alone (repeatable)")
    train.add_argument("--exclude", **many, help="use no such column (repeatable)")
    train.add_argument("--type", dest="kinds", **kinds, help=f"what a column is: {', '.join(Kind)} (repeatable)")
    about = "refuse categories that the sales do not have, instead of warning of them (repeatable)"
    train.add_argument("--closed", **many, help=about)
    train.add_argument("--allow", **many, help="use this column though it seems to give the price away (repeatable)")

    defaults = TrainingOptions()
    about = "auto (what does best in cross-validation; a line for --synthetic), or one of the others"
    train.add_argument("--algorithm", **_choice(defaults.algorithm), help=about)
    train.add_argument("--effort", **_choice(defaults.effort), help="how much to search (normal)")
    about = "whether the version is to serve: if-better compares it with the promoted one on the sales held out"
    train.add_argument("--promote", **_choice(PromotionPolicy.IF_BETTER), help=about)
    about = "for whatever is drawn by chance (42)"
    train.add_argument("--seed", type=number_reader(int, seed), default=defaults.seed, help=about)
    about = "end the search after so long, with the best of what was compared; the result depends on the machine then"
    train.add_argument("--time-limit", type=number_reader(float, seconds), metavar="SECONDS", help=about)


def _choice(default: Algorithm | Effort | PromotionPolicy) -> dict[str, Any]:
    kind = type(default)
    return {"type": reader(choice(kind)), "choices": list(kind), "default": default}


def _column_kind(text: str) -> tuple[str, Kind]:
    name, kind = split_pair(text)
    return name, choice(Kind)(kind)


def _train(application: Application, options: argparse.Namespace) -> int:
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
        with progress_bar("training") as progress:
            training = application.train(source, training_options, progress, options.promote, begun=begun.append)
    except BaseException as error:
        if not (interrupt := interrupt_in(error)):
            raise
        with suppress(HousepredictError):
            outcome = application.trainings.get(begun[0]).outcome if begun else None
            stored = outcome and outcome.version
            interrupt.add_note(f"model version {stored} is stored" if stored else "no model version is stored")
        raise interrupt from None
    return answer(options, document(training, TrainingResultAnswer), training_text(training))


def _list(application: Application, options: argparse.Namespace) -> int:
    trainings = application.trainings.recent(options.limit)
    return answer(options, document(trainings, TrainingsAnswer), trainings_text(trainings))


def _cancel(application: Application, options: argparse.Namespace) -> int:
    training = application.trainings.cancel(options.training)
    return answer(options, document(training, TrainingAnswer), f"Training {training.id} is told to end.")


def training_text(training: Training) -> str:
    """The decisions of a training, what it left out, and the accuracy of the model."""
    version, sales = training.version, training.sales
    rows = [(decision.column, decision.use, decision.kind or "", decision.why) for decision in sales.decisions]
    lines = [table(("column", "used as", "kind", "why"), rows)]
    lines += [f"The file: {note}" for note in sales.notes]
    lines += [f"{counted(count, 'row')} rejected: {reason}" for reason, count in sales.rejected.items()]
    lines += [
        f"{counted(count, 'cell')} of {name} unreadable, taken as missing" for name, count in sales.unreadable.items()
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
