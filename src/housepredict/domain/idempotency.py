"""Idempotency keys, which let a client retry a request safely."""

from __future__ import annotations

import re

from attrs import frozen

from housepredict.domain.errors import BrokenRules
from housepredict.domain.validation import Rule, Violation

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@frozen
class Delivery:
    """A request that a client may retry.

    Attributes:
        key: the idempotency key, which is the same for each retry.
        digest: the digest of the request's content, in hexadecimal. It shows whether a key is reused for a different
            request.
    """

    key: str
    digest: str


def require_valid_key(key: str, error: type[BrokenRules]) -> None:
    """Raise `error` unless `key` consists of 1 to 255 visible ASCII characters."""
    if not _KEY.fullmatch(key):
        message = "idempotency key: must have 1 to 255 visible ASCII characters"
        raise error([Violation("", Rule.TEXT, message, key)])
