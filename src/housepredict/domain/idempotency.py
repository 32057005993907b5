"""Idempotency keys: requests that a client may repeat."""

from __future__ import annotations

import re

from attrs import frozen

from housepredict.domain.errors import BrokenRules
from housepredict.domain.validation import Rule, Violation

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@frozen
class Delivery:
    """A request that a client may repeat: its idempotency key, and a digest of its content, in hexadecimal."""

    key: str
    digest: str


def require_valid_key(key: str, error: type[BrokenRules]) -> None:
    """Check that a key has 1 to 255 visible ASCII characters. Raises `error`."""
    if not _KEY.fullmatch(key):
        message = "an idempotency key must have 1 to 255 visible ASCII characters"
        raise error([Violation("", Rule.TEXT, message, key)])
