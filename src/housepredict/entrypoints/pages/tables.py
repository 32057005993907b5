"""Whole pages, their sections, and tables."""

from __future__ import annotations

from collections.abc import Sequence

from housepredict.entrypoints.pages.markup import Markup, join, tag


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
