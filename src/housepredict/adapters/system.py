"""The clock, and interrupts that wait."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import current_thread, main_thread

from attrs import frozen


@frozen
class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@contextmanager
def held_back() -> Iterator[None]:
    """Handle interrupts when the context is left. Only the main thread has any; elsewhere this changes nothing."""
    if current_thread() is not main_thread():
        yield
        return
    received: list[int] = []
    handlers = {}
    try:
        for each in _SIGNALS:
            handlers[each] = signal.getsignal(each)
            if callable(handlers[each]):
                signal.signal(each, lambda number, _frame: received.append(number))
        yield
    finally:
        for each, handler in handlers.items():
            if callable(handler):
                signal.signal(each, handler)
    if received:
        signal.raise_signal(received[0])
