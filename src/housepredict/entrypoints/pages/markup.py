"""Functions that generate HTML: escaped text, elements, formatted numbers, tables and pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from html import escape

_EMPTY = {"circle", "input", "line", "link", "meta", "path", "rect"}
# XML can't contain these characters, even if they are escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Markup(str):
    """Text that is already HTML, so it must not be escaped again."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Escape text, and replace characters that XML can't contain with U+FFFD."""
    return value if isinstance(value, Markup) else Markup(escape(_UNWRITABLE.sub("\ufffd", value)))


def tag(name: str, /, *children: str | None, **attributes: str | float | None) -> Markup:
    """Return an HTML element. Children and attributes that are None are omitted.

    Args:
        name: the element's name.
        children: the element's content. Plain text is escaped, but Markup isn't.
        attributes: the element's attributes. `class_` becomes class, and `aria_label` becomes aria-label. Numbers are
            written with at most one decimal.
    """
    start = name
    for key, value in attributes.items():
        if value is not None:
            shown = text(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
            start += f' {key.rstrip("_").replace("_", "-")}="{shown}"'
    return Markup(f"<{start}/>" if name in _EMPTY else f"<{start}>{join(*children)}</{name}>")


def join(*parts: str | None) -> Markup:
    """Join markup and plain text into markup. Plain text is escaped, and parts that are None are left out."""
    return Markup("".join(text(part) for part in parts if part is not None))


MINUS = "\u2212"


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """Format a number, such as 1,234,567, followed by its unit without a space. A value of None becomes a dash."""
    if value is None:
        return "-"
    # + 0.0 removes the sign of a number that rounds to zero.
    return f"{round(value, digits) + 0.0:,.{digits}f}{unit}".replace("-", MINUS)


def percent(value: float | None, digits: int = 1) -> str:
    """Format a percentage, such as 8.2%."""
    return number(value, digits, "%")


def difference(value: float, digits: int = 1) -> str:
    """Format a percentage with its sign, such as +8.2%. Zero gets no sign."""
    return f"{signed(value, digits)}%"


def signed(value: float, digits: int = 0) -> str:
    """Format a number with its sign, such as +8. Zero gets no sign."""
    return f"+{number(value, digits)}" if round(value, digits) > 0 else number(value, digits)


def short(value: float) -> str:
    """Format a number with only the decimals it needs, such as 0.5 or 1,000."""
    return f"{value:,.10g}".replace("-", MINUS)


def alike(values: Sequence[float]) -> Sequence[tuple[float, str]]:
    """Format all values with the same number of decimals, so that the value with the most decimals is shown in full.

    Returns:
        Pairs of a value and its text.
    """
    digits = max((len(short(value).partition(".")[2]) for value in values), default=0)
    return [(value, number(value, digits)) for value in values]


def day(value: date) -> str:
    """Format a date, such as June 3, 2025."""
    return f"{value:%B} {value.day}, {value.year}"


def month(value: date) -> str:
    """Format a month, such as Jun 2025."""
    return f"{value:%b} {value.year}"


def page(title: str, main: Markup, *head: Markup, policy: str | None = None) -> str:
    """Return an HTML document. `policy` is a Content-Security-Policy to embed in the document."""
    head_element = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy) if policy else None,
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        *head,
    )
    return join(Markup("<!DOCTYPE html>\n"), tag("html", head_element, tag("body", main), lang="en"), "\n")


def section(title: str, *content: Markup | None) -> Markup:
    """Return a section with a heading."""
    return tag("section", tag("h2", title), *content)


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, of_words: bool = False) -> Markup:
    """Return a horizontally scrollable table with row titles in its first column.

    Args:
        caption: the table's caption.
        header: the column titles.
        rows: the cells of each row.
        of_words: whether the columns after the first contain words instead of numbers.
    """
    kind = "words" if of_words else "number"
    head = tag("tr", *(tag("th", title, scope="col", class_=kind if at else None) for at, title in enumerate(header)))
    body = (
        tag("tr", tag("th", name, scope="row"), *(tag("td", tag("div", cell), class_=kind) for cell in cells))
        for name, *cells in rows
    )
    content = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)
