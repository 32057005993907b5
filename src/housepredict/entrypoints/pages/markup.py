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
    """Text that is markup, and is not escaped again."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Text as markup; characters that cannot be written become the replacement character."""
    return value if isinstance(value, Markup) else Markup(escape(_UNWRITABLE.sub("\ufffd", value)))


def tag(name: str, /, *children: str | None, **attributes: str | float | None) -> Markup:
    """An element; None is left out. `class_` is the attribute class, `aria_label` aria-label."""
    given = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if name in _EMPTY:
        return Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{join(*children)}</{name}>")


def join(*parts: str | None) -> Markup:
    """Markup and texts in a row."""
    return Markup("".join(text(part) for part in parts if part is not None))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return text(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


NBSP = "\u00a0"
MINUS = "\u2212"


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """1,234,567; a dash for what is not defined."""
    if value is None:
        return "-"
    # + 0.0: what is rounded to nothing has no sign
    told = f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)
    return f"{told}{NBSP}{unit}" if unit else told


def percent(value: float | None, digits: int = 1) -> str:
    """8.2 %."""
    return number(value, digits, "%")


def difference(value: float, digits: int = 1) -> str:
    """In percent, with its sign unless it is nothing."""
    return f"{signed(value, digits)}{NBSP}%"


def signed(value: float, digits: int = 0) -> str:
    """With its sign unless it is nothing."""
    return f"+{number(value, digits)}" if round(value, digits) > 0 else number(value, digits)


def short(value: float) -> str:
    """As many digits as it takes: 0.5, 1,000."""
    return f"{value:,.10g}".replace("-", MINUS)


def alike(values: Sequence[float]) -> Sequence[tuple[float, str]]:
    """Each value with as many decimals as any of them takes."""
    digits = max((len(short(value).partition(".")[2]) for value in values), default=0)
    return [(value, number(value, digits)) for value in values]


def day(value: date) -> str:
    """3 June 2025."""
    return f"{value.day} {value:%B} {value.year}"


def month(value: date) -> str:
    """Jun 2025."""
    return f"{value:%b} {value.year}"


def page(title: str, main: Markup, *head: Markup, policy: str | None = None) -> str:
    """A whole HTML document, with its Content-Security-Policy inside if one is given."""
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
    """A part of a page, under its heading."""
    return tag("section", tag("h2", title), *content)


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, of_words: bool = False) -> Markup:
    """A table that can be scrolled sideways where there is no room. The first column names the rows; the others have
    numbers, or words.
    """
    kind = "words" if of_words else "number"
    head = tag("tr", *(tag("th", each, scope="col", class_=kind if at else None) for at, each in enumerate(header)))
    body = (
        tag("tr", tag("th", name, scope="row"), *(tag("td", tag("div", each), class_=kind) for each in cells))
        for name, *cells in rows
    )
    content = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)


def facts(rows: Sequence[tuple[str, str]]) -> Markup:
    """Names and what stands behind them."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in rows))
