"""The command line: `housepredict serve | config | train | trainings | predict | models | predictions | sale | …`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

from housepredict.domain import errors
from housepredict.domain.estimates import ExplainedPrediction
from housepredict.domain.features import FeatureSchema, Kind
from housepredict.domain.training_options import TrainingOptions
from housepredict.entrypoints.answer_documents import (
    drift_document,
    prediction_document,
    training_document,
    training_record_document,
)
from housepredict.entrypoints.cli import model_commands, service_commands
from housepredict.entrypoints.cli import prediction_commands as file_commands
from housepredict.entrypoints.cli import prediction_commands as record_commands
from housepredict.entrypoints.cli import sale_commands as sales_commands
from housepredict.entrypoints.cli.arguments import EXIT_CODES, Command, pairs, parser
from housepredict.entrypoints.cli.terminal import answer, progress_bar
from housepredict.entrypoints.cli.texts import (
    drift_text,
    explanation_text,
    predictions_text,
    training_text,
    trainings_text,
)
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import read_settings

__all__ = ["EXIT_CODES", "main"]

EXIT_CODE_OF: Mapping[type[errors.HousepredictError], int] = {
    errors.HousepredictError: 1,
    errors.TrainingInProgress: 1,
    errors.TrainingEnded: 1,
    errors.TrainingCancelled: 1,
    errors.TrainingBroken: 1,
    errors.RepeatedKey: 1,
    errors.InvalidSettings: 2,
    errors.InvalidOptions: 2,
    errors.BrokenRules: 3,
    errors.ErasedSales: 3,
    errors.ErasedPredictions: 3,
    errors.UnreadableFile: 3,
    errors.NoModel: 4,
    errors.UnknownModel: 4,
    errors.UnknownTraining: 4,
    errors.UnknownPrediction: 4,
    errors.RefusedModel: 4,
    errors.NoExplanation: 4,
    errors.NoSnapshot: 4,
    errors.UnusableDatabase: 2,
    errors.UnusableModelDatabase: 2,
    errors.RepositoryUnavailable: 5,
    errors.ModelStoreUnavailable: 5,
    errors.MissingExtra: 6,
    errors.UnusablePlugin: 6,
}
"""The exit code of an error, and of those derived from it; see EXIT_CODES."""


def main(arguments: Sequence[str] | None = None, *, application: type[Application] = Application) -> int:
    """Run a command; the process's own arguments by default. Returns the exit code."""
    try:
        options = _parser().parse_args(arguments)
        settings = read_settings(
            data_dir=options.data_dir,
            demo=getattr(options, "demo", None) or None,
            host=getattr(options, "host", None),
            port=getattr(options, "port", None),
            workers=getattr(options, "workers", None),
            keep=getattr(options, "keep", None),
        )
        with application(settings) as opened:
            command: Command = options.command
            return command(opened, options)
    except errors.BrokenRules as error:
        for told in errors.describe_some(error.violations):
            print(f"housepredict: {told}", file=sys.stderr)
        return _exit_code(error)
    except errors.HousepredictError as error:
        print(f"housepredict: {error}", file=sys.stderr)
        return _exit_code(error)
    except BrokenPipeError:
        # whoever read the output has seen enough; keep the interpreter from complaining as it flushes
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123  # lives as long as the process
        return 0
    except KeyboardInterrupt as interrupt:
        print("; ".join(["housepredict: interrupted", *getattr(interrupt, "__notes__", ())]), file=sys.stderr)
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def _exit_code(error: errors.HousepredictError) -> int:
    return next(EXIT_CODE_OF[each] for each in type(error).__mro__ if each in EXIT_CODE_OF)


def _serve(application: Application, _options: argparse.Namespace) -> int:
    from housepredict.entrypoints.serve import serve

    return serve(application.settings, type(application))


