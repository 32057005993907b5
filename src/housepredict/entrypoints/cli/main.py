"""The command line `housepredict`: its commands, how errors are reported, and exit codes."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence

from housepredict.domain import errors
from housepredict.entrypoints.cli.model_commands import add_model_commands
from housepredict.entrypoints.cli.prediction_commands import add_prediction_commands
from housepredict.entrypoints.cli.sale_commands import add_sale_commands
from housepredict.entrypoints.cli.service_commands import add_service_commands
from housepredict.entrypoints.cli.terminal import Commands, Run, report
from housepredict.entrypoints.cli.train_commands import add_train_commands
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import read_settings
from housepredict.version import __version__

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

_ERRORS_OF: Mapping[int, Sequence[type[errors.HousepredictError]]] = {
    1: (
        errors.HousepredictError,
        errors.TrainingInProgress,
        errors.TrainingEnded,
        errors.TrainingCancelled,
        errors.TrainingBroken,
        errors.RepeatedKey,
    ),
    2: (errors.InvalidSettings, errors.InvalidOptions, errors.UnusableDatabase, errors.UnusableModelDatabase),
    3: (errors.BrokenRules, errors.ErasedSales, errors.ErasedPredictions, errors.UnreadableFile),
    4: (
        errors.NoModel,
        errors.UnknownModel,
        errors.UnknownTraining,
        errors.UnknownPrediction,
        errors.RefusedModel,
        errors.NoExplanation,
        errors.NoSnapshot,
    ),
    5: (errors.RepositoryUnavailable, errors.ModelStoreUnavailable),
    6: (errors.MissingExtra, errors.UnusablePlugin),
}
EXIT_CODE_OF = {kind: code for code, kinds in _ERRORS_OF.items() for kind in kinds}
"""The exit code of an error, and of those derived from it; see EXIT_CODES."""

_SETTINGS = ("data_dir", "demo", "host", "port", "workers", "keep")
"""The options that are settings."""


def main(arguments: Sequence[str] | None = None, *, application: type[Application] = Application) -> int:
    """Run a command; the process's own arguments by default. Returns the exit code."""
    try:
        options = parser().parse_args(arguments)
        settings = read_settings(**{name: getattr(options, name, None) for name in _SETTINGS})
        with application(settings) as opened:
            run: Run = options.command
            return run(opened, options)
    except errors.HousepredictError as error:
        rules = errors.describe_some(error.violations) if isinstance(error, errors.BrokenRules) else None
        for message in rules or [str(error)]:
            report(message)
        return next(EXIT_CODE_OF[kind] for kind in type(error).__mro__ if kind in EXIT_CODE_OF)
    except BrokenPipeError:
        # The reader of the output has closed it: keep the interpreter from complaining as it flushes.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123  # lives as long as the process
        return 0
    except KeyboardInterrupt as interrupt:
        report("; ".join(["interrupted", *getattr(interrupt, "__notes__", ())]))
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line, with all commands."""
    codes = "\n".join(f"  {code}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        prog="housepredict",
        description="Estimates what houses sell for, and remembers what it said.",
        epilog="to begin:\n"
        "  housepredict serve --demo                                  a service with the demonstration model\n"
        "  housepredict train sales.csv --price price                 a model of your own sales\n"
        "  housepredict predict --demo size=2500 bedrooms=3 age=10    an estimate\n\n"
        f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"housepredict {__version__}")
    parser.set_defaults(parser=parser)  # for the command that prints a script of completions
    commands = Commands(parser.add_subparsers(required=True, metavar="COMMAND", title="commands"))
    add_service_commands(commands)
    add_train_commands(commands)
    add_model_commands(commands)
    add_prediction_commands(commands)
    add_sale_commands(commands)
    return parser
