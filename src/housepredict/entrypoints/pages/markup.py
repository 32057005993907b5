"""HTML and SVG from values: every text is escaped, and what comes out is well-formed XML, too."""

from __future__ import annotations

import re
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
