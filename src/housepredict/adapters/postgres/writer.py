"""The connection that writes predictions. Each process has one, and each batch takes one round trip.

This module calls libpq directly, because psycopg and its pool release the GIL several times per batch. Each time, a
busy event loop takes the GIL and keeps it until the next thread switch. With libpq, an event loop can also send a
statement without blocking, and receive the response in a callback.
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

DEADLINE_CHECK_INTERVAL_S = 1.0
"""Seconds between checks whether a response is overdue. An unresponsive server causes no event that would show this."""


@define(eq=False)
class Watch:
    """A watch on a connection. It calls `on_event` in an event loop once a second and whenever the server sends data.

    The watch ends when `on_event` returns False. One watch serves many statements, because starting and ending a watch
    takes ten system calls. The watch uses a duplicate of the connection's file descriptor, which stays valid when the
    connection is closed.

    Raises:
        OSError: if the file descriptor can't be duplicated, because too many files are open.
    """

    _loop: asyncio.AbstractEventLoop
    _server: pq.abc.PGconn
    _on_event: Callable[[Watch], bool]
    _descriptor: int = field(init=False)
    _close: finalize[[int], Watch] = field(init=False)  # closes the descriptor even if the loop is closed first
    _timer: asyncio.TimerHandle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._descriptor = os.dup(self._server.socket)
        self._close = finalize(self, os.close, self._descriptor)
        self._loop.add_reader(self._descriptor, self._on_input)
        self._timer = self._loop.call_later(DEADLINE_CHECK_INTERVAL_S, self._on_timer)

    def covers(self, loop: asyncio.AbstractEventLoop, server: pq.abc.PGconn) -> bool:
        """Return whether this watch is active on the given connection and event loop."""
        return self._close.alive and self._server is server and self._loop is loop

    def flush(self) -> None:
        """Send buffered output as soon as the socket accepts it."""
        if not self._is_flushed():
            self._loop.add_writer(self._descriptor, self._on_writable)

    def _is_flushed(self) -> bool:
        try:
            return not self._server.flush()
        except psycopg.Error:
            return True  # nothing more can be sent, and the next read reports the error

    def _on_writable(self) -> None:
        if self._is_flushed():
            self._loop.remove_writer(self._descriptor)

    def _on_timer(self) -> None:
        self._timer = self._loop.call_later(DEADLINE_CHECK_INTERVAL_S, self._on_timer)
        self._on_input()

    def _on_input(self) -> None:
        if not self._on_event(self):  # the connection is closed, or in use by a thread or another event loop
            self._timer.cancel()
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._close()


_STATEMENT_NAME = b"housepredict"


@define
class Writer:
    """A connection for executing the same statement many times, with one parameter and in autocommit mode.

    Threads may share a Writer, but only one thread uses the connection at a time. `timeout` is the maximum wait for a
    response, in seconds. All errors are psycopg.Error. After a connection error, the next call opens a new connection.
    """

    _database: Database
    _statement: bytes
    _timeout: float
    _connection: TimeLimitedConnection | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)
    _pending: _Response | None = field(
        default=None, init=False, repr=False
    )  # the response that an event loop waits for
    _watch: Watch | None = field(default=None, init=False, repr=False)

    def connect(self) -> None:
        """Connect unless already connected."""
        with self._lock:
            self._ensure_connected()

    def execute(self, parameter: str) -> None:
        """Execute and commit the statement."""
        with self._lock:
            connection = self._ensure_connected()
            server = connection.pgconn
            fault = None
            try:
                try:
                    self._exchange(server, parameter)
                except psycopg.errors.SerializationFailure:
                    # The server rolled back, so retry. A pool's sessions are serializable if the role's default is.
                    self._exchange(server, parameter)
            except psycopg.Error as error:
                fault = error
                raise
            finally:
                self._disconnect_if_broken(connection, fault, may_wait=True)

    def execute_in_loop(self, parameter: str, done: Callable[[psycopg.Error | None], None]) -> bool:
        """Send the statement from the running event loop, without blocking the loop.

        Args:
            parameter: the statement's parameter.
            done: callback for the result. The event loop calls it with None after the commit, or with the error.

        Returns:
            Whether the statement was sent. It isn't sent if that would block: another thread uses the connection, or
            there is no connection.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            connection = None if self._closed else self._connection
            if connection and not connection.is_lost() and (watch := self._ensure_watch(connection.pgconn)):
                self._send(connection.pgconn, parameter)
                self._pending = _Response(connection.pgconn, self._deadline(), done)
                watch.flush()
                return True
        except psycopg.Error:
            self._disconnect()
        finally:
            if not self._pending:
                self._lock.release()
        return False

    def _ensure_watch(self, server: pq.abc.PGconn) -> Watch | None:
        loop = asyncio.get_running_loop()
        if not (self._watch and self._watch.covers(loop, server)):
            try:
                self._watch = Watch(loop, server, self._read_response)
            except OSError:  # too many files are open
                return None
        return self._watch

    def _read_response(self, watch: Watch) -> bool:
        """Read the available part of the response. Return whether `watch` should continue."""
        pending = self._pending
        if pending is None or watch is not self._watch:
            return False
        try:
            pending.server.consume_input()
            if not pending.is_complete():
                if time.monotonic() < pending.deadline:
                    return True
                raise psycopg.OperationalError("the server does not respond")
        except psycopg.Error as error:
            pending.fault = error
        self._pending = None
        if self._connection:  # otherwise, `close` has timed out
            self._disconnect_if_broken(self._connection, pending.fault, may_wait=False)
            self._lock.release()
        pending.done(pending.fault)
        return True

    def close(self) -> None:
        """Close the connection permanently."""
        # Wait for a statement in flight, but with a timeout, because its event loop may be closed.
        self._lock.acquire(timeout=self._timeout + 1)
        self._closed = True
        self._disconnect()
        self._lock.release()

    def _ensure_connected(self) -> TimeLimitedConnection:
        if self._closed:
            raise psycopg.OperationalError("the connection is closed")
        if self._connection and self._connection.is_lost():
            self._disconnect()
        if self._connection is None:
            connection = self._database.connect(self._timeout)
            try:
                if not self._database.pooled:
                    connection.pgconn.send_prepare(_STATEMENT_NAME, self._statement)
                    self._finish(connection.pgconn)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect_if_broken(
        self, connection: TimeLimitedConnection, fault: psycopg.Error | None, *, may_wait: bool
    ) -> None:
        """Disconnect if a statement is still in progress, or after a `fault` that invalid rows didn't cause.

        See `close_after` for `may_wait`.
        """
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
            server.send_query_prepared(_STATEMENT_NAME, [parameter.encode()])

    def _exchange(self, server: pq.abc.PGconn, parameter: str) -> None:
        self._send(server, parameter)
        self._finish(server)

    def _deadline(self) -> float:
        # One second later than the server's own timeout, so that a responsive server can report the timeout.
        return time.monotonic() + self._timeout + 1

    def _finish(self, server: pq.abc.PGconn) -> None:
        """Wait for the response. If the server reported an error, raise it."""
        response = _Response(server, self._deadline())
        while server.flush():
            _wait(server, POLLIN | POLLOUT, response.deadline)
        while not response.is_complete():
            _wait(server, POLLIN, response.deadline)
        if response.fault:
            raise response.fault


@define(eq=False)
class _Response:
    """The server's response to a statement.

    Attributes:
        server: the connection to the server.
        deadline: the time by which the response must be complete, as returned by `time.monotonic`.
        done: callback for the result; see `execute_in_loop`.
        fault: the error that the server reported, or None.
    """

    server: pq.abc.PGconn
    deadline: float
    done: Callable[[psycopg.Error | None], None] = field(default=lambda _: None)
    fault: psycopg.Error | None = field(default=None, init=False)

    def is_complete(self) -> bool:
        """Process the results received so far. Return whether the response is complete."""
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
        raise psycopg.OperationalError("the server does not respond")
    server.consume_input()
