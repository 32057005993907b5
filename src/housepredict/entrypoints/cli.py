"""The command line: `housepredict serve | train | predict | models | predictions`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from housepredict import __version__
from housepredict.domain import errors
from housepredict.domain.features import FeatureSchema, Kind
from housepredict.domain.models import Algorithm, Effort, TrainingOptions
from housepredict.entrypoints import report
from housepredict.entrypoints.bootstrap import Application, sales_at
from housepredict.entrypoints.settings import read_settings

EXIT_CODES = {
    0: "done",
    1: "an unexpected error, or an address that cannot be served on",
    2: "a command line or a setting that cannot be read",
    3: "houses or sales that break a rule; each violation is named",
    4: "no such model, none promoted, or one that was refused",
    5: "storage that cannot be reached",
    6: "a part of housepredict that is not installed",
}
_EXIT_CODE_OF: tuple[tuple[type[errors.HousepredictError], int], ...] = (
    (errors.InvalidSettings, 2),
    (errors.InvalidHouses, 3),
    (errors.UnusableSales, 3),
    (errors.NoModel, 4),
    (errors.UnknownModel, 4),
    (errors.RefusedModel, 4),
    (errors.RepositoryUnavailable, 5),
    (errors.ModelStoreUnavailable, 5),
    (errors.MissingExtra, 6),
)


def main(arguments: Sequence[str] | None = None, *, application: type[Application] = Application) -> int:
    """Run a command; the process's own arguments by default. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings(
            data_dir=options.data_dir,
            demo=getattr(options, "demo", None) or None,
            host=getattr(options, "host", None),
            port=getattr(options, "port", None),
            workers=getattr(options, "workers", None),
        )
        with application(settings) as opened:
            command: Callable[[Application, argparse.Namespace], int] = options.command
            return command(opened, options)
    except errors.InvalidHouses as error:
        for violation in error.violations:
            print(f"housepredict: {violation.describe()}", file=sys.stderr)
        return 3
    except errors.HousepredictError as error:
        print(f"housepredict: {error}", file=sys.stderr)
        return next((code for kind, code in _EXIT_CODE_OF if isinstance(error, kind)), 1)
    except BrokenPipeError:
        # whoever read the output has seen enough; keep the interpreter from complaining as it flushes
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123  # lives as long as the process
        return 0
    except KeyboardInterrupt:
        return 130


def _serve(application: Application, _options: argparse.Namespace) -> int:
    from housepredict.entrypoints.serve import serve

    return serve(application.settings, type(application))


def _train(application: Application, options: argparse.Namespace) -> int:
    training_options = TrainingOptions(
        price=options.price,
        sale_date=options.sale_date,
        house_id=options.house_id,
        features=tuple(options.feature),
        exclude=tuple(options.exclude),
        kinds=dict(options.type),
        closed=tuple(options.closed),
        allow=tuple(options.allow),
        algorithm=options.algorithm,
        effort=options.effort,
        seed=options.seed,
    )
    source = sales_at(None if options.synthetic else options.sales)
    training = application.train(source, training_options, report.progress_bar(sys.stderr))
    if options.json:
        _print_json(report.training_document(training))
    else:
        print(report.training_text(training))
    return 0


def _predict(application: Application, options: argparse.Namespace) -> int:
    schema = application.live_model.current().version.schema
    prediction = application.predict.one(_house(schema, options.features))
    for caveat in prediction.estimate.caveats:
        print(f"housepredict: {caveat.message}", file=sys.stderr)
    if options.json:
        _print_json(report.prediction_document(prediction))
    else:
        print(f"{prediction.price:.2f}")
    return 0


def _models(application: Application, options: argparse.Namespace) -> int:
    versions, promoted = application.models.versions(), application.models.promoted()
    if options.json:
        _print_json({"models": [report.model_document(each, promoted) for each in versions]})
    else:
        print(report.models_text(versions, promoted))
    return 0


def _predictions(application: Application, options: argparse.Namespace) -> int:
    predictions = application.predict.recent(options.limit, options.before)
    if options.json:
        _print_json({"predictions": [report.prediction_document(each) for each in predictions]})
    else:
        print(report.predictions_text(predictions))
    return 0


class _Given(dict[str, object]):
    """What a command line says of a house, with the names that it says twice."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated: list[str] = []


def _house(schema: FeatureSchema, pairs: Sequence[tuple[str, str]]) -> _Given:
    """The features as the schema's kinds have them; what cannot be read stays text, for validation to refuse."""
    kinds = {feature.name: feature.kind for feature in schema.features}
    given = _Given()
    for name, text in pairs:
        if name in given:
            given.repeated.append(name)
        given[name] = _value(kinds.get(name), text)
    return given


