"""What can be said on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from housepredict.domain.errors import InvalidSettings
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import Kind
from housepredict.domain.training_options import Algorithm, Effort, choice, column, encoding, seconds, seed
from housepredict.entrypoints.cli.prediction_commands import add_record_commands
from housepredict.entrypoints.cli.sale_commands import add_sales_commands
from housepredict.entrypoints.composition import Application
from housepredict.version import __version__

T = TypeVar("T")
Command = Callable[[Application, argparse.Namespace], int]

SHELLS = ("bash", "zsh", "fish")

_ENCODING_HELP = "the encoding of a CSV file, such as cp1250; detected by default"

EXIT_CODES = {
    0: "done",
    1: "an unexpected error, a training beside another one, an address that cannot be served on, or a service that is"
    " not alive",
    2: "a command line, a setting or a database URL that cannot be read, or a database that is not in UTF-8",
    3: "houses or sales that break a rule, with each violation named, or a file that cannot be read",
    4: "no such model, training or prediction, none promoted, one refused, or one that lacks what is asked",
    5: "storage that cannot be reached",
    6: "a part of housepredict or a plug-in that is not installed, or cannot be imported",
}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=") if text.count("=") > 1 else text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def pairs(texts: Sequence[str]) -> Sequence[tuple[str, str]]:
    """Each NAME=VALUE in its two halves. Raises InvalidSettings."""
    try:
        return [_pair(text) for text in texts]
    except argparse.ArgumentTypeError as error:
        raise InvalidSettings([f"{error}; for the houses in a file, say where the prices go: -o PRICES"]) from None


def _typed(text: str) -> tuple[str, Kind]:
    name, kind = _pair(text)
    return name, _option(choice(Kind))(kind)


def _option(read: Callable[[Any], T]) -> Callable[[str], T]:
    """An option that training reads, as argparse wants it."""

    def value(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 1000")
    return int(text)


def _number(text: str, number: type[int | float]) -> int | float | None:
    try:
        return number(text)
    except ValueError:
        return None


_read_column = _option(column)
_read_encoding = _option(encoding)
_read_seed = _option(lambda text: seed(_number(text, int)))
_read_seconds = _option(lambda text: seconds(_number(text, float)))


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be a whole number from 0 to 65535")
    return int(text)


def _data_dir(**default: Any) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "--data-dir",
        type=Path,
        metavar="FOLDER",
        help="where models and predictions are kept: .housepredict here if it exists, else the user's data folder",
        **default,
    )
    return options


def _json(**default: Any) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--json", action="store_true", help="print one JSON document instead of text", **default)
    return options


def _subcommand(added: Any, name: str, about: str, command: Command) -> argparse.ArgumentParser:
    """A command below another. What is said before its name stays said: its own options have no default."""
    parents = [_data_dir(default=argparse.SUPPRESS), _json(default=argparse.SUPPRESS)]
    made: argparse.ArgumentParser = added.add_parser(name, help=about, description=about, parents=parents)
    made.set_defaults(command=command)
    return made


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The parser of the command line; `commands` are what runs, by name."""
    codes = "\n".join(f"  {code}  {meaning}" for code, meaning in EXIT_CODES.items())
    made = argparse.ArgumentParser(
        prog="housepredict",
        description="Estimates what houses sell for, and remembers what it said.",
        epilog="to begin:\n"
        "  housepredict serve --demo                                  a service with the demonstration model\n"
        "  housepredict train sales.csv --price price                 a model of your own sales\n"
        "  housepredict predict --demo size=2500 bedrooms=3 age=10    an estimate\n\n"
        f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"housepredict {__version__}")
    common, as_json = _data_dir(), _json()
    demo = argparse.ArgumentParser(add_help=False)
    demo.add_argument(
        "--demo",
        action="store_true",
        help="while no model is promoted, let the demonstration model serve: it rests on synthetic data",
    )
    added = made.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def add(name: str, about: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command = added.add_parser(name, help=about, description=about, parents=[common, *parents])
        command.set_defaults(command=commands[name])
        return command

    serve = add("serve", "Serve estimates over HTTP.", demo)
    serve.add_argument("--host", help="address to listen on (127.0.0.1; 0.0.0.0 for all)")
    serve.add_argument("--port", type=_port, help="port to listen on (5000; 0 for any that is free)")
    serve.add_argument("--workers", metavar="N", help="processes that serve (1)")

    add("config", "Show the settings in effect and where each is from, without secrets.", as_json)

    health = add("health", "Ask the service of this machine whether it is alive: exit code 0, or 1.")
    health.add_argument("--host", help="the address that it listens on (127.0.0.1)")
    health.add_argument("--port", type=_port, help="the port that it listens on (5000)")

    migrate = add("migrate", "Bring the tables in PostgreSQL up to date; safe when many start at once.")
    migrate.add_argument(
        "--wait",
        type=_read_seconds,
        default=0.0,
        metavar="SECONDS",
        help="how long a server that starts has to answer (0)",
    )
    migrate.add_argument(
        "--post", action="store_true", help="also remove what only earlier releases use, once none of them runs"
    )

    completion = add("completion", "Print a script that completes commands and options in your shell.")
    completion.add_argument("shell", choices=SHELLS, help="your shell")
    completion.set_defaults(parser=lambda: parser(commands))

    train = add(
        "train", "Train a model on sales, evaluate it on sales held out, and promote it if it is better.", as_json
    )
    sales = train.add_mutually_exclusive_group()
    sales.add_argument("sales", nargs="?", metavar="SALES", help="a .csv, .csv.gz or .parquet file, one sale a row")
    sales.add_argument("--synthetic", action="store_true", help="1,000 made-up sales, as in the demonstration model")
    train.add_argument(
        "--from-sales", action="store_true",
        help="learn from the sales that came back, too; without a file, beside the one of the promoted version",
    )  # fmt: skip
    train.add_argument("--encoding", type=_read_encoding, metavar="NAME", help=_ENCODING_HELP)

    def column_option(name: str, about: str) -> None:
        train.add_argument(name, type=_read_column, metavar="COLUMN", help=about)

    def repeatable(name: str, about: str, read: Callable[[str], object] = _read_column, what: str = "COLUMN") -> None:
        about = f"{about} (repeatable)"
        train.add_argument(name, action="append", default=[], type=read, metavar=what, help=about)

    column_option("--price", "the column of sale prices; found by its name if not given")
    column_option("--sale-date", "the column that says when the house was sold")
    column_option("--house-id", "the column that names the house, to tell resales apart")
    repeatable("--feature", "use these columns alone")
    repeatable("--exclude", "use no such column")
    repeatable("--type", f"what a column is: {', '.join(Kind)}", _typed, "COLUMN=KIND")
    repeatable("--closed", "refuse categories that the sales do not have, instead of warning of them")
    repeatable("--allow", "use this column though it seems to give the price away")

    def choosing(name: str, default: Algorithm | Effort | PromotionPolicy, about: str) -> None:
        kind = type(default)
        train.add_argument(name, type=_option(choice(kind)), choices=list(kind), default=default, help=about)

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
    train.add_argument("--seed", type=_read_seed, default=42, help="for whatever is drawn by chance (42)")
    train.add_argument(
        "--time-limit", type=_read_seconds, metavar="SECONDS",
        help="end the search after so long, with the best of what was compared; the result depends on the machine then",
    )  # fmt: skip

    predict = add("predict", "Estimate one house, or those of a file, and remember the estimates.", as_json, demo)
    predict.add_argument(
        "houses", nargs="+", metavar="FEATURE=VALUE", help="such as size=2500; with -o a .csv, .csv.gz or .parquet file"
    )
    predict.add_argument(
        "-o", "--output", metavar="PRICES", help="write the rows of a file with their prices to this file, - for stdout"
    )
    predict.add_argument("--encoding", type=_read_encoding, metavar="NAME", help=_ENCODING_HELP)
    predict.add_argument("--explain", action="store_true", help="also say what each feature adds to the estimate")

    models = add("models", "List the model versions, oldest first, or choose which of them serves.", as_json)
    below = models.add_subparsers(metavar="COMMAND", title="commands")
    a_version: dict[str, Any] = {"metavar": "VERSION", "help": "its name, as `housepredict models` lists it"}
    about = "Show a version: how it came about, and how good it is."
    show = _subcommand(below, "show", about, commands["models show"])
    show.add_argument("version", **a_version)
    show.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots to this file, instead of text")
    about = "Let a version serve. It is loaded and tested first."
    _subcommand(below, "promote", about, commands["models promote"]).add_argument("version", **a_version)
    about = "Go back to the version that was promoted before; further with each time."
    _subcommand(below, "rollback", about, commands["models rollback"])

    trainings = add("trainings", "List what was trained, by whomever, newest first, or cancel it.", as_json)
    trainings.add_argument("--limit", type=_limit, default=10, help="how many at most (10)")
    below = trainings.add_subparsers(metavar="COMMAND", title="commands")
    about = "Ask a training to end; it ends within seconds, or when the fit that it is at is done."
    cancel = _subcommand(below, "cancel", about, commands["trainings cancel"])
    cancel.add_argument("training", type=UUID, metavar="ID", help="its id, as `housepredict trainings` lists it")

    predictions = add("predictions", "List what was estimated, newest first, or show one of them.", as_json)
    predictions.add_argument("--limit", type=_limit, default=10, help="how many at most (10)")
    predictions.add_argument("--before", type=UUID, metavar="ID", help="only those older than this prediction")
    below = predictions.add_subparsers(metavar="COMMAND", title="commands")
    about = "Show one prediction: what was said, of which house, by which version."
    show = _subcommand(below, "show", about, commands["predictions show"])
    show.add_argument("prediction", metavar="ID", help="its id, or its number in the tutorial's table")

    add("drift", "Tell how far houses have moved from those that the model was trained on.", as_json)
    add_record_commands(add, as_json)
    add_sales_commands(add, as_json)
    return made
