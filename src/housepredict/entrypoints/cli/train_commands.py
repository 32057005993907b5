"""The commands for training jobs: `housepredict train | trainings | trainings cancel`."""

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
    number_reader,
    progress_bar,
    reader,
    split_pair,
    table,
)
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.measure_labels import SYNTHETIC, counted, intervals_text


def add_train_commands(commands: Commands) -> None:
    """Add the commands for training jobs."""
    about = "Train a model on sales, and promote it if it is better"
    examples = (
        "train sales.csv",
        "train sales.csv --price sale_price --exclude assessed_value --type zip=category",
        "train --from-sales",
    )
    _add_training_options(commands.add("train", about, _train, examples=examples))

    trainings = commands.add("trainings", "List training jobs, newest first, or cancel one", _list)
    add_limit(trainings)
    about = "Cancel a training job; it may first finish the model that it is fitting"
    cancel = Commands.below(trainings).add("cancel", about, _cancel)
    cancel.add_argument("training", type=UUID, metavar="ID", help="job id, as listed by `housepredict trainings`")


def _add_training_options(train: argparse.ArgumentParser) -> None:
    """Add the options of `train`. An option whose `dest` is a field of TrainingOptions sets that field."""
    sales = train.add_mutually_exclusive_group()
    sales.add_argument("sales", nargs="?", metavar="SALES", help=".csv, .csv.gz or .parquet file with one sale per row")
    sales.add_argument("--synthetic", action="store_true", help="train on 1,000 synthetic sales, like the demo model")
    about = "also train on recorded sales; without SALES, train on them and the promoted version's sales file"
    train.add_argument("--from-sales", action="store_true", help=about)
    add_encoding(train)

    one: dict[str, Any] = {"type": reader(column), "metavar": "COLUMN"}
    train.add_argument("--price", **one, help="column of sale prices (default: detected by its name)")
    train.add_argument("--sale-date", **one, help="column of sale dates (default: detected)")
    train.add_argument("--house-id", **one, help="column that identifies a house (default: detected)")

    many: dict[str, Any] = {**one, "action": "append", "default": []}
    kinds: dict[str, Any] = {**many, "type": reader(_column_kind), "metavar": "COLUMN=KIND"}
    train.add_argument("--feature", dest="features", **many, help="use only these columns as features (repeatable)")
    train.add_argument("--exclude", **many, help="don't use this column (repeatable)")
    train.add_argument("--type", dest="kinds", **kinds, help=f"set a column's kind: {', '.join(Kind)} (repeatable)")
    about = "reject houses whose category in this column is not in the training sales, instead of warning (repeatable)"
    train.add_argument("--closed", **many, help=about)
    train.add_argument("--allow", **many, help="use this column even though it seems to leak the price (repeatable)")

    defaults = TrainingOptions()
    about = "model type; auto picks the best by cross-validation (default: auto, or linear with --synthetic)"
    train.add_argument("--algorithm", **_choice(defaults.algorithm), help=about)
    about = "how many candidate models to try (default: normal)"
    train.add_argument("--effort", **_choice(defaults.effort), help=about)
    about = "when to promote the new version; if-better: if it beats the promoted version (default: if-better)"
    train.add_argument("--promote", **_choice(PromotionPolicy.IF_BETTER), help=about)
    about = "random seed (default: 42)"
    train.add_argument("--seed", type=number_reader(int, seed), default=defaults.seed, help=about)
    about = "stop the search after this time, and use the best candidate so far; results then vary between machines"
    train.add_argument("--time-limit", type=number_reader(float, seconds), metavar="SECONDS", help=about)


def _choice(default: Algorithm | Effort | PromotionPolicy) -> dict[str, Any]:
    kind = type(default)
    return {"type": reader(choice(kind)), "choices": list(kind), "default": default}


def _column_kind(text: str) -> tuple[str, Kind]:
    name, kind = split_pair(text)
    return name, choice(Kind)(kind)


def _train(application: Application, options: argparse.Namespace) -> int:
    if options.synthetic and options.from_sales:
        raise InvalidSettings(["--synthetic and --from-sales can't be combined: recorded sales are real"])
    if not (options.synthetic or options.from_sales or options.sales):
        raise InvalidSettings(["train needs a sales file, --from-sales or --synthetic"])
    options.kinds = dict(options.kinds)
    training_options = TrainingOptions(
        **{field.name: getattr(options, field.name) for field in fields(TrainingOptions)}
    )
    source, training_options = application.sales_to_train_on(
        options.sales, training_options, with_recorded=options.from_sales
    )
    started: list[UUID] = []
    try:
        with progress_bar("training") as progress:
            training = application.train(source, training_options, progress, options.promote, begun=started.append)
    except BaseException as error:
        if not (interrupt := interrupt_in(error)):
            raise
        with suppress(HousepredictError):
            outcome = application.trainings.get(started[0]).outcome if started else None
            stored = outcome and outcome.version
            interrupt.add_note(f"model version {stored} was stored" if stored else "no model version was stored")
        raise interrupt from None
    return answer(options, document(training, TrainingResultAnswer), training_text(training))


def _list(application: Application, options: argparse.Namespace) -> int:
    trainings = application.trainings.recent(options.limit)
    return answer(options, document(trainings, TrainingsAnswer), trainings_text(trainings))


def _cancel(application: Application, options: argparse.Namespace) -> int:
    training = application.trainings.cancel(options.training)
    return answer(options, document(training, TrainingAnswer), f"Requested cancellation of training job {training.id}.")


def training_text(training: Training) -> str:
    """Format a training result: how each column was used, skipped rows, accuracy, and the promotion decision."""
    version, sales = training.version, training.sales
    rows = [(decision.column, decision.use, decision.kind or "", decision.why) for decision in sales.decisions]
    lines = [table(("column", "used as", "kind", "reason"), rows)]
    lines += [f"File: {note}" for note in sales.notes]
    lines += [f"{counted(count, 'row')} skipped: {reason}" for reason, count in sales.rejected.items()]
    lines += [
        f"{name}: {counted(count, 'unreadable cell')} treated as missing" for name, count in sales.unreadable.items()
    ]
    if version.valuation_date:
        lines.append(
            f"Estimates are as of {version.valuation_date}, the latest training sale, unless a house has a sale date."
        )
    if version.source.recorded is not None:
        lines.append(f"Used {counted(version.source.recorded, 'recorded sale')}.")
    if version.source.synthetic:
        lines.append(SYNTHETIC)
    if version.irreproducible:
        lines.append(f"Not reproducible: {version.irreproducible}.")
    verdict = training.verdict
    # The verdict on a version without intervals gives the same reasons, so show them only once.
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
    """Format training jobs as a table, newest first."""
    if not trainings:
        return "No training jobs yet."
    rows = [
        (
            str(training.id),
            f"{training.started_at:%Y-%m-%d %H:%M:%S}",
            "cancelling" if training.cancelling and not training.outcome else training.state,
            f"{training.done:,}/{training.total:,}" if training.total else "",
            _source(training),
            _result(training),
        )
        for training in trainings
    ]
    return table(("training", "started (UTC)", "state", "steps", "sales", "result"), rows, unwrapped=("training",))


def _source(training: TrainingStatus) -> str:
    if training.synthetic:
        return "synthetic"
    recorded = ["recorded sales"] if training.with_recorded else []
    return " and ".join(([PurePath(training.location).name] if training.location else []) + recorded)


def _result(training: TrainingStatus) -> str:
    outcome = training.outcome
    if outcome is None:
        return ""
    if outcome.version is None:
        return outcome.error or ""
    return outcome.version + (", promoted" if outcome.promoted else "")
