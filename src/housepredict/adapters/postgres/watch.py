"""Watches a connection to PostgreSQL in an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from weakref import finalize

import psycopg
from attrs import define, field
from psycopg import pq

LOOK_EVERY_S = 1.0
"""For deadlines: a silent server gives nothing to look at."""


@define(eq=False)
class Watch:
    """Looks whenever the server has sent something, and each second, until a look finds no answer pending.

    It outlives a statement: to begin and end a watch for each one takes ten system calls. A descriptor of its own
    stands for the connection, so that it stays open meanwhile. Raises OSError if too many files are open.
    """

    _loop: asyncio.AbstractEventLoop
    _server: pq.abc.PGconn
    _look: Callable[[Watch], bool]
    _descriptor: int = field(init=False)
    _close: finalize[[int], Watch] = field(init=False)  # also where the loop is closed before the watch ends
    _timer: asyncio.TimerHandle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._descriptor = os.dup(self._server.socket)
        self._close = finalize(self, os.close, self._descriptor)
        self._loop.add_reader(self._descriptor, self._see)
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._see_again)

    def covers(self, loop: asyncio.AbstractEventLoop, server: pq.abc.PGconn) -> bool:
        """Whether it watches this connection in this event loop."""
        return self._close.alive and self._server is server and self._loop is loop

    def flush(self) -> None:
        """Send what has not left yet, as soon as the connection takes it."""
        if not self._is_flushed():
            self._loop.add_writer(self._descriptor, self._write)

    def _is_flushed(self) -> bool:
        try:
            return not self._server.flush()
        except psycopg.Error:
            return True  # nothing more goes that way; what is read says why

    def _write(self) -> None:
        if self._is_flushed():
            self._loop.remove_writer(self._descriptor)

    def _see_again(self) -> None:
        self._timer = self._loop.call_later(LOOK_EVERY_S, self._see_again)
        self._see()

    def _see(self) -> None:
        if not self._look(self):  # the server has hung up, a thread uses the connection, or another loop does
            self._timer.cancel()
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._close()
