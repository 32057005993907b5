"""The command-line interface `housepredict`: commands, error messages and exit codes."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NoReturn

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
    0: "success",
    1: "unexpected error; training already running; address not available; service not alive",
    2: "invalid command line, setting or database URL; database encoding other than UTF-8",
    3: "invalid houses or sales, with every violation listed; unreadable file",
    4: "model version, training or prediction not found; no model promoted; version refused or incomplete",
    5: "storage unavailable",
    6: "optional dependency or plug-in not installed, or not importable",
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
"""The exit code for each error class and its subclasses."""

_SETTINGS = ("data_dir", "demo", "host", "port", "workers", "keep")
"""The settings that command-line options of the same name override."""


def main(arguments: Sequence[str] | None = None, *, application: type[Application] = Application) -> int:
    """Run a command and return its exit code.

    `arguments` defaults to the arguments of the process. `application` creates the application from the settings.
    """
    try:
        options, unknown = parser().parse_known_args(arguments)
        if unknown:
            _reject(unknown, options.command_parser)
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
        # The reader closed the pipe. Replace stdout, because the interpreter flushes it at exit and reports an error.
        sys.stdout = open("/dev/null", "w")  # noqa: SIM115, PTH123  # lives as long as the process
        return 0
    except KeyboardInterrupt as interrupt:
        report("; ".join(["interrupted", *getattr(interrupt, "__notes__", ())]))
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def _reject(unknown: Sequence[str], command: argparse.ArgumentParser) -> NoReturn:
    """Exit with an error about unknown arguments of a command, and suggest a similar option if there is one."""
    close = get_close_matches(unknown[0], command._option_string_actions, n=1)  # noqa: SLF001  # argparse has no public list
    suggestion = f" (did you mean {close[0]}?)" if close else ""
    command.error(f"unrecognized arguments: {' '.join(unknown)}{suggestion}")


def parser() -> argparse.ArgumentParser:
    """Build the command-line parser with all commands."""
    codes = "\n".join(f"  {code}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        prog="housepredict",
        description="Train house price models on your own sales, serve estimates, and keep a record of each one.",
        epilog="examples:\n"
        "  housepredict serve --demo                                  try the service with a demo model\n"
        "  housepredict train sales.csv --price price                 train a model on your sales\n"
        "  housepredict predict --demo size=2500 bedrooms=3 age=10    estimate one house\n\n"
        f"exit codes:\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"housepredict {__version__}")
    parser.set_defaults(parser=parser)  # read by the command `completion`
    commands = Commands(parser.add_subparsers(required=True, metavar="COMMAND", title="commands"))
    add_service_commands(commands)
    add_train_commands(commands)
    add_model_commands(commands)
    add_prediction_commands(commands)
    add_sale_commands(commands)
    return parser
