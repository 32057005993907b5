"""The head of a request, to know it again: who keeps a connection sends the same one before each body.

What it means was found out when it first came, and need not be parsed again. Only the length of the body may differ.
"""

from __future__ import annotations

import re
from typing import Any, Self

from attrs import frozen

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,5})(?=\r\n)", re.IGNORECASE)
_LONGEST = 2048
"""Bytes of a head that is kept for as long as its connection."""


@frozen(eq=False)
class Head:
    """The bytes of a head, before and after the length of the body, and what the parser made of them."""

    before: bytes
    after: bytes
    scope: dict[str, Any]
    keep_alive: bool

    @classmethod
    def of(cls, data: bytes, length: int, scope: dict[str, Any], keep_alive: bool) -> Self | None:
        """The head of `data`, which are one request with a body of so many bytes; None if it is not to be kept."""
        end = data.find(_END, 0, _LONGEST) + len(_END)
        lengths = [*_LENGTH.finditer(data, 0, end)]
        if end + length != len(data) or len(lengths) != 1 or int(lengths[0][1]) != length:
            return None
        return cls(data[: lengths[0].start(1)], data[lengths[0].end(1) : end], scope, keep_alive)

    def body(self, data: bytes) -> bytes:
        """The body of `data`, if they are one request with this head, and nothing else; else nothing."""
        if not data.startswith(self.before):
            return b""
        start = len(self.before)
        end = data.find(b"\r", start, start + 6)
        if not data.startswith(self.after, end):
            return b""
        length, body = data[start:end], data[end + len(self.after) :]
        return body if length.isdigit() and int(length) == len(body) else b""
