"""Identifiers: UUIDv7s (RFC 9562), generated in batches."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock
from uuid import UUID

from attrs import define, field

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANDOM_BITS = 74
_LOW_BITS = 62
_LOW = (1 << _LOW_BITS) - 1
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@define
class IdSequence:
    """A thread-safe generator of UUIDv7s. Ids strictly increase, even if the clock stops or steps back.

    A UUIDv7 consists of a time in milliseconds and 74 other bits (plus version and variant). Here, these bits are a
    counter that starts at a random number in each millisecond (RFC 9562, section 6.2, method 1).
    """

    _millisecond: int = 0
    _counter: int = 0
    _lock: Lock = field(factory=Lock, repr=False)

    def take(self, count: int, now: datetime, above: UUID | None = None) -> Sequence[UUID]:
        """Generate `count` ids, in increasing order.

        Args:
            count: the number of ids.
            now: the current time, with a time zone.
            above: an id that all generated ids must exceed, such as the largest stored id. Its time may be later than
                `now`, because another process's clock may be ahead.
        """
        with self._lock:
            if above is not None:
                self._continue_after(above)
            millisecond = max((now - _EPOCH) // timedelta(milliseconds=1), self._millisecond)
            if millisecond > self._millisecond:
                # The top bit is 0 so that a batch can't overflow the counter.
                self._counter = secrets.randbits(_RANDOM_BITS - 1)
            first = self._counter + 1
            self._millisecond, self._counter = millisecond, self._counter + count
        if first >> _LOW_BITS == (first + count) >> _LOW_BITS:  # Nearly always true: no carry into the variant bits.
            start = _uuid7(millisecond, first)
            return [UUID(int=number) for number in range(start, start + count)]
        return [UUID(int=_uuid7(millisecond, number)) for number in range(first, first + count)]

    def _continue_after(self, id_: UUID) -> None:
        number = (id_.int >> 64 & 0xFFF) << _LOW_BITS | id_.int & _LOW
        self._millisecond, self._counter = max((id_.int >> 80, number), (self._millisecond, self._counter))


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID in the standard form with four hyphens."""
    return _UUID.fullmatch(text) is not None


def first_id_at(time: datetime) -> UUID:
    """Return a UUID that is below all UUIDv7s created at `time` or later, and above all UUIDv7s created earlier.

    `time` must have a time zone. Like UUIDv7s, the result has a precision of one millisecond.
    """
    millisecond = min(max((time - _EPOCH) // timedelta(milliseconds=1), 0), 2**48 - 1)
    return UUID(int=millisecond << 80)


def next_id(id: UUID) -> UUID:  # noqa: A002  # The parameter is called `id` everywhere.
    """Return the smallest UUID above `id`."""
    return UUID(int=id.int + 1)


def _uuid7(millisecond: int, number: int) -> int:
    high, low = number >> _LOW_BITS, number & _LOW
    return millisecond << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
