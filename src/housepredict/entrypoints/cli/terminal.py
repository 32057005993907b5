"""What the commands share: their parsers, the options that several have, and how answers are shown."""

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

_NUMBER = re.compile(r"-|[-+]?[\d,.]+( %)?")


@frozen
class Commands:
    """The commands of the command line, or of a command that has commands of its own."""

    _subparsers: Any
    _nested: bool = False

    def add(
        self, name: str, about: str, run: Run, *, as_json: bool = True, demo: bool = False
    ) -> argparse.ArgumentParser:
        """Add a command. Returns its parser, to add its own options to."""
        # What was given before the name of a nested command is not overwritten by a default.
        default: dict[str, Any] = {"default": argparse.SUPPRESS} if self._nested else {}
        parser: argparse.ArgumentParser = self._subparsers.add_parser(name, help=about, description=about)
        parser.add_argument(
            "--data-dir",
            type=Path,
            metavar="FOLDER",
            help="where models and predictions are kept: .housepredict here if it exists, else the user's data folder",
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
                help="while no model is promoted, let the demonstration model serve: it rests on synthetic data",
            )
        parser.set_defaults(command=run)
        return parser

    @classmethod
    def below(cls, parser: argparse.ArgumentParser) -> Commands:
        """The commands below a command."""
        return cls(parser.add_subparsers(metavar="COMMAND", title="commands"), nested=True)


def reader(read: Callable[[str], T]) -> Callable[[str], T]:
    """Make argparse show the message of the ValueError that a reader raises."""

    def read_argument(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read_argument


def number_reader(number: type[int | float], read: Callable[[object], T]) -> Callable[[str], T]:
    """Make argparse read a number; `read` refuses what is none."""

    def read_argument(text: str) -> T:
        try:
            value: object = number(text)
        except ValueError:
            value = text
        return read(value)

    return reader(read_argument)


def split_pair(text: str) -> tuple[str, str]:
    """Split NAME=VALUE at the last equals sign. Raises ValueError."""
    name, equals, value = text.rpartition("=")
    if not equals or not name:
        raise ValueError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


@reader
def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date of the form YYYY-MM-DD") from None


@reader
def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise ValueError("must be a whole number from 1 to 1000")
    return int(text)


def add_limit(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that list the newest of something."""
    parser.add_argument("--limit", type=_limit, default=10, help="how many at most (10)")


def add_encoding(parser: argparse.ArgumentParser) -> None:
    """Add the option of commands that read a file."""
    parser.add_argument(
        "--encoding",
        type=reader(encoding),
        metavar="NAME",
        help="the encoding of a CSV file, such as cp1250; detected by default",
    )


def add_period(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of commands that look at a span of days, in which something was done."""
    for option, bound in (("--since", "later"), ("--until", "earlier")):
        about = f"only what was {verb} on this day or {bound}"
        parser.add_argument(option, type=_day, metavar="YYYY-MM-DD", help=about)


def counted(count: int, noun: str) -> str:
    """Write a count with its noun, such as `1 sale`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def number(value: float | None, digits: int, unit: str = "") -> str:
    """Write a measure; `-` where it is not defined."""
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Sequence[str] = ()) -> str:
    """A table with a header: formatted by rich in a terminal, else as plain text.

    In a narrow terminal cells wrap, except numbers and the columns named in `whole`, which people copy.
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
        is_whole = is_number or name in whole
        grid.add_column(
            Text(name),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_whole,
            min_width=max(map(len, cells)) if is_whole else None,
        )
    for row in rows:
        grid.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(grid, crop=False)
    return captured.get().strip("\n")


@contextmanager
def progress_bar(doing: str) -> Iterator[Progress]:
    """A progress bar on standard error, if it is a terminal; gone when the context is left."""
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
    """The console of a terminal; None if the stream is not a terminal, or shows plain text only."""
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
    """Print a message for people to standard error."""
    print(f"housepredict: {message}", file=sys.stderr)


def answer(options: argparse.Namespace, document: object, text: str) -> int:
    """Print a document with `--json`, else text. Returns the exit code of a command that succeeded."""
    if options.json:
        print_json(document)
    else:
        print(text)
    return 0


def print_json(document: object) -> None:
    """Print a document for programs."""
    print(json.dumps(document, indent=2, ensure_ascii=False))