def _train(application: Application, options: argparse.Namespace) -> int:
    training_options = TrainingOptions(
        price=options.price,
        sale_date=options.sale_date,
        house_id=options.house_id,
        features=options.feature,
        exclude=options.exclude,
        kinds=dict(options.type),
        closed=options.closed,
        allow=options.allow,
        algorithm=options.algorithm,
        effort=options.effort,
        seed=options.seed,
        time_limit=options.time_limit,
        encoding=options.encoding,
    )
    if options.synthetic and options.from_sales:
        raise errors.InvalidSettings(["--synthetic and --from-sales exclude each other: sales that came back are real"])
    if not (options.synthetic or options.from_sales or options.sales):
        raise errors.InvalidSettings(["train needs a file of sales, --from-sales or --synthetic"])
    source, training_options = application.sales_to_train_on(
        options.sales, training_options, with_recorded=options.from_sales
    )
    begun: list[UUID] = []
    try:
        with progress_bar(sys.stderr, "training") as progress:
            training = application.train(source, training_options, progress, options.promote, begun=begun.append)
    except BaseException as error:
        if not (interrupt := errors.interrupt_in(error)):
            raise
        with suppress(errors.HousepredictError):
            outcome = application.trainings.get(begun[0]).outcome if begun else None
            stored = outcome and outcome.version
            interrupt.add_note(f"model version {stored} is stored" if stored else "no model version is stored")
        raise interrupt from None
    return answer(options, training_document(training), training_text(training))


def _predict(application: Application, options: argparse.Namespace) -> int:
    if options.output:
        return file_commands.predict_file(application, options)
    given = pairs(options.houses)
    schema = application.live_model.current().version.schema
    estimating = application.explain if options.explain else application.predict
    prediction = estimating.one(_house(schema, given))
    for warning in prediction.estimate.warnings:
        print(f"housepredict: {warning.message}", file=sys.stderr)
    lines = [f"{prediction.price:.2f}"]
    if isinstance(prediction, ExplainedPrediction):
        lines.append(explanation_text(prediction.explanation))
    return answer(options, prediction_document(prediction), "\n".join(lines))


def _trainings(application: Application, options: argparse.Namespace) -> int:
    records = application.trainings.recent(options.limit)
    document = {"trainings": [training_record_document(each) for each in records]}
    return answer(options, document, trainings_text(records))


def _cancel_training(application: Application, options: argparse.Namespace) -> int:
    record = application.trainings.cancel(options.training)
    document = training_record_document(record)
    return answer(options, document, f"Training {record.id} is told to end.")


def _predictions(application: Application, options: argparse.Namespace) -> int:
    predictions = application.records.recent(options.limit, options.before)
    application.records.require_all()
    document = {"predictions": [prediction_document(each) for each in predictions]}
    return answer(options, document, predictions_text(predictions))


def _drift(application: Application, options: argparse.Namespace) -> int:
    drift = application.review_drift()
    application.records.require_all()
    return answer(options, drift_document(drift), drift_text(drift))


class _Given(dict[str, object]):
    """What a command line says of a house, with the names that it says twice."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated: list[str] = []


def _house(schema: FeatureSchema, pairs: Sequence[tuple[str, str]]) -> _Given:
    """The features as the schema's kinds have them; what cannot be read stays text, for validation to refuse."""
    given = _Given()
    for name, text in pairs:
        if name in given:
            given.repeated.append(name)
        given[name] = _value(feature.kind if (feature := schema.named(name)) else None, text)
    return given


def _value(kind: Kind | None, text: str) -> object:
    if kind in (Kind.NUMBER, Kind.INTEGER, Kind.BOOLEAN):
        try:
            return json.loads(text.lower() if kind is Kind.BOOLEAN else text)
        except ValueError:
            return text
    return text


def _parser() -> argparse.ArgumentParser:
    return parser(
        {
            "serve": _serve,
            "config": service_commands.show_config,
            "health": service_commands.health,
            "migrate": service_commands.migrate,
            "completion": service_commands.completion,
            "train": _train,
            "predict": _predict,
            "models": model_commands.list_models,
            "models show": model_commands.show_model,
            "models promote": model_commands.promote_model,
            "models rollback": model_commands.roll_back,
            "trainings": _trainings,
            "trainings cancel": _cancel_training,
            "predictions": _predictions,
            "predictions show": record_commands.show,
            "export": record_commands.export,
            "erase": record_commands.erase,
            "prune": record_commands.prune,
            "drift": _drift,
            "sale": sales_commands.record_sale,
            "sales": sales_commands.record_file,
            "accuracy": sales_commands.review_accuracy,
        }
    )