def _value(kind: Kind | None, text: str) -> object:
    if kind in (Kind.NUMBER, Kind.INTEGER, Kind.BOOLEAN):
        try:
            return json.loads(text.lower() if kind is Kind.BOOLEAN else text)
        except ValueError:
            return text
    return text


def _print_json(document: object) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=") if text.count("=") > 1 else text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _typed(text: str) -> tuple[str, Kind]:
    name, kind = _pair(text)
    if kind not in list(Kind):
        raise argparse.ArgumentTypeError(f"{kind!r} is no kind: choose from {', '.join(Kind)}")
    return name, Kind(kind)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 1000")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be a whole number from 0 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        prog="housepredict",
        description="Estimates what houses sell for, and remembers what it said.",
        epilog="to begin:\n"
        "  housepredict serve --demo                           a service with the demonstration model\n"
        "  housepredict train sales.csv --price price          a model of your own sales\n"
        "  housepredict predict size=2500 bedrooms=3 age=10    an estimate\n\n"
        f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"housepredict {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="where models and predictions are kept: .housepredict here if it exists, else the user's data folder",
    )
    demo = argparse.ArgumentParser(add_help=False)
    demo.add_argument(
        "--demo",
        action="store_true",
        help="while no model is promoted, let the demonstration model serve: it rests on synthetic data",
    )
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def add(
        name: str, run: Callable[[Application, argparse.Namespace], int], about: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=about, parents=[common, *parents])
        command.set_defaults(command=run)
        return command

    serve = add("serve", _serve, "Serve estimates over HTTP.", demo)
    serve.add_argument("--host", help="address to listen on (127.0.0.1; 0.0.0.0 for all)")
    serve.add_argument("--port", type=_port, help="port to listen on (5000; 0 for any that is free)")
    serve.add_argument("--workers", metavar="N", help="processes that serve (1)")

    train = add("train", _train, "Train a model on sales, evaluate it on sales held out, and promote it.", as_json)
    sales = train.add_mutually_exclusive_group(required=True)
    sales.add_argument("sales", nargs="?", metavar="SALES", help="a .csv, .csv.gz or .parquet file, one sale a row")
    sales.add_argument("--synthetic", action="store_true", help="1,000 made-up sales, as in the demonstration model")
    train.add_argument("--price", metavar="COLUMN", help="the column of sale prices; found by its name if not given")
    train.add_argument("--sale-date", metavar="COLUMN", help="the column that says when the house was sold")
    train.add_argument("--house-id", metavar="COLUMN", help="the column that names the house, to tell resales apart")
    train.add_argument(
        "--feature", action="append", default=[], metavar="COLUMN", help="use these columns alone (repeatable)"
    )
    train.add_argument(
        "--exclude", action="append", default=[], metavar="COLUMN", help="use no such column (repeatable)"
    )
    train.add_argument(
        "--type", action="append", default=[], type=_typed, metavar="COLUMN=KIND",
        help=f"what a column is: {', '.join(Kind)} (repeatable)",
    )  # fmt: skip
    train.add_argument(
        "--closed", action="append", default=[], metavar="COLUMN",
        help="refuse categories that the sales do not have, instead of warning of them (repeatable)",
    )  # fmt: skip
    train.add_argument(
        "--allow", action="append", default=[], metavar="COLUMN",
        help="use this column though it seems to give the price away (repeatable)",
    )  # fmt: skip
    train.add_argument(
        "--algorithm", type=Algorithm, choices=list(Algorithm), default=Algorithm.AUTO,
        help="auto (what does best in cross-validation; a line for --synthetic), or one of the others",
    )  # fmt: skip
    train.add_argument(
        "--effort", type=Effort, choices=list(Effort), default=Effort.NORMAL, help="how much to search (normal)"
    )
    train.add_argument("--seed", type=int, default=42, help="for whatever is drawn by chance (42)")

    predict = add("predict", _predict, "Estimate one house, and remember the estimate.", as_json, demo)
    predict.add_argument("features", nargs="+", type=_pair, metavar="FEATURE=VALUE", help="such as size=2500")

    add("models", _models, "List the model versions, oldest first.", as_json)

    predictions = add("predictions", _predictions, "List what was estimated, newest first.", as_json)
    predictions.add_argument("--limit", type=_limit, default=10, help="how many at most (10)")
    predictions.add_argument("--before", type=UUID, metavar="ID", help="only those older than this prediction")
    return parser
