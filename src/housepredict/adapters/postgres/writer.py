"""The connection that predictions are written through: one a process, and one round trip a batch.

It asks libpq itself. psycopg's way to execute a statement, and its pool's to lend a connection, let the interpreter's
lock go several times a batch; a busy event loop takes it each time, and gives it back a thread switch later. And an
event loop can send a statement, and is called when the server has answered.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from select import POLLIN, POLLOUT, poll
from threading import Lock
from weakref import finalize

import psycopg
from attrs import define, field
from psycopg import pq
from psycopg.errors import error_from_result

from housepredict.adapters.postgres.connections import Database, TimeLimitedConnection

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


_NAME = b"housepredict"


@define
class Writer:
    """Executes one statement with one parameter, in autocommit. Threads may share it and then wait for each other.

    `timeout`, in seconds, bounds each wait for the server. All that goes wrong is a psycopg.Error; after a connection
    is lost or silent the next call makes another one.
    """

    _database: Database
    _statement: bytes
    _timeout: float
    _connection: TimeLimitedConnection | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)
    _pending: _Answer | None = field(default=None, init=False, repr=False)  # that an event loop waits for
    _watch: Watch | None = field(default=None, init=False, repr=False)

    def connect(self) -> None:
        """Connect, if that is not done yet."""
        with self._lock:
            self._connected()

    def execute(self, parameter: str) -> None:
        """Execute the statement; when this returns it is committed."""
        with self._lock:
            connection = self._connected()
            server = connection.pgconn
            fault = None
            try:
                try:
                    self._exchange(server, parameter)
                except psycopg.errors.SerializationFailure:
                    # The server stored nothing. Behind a pool, a role's sessions may be serializable.
                    self._exchange(server, parameter)
            except psycopg.Error as error:
                fault = error
                raise
            finally:
                self._keep_if_sound(connection, fault, may_wait=True)

    def execute_in_loop(self, parameter: str, done: Callable[[psycopg.Error | None], None]) -> bool:
        """Send the statement from the running event loop, which calls `done` when it is committed, or with an error.

        Returns:
            False if that would mean to wait, for another thread or for a connection. Nothing was sent then.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            connection = None if self._closed else self._connection
            if connection and not connection.is_lost() and (watch := self._watching(connection.pgconn)):
                self._send(connection.pgconn, parameter)
                self._pending = _Answer(connection.pgconn, self._deadline(), done)
                watch.flush()
                return True
        except psycopg.Error:
            self._disconnect()
        finally:
            if not self._pending:
                self._lock.release()
        return False

    def _watching(self, server: pq.abc.PGconn) -> Watch | None:
        loop = asyncio.get_running_loop()
        if not (self._watch and self._watch.covers(loop, server)):
            try:
                self._watch = Watch(loop, server, self._look)
            except OSError:  # as many files are open as may be
                return None
        return self._watch

    def _look(self, watch: Watch) -> bool:
        """See whether the server has answered. Returns whether an answer was pending for this event loop."""
        pending = self._pending
        if pending is None or watch is not self._watch:
            return False
        try:
            pending.server.consume_input()
            if not pending.is_complete():
                if time.monotonic() < pending.deadline:
                    return True
                raise psycopg.OperationalError("the server does not answer")
        except psycopg.Error as error:
            pending.fault = error
        self._pending = None
        if self._connection:  # else `close` has not waited for it
            self._keep_if_sound(self._connection, pending.fault, may_wait=False)
            self._lock.release()
        pending.done(pending.fault)
        return True

    def close(self) -> None:
        """Close the connection, for good."""
        # a statement in flight has its time to end, and no more: its event loop may have ended
        self._lock.acquire(timeout=self._timeout + 1)
        self._closed = True
        self._disconnect()
        self._lock.release()

    def _connected(self) -> TimeLimitedConnection:
        if self._closed:
            raise psycopg.OperationalError("the connection is closed")
        if self._connection and self._connection.is_lost():
            self._disconnect()
        if self._connection is None:
            connection = self._database.connect(self._timeout)
            try:
                if not self._database.pooled:
                    connection.pgconn.send_prepare(_NAME, self._statement)
                    self._finish(connection.pgconn)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _keep_if_sound(self, connection: TimeLimitedConnection, fault: psycopg.Error | None, *, may_wait: bool) -> None:
        """Disconnect after a fault that the rows are not to blame for, or if the statement's outcome is unknown."""
        if (fault and connection.close_after(fault, may_wait=may_wait)) or (
            connection.pgconn.transaction_status != pq.TransactionStatus.IDLE
        ):
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _send(self, server: pq.abc.PGconn, parameter: str) -> None:
        if self._database.pooled:
            server.send_query_params(self._statement, [parameter.encode()])
        else:
            server.send_query_prepared(_NAME, [parameter.encode()])

    def _exchange(self, server: pq.abc.PGconn, parameter: str) -> None:
        self._send(server, parameter)
        self._finish(server)

    def _deadline(self) -> float:
        # a server that is alive keeps to its own timeout first, and says so
        return time.monotonic() + self._timeout + 1

    def _finish(self, server: pq.abc.PGconn) -> None:
        """Wait for the answer, and raise what it says."""
        answer = _Answer(server, self._deadline())
        while server.flush():
            _wait(server, POLLIN | POLLOUT, answer.deadline)
        while not answer.is_complete():
            _wait(server, POLLIN, answer.deadline)
        if answer.fault:
            raise answer.fault


@define(eq=False)
class _Answer:
    """What the server says to a statement."""

    server: pq.abc.PGconn
    deadline: float
    done: Callable[[psycopg.Error | None], None] = field(default=lambda _: None)
    fault: psycopg.Error | None = field(default=None, init=False)

    def is_complete(self) -> bool:
        """Whether all of it has been read."""
        while not self.server.is_busy():
            result = self.server.get_result()
            if result is None:
                return True
            if result.status != pq.ExecStatus.COMMAND_OK:
                self.fault = error_from_result(result)
        return False


def _wait(server: pq.abc.PGconn, events: int, deadline: float) -> None:
    ready = poll()
    ready.register(server.socket, events)
    if not ready.poll(1000 * max(0.0, deadline - time.monotonic())):
        raise psycopg.OperationalError("the server does not answer")
    server.consume_input()
