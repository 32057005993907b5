"""HTML: escaped text, tags, numbers, tables and whole pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from html import escape

_EMPTY = {"circle", "input", "line", "link", "meta", "path", "rect"}
# what XML can't hold in any form
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Markup(str):
    """Text that is markup, which is not escaped again."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Escape text; characters that XML cannot hold become the replacement character."""
    return value if isinstance(value, Markup) else Markup(escape(_UNWRITABLE.sub("\ufffd", value)))


def tag(name: str, /, *children: str | None, **attributes: str | float | None) -> Markup:
    """Return an element; children and attributes that are None are left out, and numbers have at most one decimal.

    `class_` is the attribute class, `aria_label` is aria-label.
    """
    start = name
    for key, value in attributes.items():
        if value is not None:
            shown = text(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
            start += f' {key.rstrip("_").replace("_", "-")}="{shown}"'
    return Markup(f"<{start}/>" if name in _EMPTY else f"<{start}>{join(*children)}</{name}>")


def join(*parts: str | None) -> Markup:
    """Return markup and texts in a row."""
    return Markup("".join(text(part) for part in parts if part is not None))


NBSP = "\u00a0"
MINUS = "\u2212"


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """Return 1,234,567; a dash for None."""
    if value is None:
        return "-"
    # + 0.0: a number that is rounded to zero has no sign
    shown = f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)
    return f"{shown}{NBSP}{unit}" if unit else shown


def percent(value: float | None, digits: int = 1) -> str:
    """Return 8.2 %."""
    return number(value, digits, "%")


def difference(value: float, digits: int = 1) -> str:
    """Return a percentage with its sign, unless it is 0."""
    return f"{signed(value, digits)}{NBSP}%"


def signed(value: float, digits: int = 0) -> str:
    """Return a number with its sign, unless it is 0."""
    return f"+{number(value, digits)}" if round(value, digits) > 0 else number(value, digits)


def short(value: float) -> str:
    """Return a number with as many digits as it takes: 0.5, 1,000."""
    return f"{value:,.10g}".replace("-", MINUS)


def alike(values: Sequence[float]) -> Sequence[tuple[float, str]]:
    """Return each value, and its text with as many decimals as any of them takes."""
    digits = max((len(short(value).partition(".")[2]) for value in values), default=0)
    return [(value, number(value, digits)) for value in values]


def day(value: date) -> str:
    """Return 3 June 2025."""
    return f"{value.day} {value:%B} {value.year}"


def month(value: date) -> str:
    """Return Jun 2025."""
    return f"{value:%b} {value.year}"


def page(title: str, main: Markup, *head: Markup, policy: str | None = None) -> str:
    """Return an HTML document, with its Content-Security-Policy inside if one is given."""
    whole = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy) if policy else None,
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        *head,
    )
    return join(Markup("<!DOCTYPE html>\n"), tag("html", whole, tag("body", main), lang="en"), "\n")


def section(title: str, *content: Markup | None) -> Markup:
    """Return a section with a heading."""
    return tag("section", tag("h2", title), *content)


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, of_words: bool = False) -> Markup:
    """Return a table that scrolls sideways. The first column names the rows; the others have numbers, or words."""
    kind = "words" if of_words else "number"
    head = tag("tr", *(tag("th", each, scope="col", class_=kind if at else None) for at, each in enumerate(header)))
    body = (
        tag("tr", tag("th", name, scope="row"), *(tag("td", tag("div", each), class_=kind) for each in cells))
        for name, *cells in rows
    )
    content = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)
