"""x"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from housepredict.domain.ports import Progress

if TYPE_CHECKING:
    from rich.console import Console

_NUMBER = re.compile(r"-|[-+]?[\d,.]+( %)?")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Sequence[str] = ()) -> str:
    """Columns side by side, under their names; in a terminal as it can show them, else in plain text.

    Where a terminal is too narrow, cells are folded, but no numbers, and not the columns `whole`, which are copied.
    """
    console = _console(sys.stdout)
    if console is None:
        return _plain(header, rows)
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, header_style="bold cyan", pad_edge=False)
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        is_number = all(map(_NUMBER.fullmatch, cells))
        is_whole = is_number or name in whole
        made.add_column(
            Text(name),
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_whole,
            min_width=max(map(len, cells)) if is_whole else None,
        )
    for row in rows:
        made.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(made, crop=False)
    return captured.get().strip("\n")


@contextmanager
def progress_bar(stream: TextIO, doing: str) -> Iterator[Progress]:
    """A progress bar, where somebody is there to see it; gone when the context is left."""
    console = _console(stream)
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
    """A way to write to a terminal; None where nobody looks, or nothing but text can be shown."""
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


def answer(options: argparse.Namespace, document: object, text: str) -> int:
    """Print a document with `--json`, else text. Returns the exit code of a command that is done."""
    if options.json:
        print_json(document)
    else:
        sys.stdout.write(f"{text}\n")
    return 0


def print_json(document: object) -> None:
    """Print a document for programs."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
