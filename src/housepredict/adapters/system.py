"""The system clock, and a context manager that defers interrupts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import current_thread, main_thread

from attrs import frozen


@frozen
class SystemClock:
    """The system clock, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Defer interrupts until the context exits.

    Only the main thread receives interrupts, so this does nothing in other threads.
    """
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
