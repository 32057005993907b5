"""Text in one spelling, whatever it came from: names and categories are equal if people read them as equal."""

from __future__ import annotations

from unicodedata import normalize

_INVISIBLE = "\u200b\u2060\ufeff"
# all that str.strip takes off, and what isn't blank to Python, but can't be seen either
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + _INVISIBLE


def tidy(text: str) -> str:
    """Return text in Unicode's composed form (NFC), without blanks and invisible characters around it."""
    if text.isascii():
        return text.strip()
    return normalize("NFC", text.strip(_BLANKS))
