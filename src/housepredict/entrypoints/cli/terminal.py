"""Helpers shared by all commands: argument parsing, common options, tables and output."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from attrs import frozen

from housepredict.domain.ports import Progress
from housepredict.domain.training_options import encoding
from housepredict.entrypoints.composition import Application

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
Run = Callable[[Application, argparse.Namespace], int]

_NUMBER = re.compile(r"-|[-+]?[\d,.]+%?")


@frozen
class Commands:
    """The top-level commands, or the subcommands of a command."""

    _subparsers: Any
    _nested: bool = False

    def add(
        self, name: str, about: str, run: Run, *, as_json: bool = True, demo: bool = False, examples: Sequence[str] = ()
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser, to which the caller adds options.

        Args:
            name: the command's name.
            about: what the command does, in one line without a period.
            run: the function that runs the command.
            as_json: whether the command has a `--json` option.
            demo: whether the command has a `--demo` option.
            examples: command lines for the help, without `housepredict`.
        """
        # Without SUPPRESS, a subcommand's default would overwrite an option given before the subcommand.
        default: dict[str, Any] = {"default": argparse.SUPPRESS} if self._nested else {}
        parser: argparse.ArgumentParser = self._subparsers.add_parser(
            name,
            help=about,
            description=f"{about}.",
            epilog="\n".join(["examples:", *(f"  housepredict {line}" for line in examples)]) if examples else None,
            formatter_class=_ExamplesFormatter,
        )
        parser.add_argument(
            "--data-dir",
            type=Path,
            metavar="FOLDER",
            help="directory for models and predictions [env: HOUSEPREDICT_DATA_DIR] (default: ./.housepredict if it"
            " exists, else the user's data directory)",
            **default,
        )
        if as_json:
            parser.add_argument(
                "--json", action="store_true", help="print one JSON document instead of text", **default
            )
        if demo:
            parser.add_argument(
                "--demo",
                action="store_true",
                default=None,
                help="use a demo model, trained on synthetic sales, while no model is promoted"
                " [env: HOUSEPREDICT_DEMO]",
            )
        parser.set_defaults(command=run, command_parser=parser)
        return parser

    @classmethod
    def below(cls, parser: argparse.ArgumentParser) -> Commands:
        """Return a Commands object for adding subcommands to the command with this parser."""
        return cls(parser.add_subparsers(metavar="COMMAND", title="commands"), nested=True)


class _ExamplesFormatter(argparse.HelpFormatter):
    """A help formatter that wraps all text except for examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def reader(read: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap a parsing function so that argparse shows the message of its ValueError."""

    def read_argument(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_argument


def number_reader(number: type[int | float], read: Callable[[object], T]) -> Callable[[str], T]:
    """Return an argparse type that converts an argument to a number, and passes the number to `read` to validate it.

    Text that isn't a number is passed to `read` unchanged, so that `read` rejects it.
    """

    def read_argument(text: str) -> T:
        try:
            value: object = number(text)
        except ValueError:
            value = text
        return read(value)

    return reader(read_argument)


def split_pair(text: str) -> tuple[str, str]:
    """Split NAME=VALUE at the last equals sign.

    Raises:
        ValueError: if there is no equals sign or no name.
    """
    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise ValueError(f"expected NAME=VALUE, not {text!r}")
    return name, value


@reader
def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"must be a date such as 2025-06-30, not {text!r}") from None


@reader
def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise ValueError("must be a whole number from 1 to 1,000")
    return int(text)


def add_limit(parser: argparse.ArgumentParser) -> None:
    """Add `--limit` to a command that lists the newest items."""
    parser.add_argument("--limit", type=_limit, default=10, metavar="N", help="maximum number to list (default: 10)")


def add_encoding(parser: argparse.ArgumentParser) -> None:
    """Add `--encoding` to a command that reads a file."""
    parser.add_argument(
        "--encoding",
        type=reader(encoding),
        metavar="NAME",
        help="encoding of a CSV file, such as cp1250 (default: detected)",
    )


def add_period(parser: argparse.ArgumentParser, items: str) -> None:
    """Add `--since` and `--until` to a command that selects items by day.

    `items` describes the items in the help, such as "houses sold".
    """
    for option, bound in (("--since", "later"), ("--until", "earlier")):
        about = f"only {items} on this day or {bound}"
        parser.add_argument(option, type=_day, metavar="YYYY-MM-DD", help=about)


def number(value: float | None, digits: int, unit: str = "") -> str:
    """Format the value of a measure. None, the value of an undefined measure, becomes `-`."""
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, unwrapped: Sequence[str] = ()) -> str:
    """Format a table with rich if standard output is a terminal, otherwise as plain text.

    In a narrow terminal, cells wrap, except for numbers and for the columns in `unwrapped` (values that people copy).
    """
    console = _console(sys.stdout)
    if console is None:
        return _plain(header, rows)
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=SIMPLE_HEAD, header_style="bold cyan", pad_edge=False)
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        is_number = all(map(_NUMBER.fullmatch, cells))
        is_unwrapped = is_number or name in unwrapped
        grid.add_column(
            Text(name),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_unwrapped,
            min_width=max(map(len, cells)) if is_unwrapped else None,
        )
    for row in rows:
        grid.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(grid, crop=False)
    return captured.get().strip("\n")


@contextmanager
def progress_bar(doing: str) -> Iterator[Progress]:
    """Show a progress bar with the text `doing` if standard error is a terminal.

    Yields a function that updates the bar. The bar disappears when the context exits.
    """
    console = _console(sys.stderr)
    if console is None:
        yield lambda _done, _total: None
        return
    from rich.progress import Progress as Bar

    with Bar(console=console, transient=True) as bar:
        task = bar.add_task(doing, total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def _console(stream: TextIO) -> Console | None:
    """Return a rich console, or None if rich isn't installed or the stream supports only plain text."""
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(file=stream)
    return None if console.is_dumb_terminal else console


def _plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, [width * "-" for width in widths], *rows)
    )


def report(message: str) -> None:
    """Print a message to standard error."""
    print(f"housepredict: {message}", file=sys.stderr)


def answer(options: argparse.Namespace, document: object, text: str) -> int:
    """Print the document if `--json` was given, otherwise the text. Return exit code 0."""
    if options.json:
        print_json(document)
    else:
        print(text)
    return 0


def print_json(document: object) -> None:
    """Print a document as indented JSON."""
    print(json.dumps(document, indent=2, ensure_ascii=False))
