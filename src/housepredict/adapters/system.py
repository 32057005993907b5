"""The system clock, and deferred interrupts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import current_thread, main_thread

from attrs import frozen


@frozen
class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Defer interrupts until the context ends. Does nothing outside the main thread, which alone receives them."""
    if current_thread() is not main_thread():
        yield
        return
    received: list[int] = []
    handlers = {}
    try:
        for number in _SIGNALS:
            handlers[number] = signal.getsignal(number)
            if callable(handlers[number]):
                signal.signal(number, lambda number, _frame: received.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            if callable(handler):
                signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0])
