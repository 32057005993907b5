"""The connection that predictions are written through: one a process, and one round trip a batch.

It asks libpq itself. psycopg's way to execute a statement, and its pool's to lend a connection, let the interpreter's
lock go several times a batch; a busy event loop takes it each time, and gives it back a thread switch later. And it can
send a statement, and leave who waits for the answer to do something else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from select import POLLIN, POLLOUT, poll
from threading import Lock

import psycopg
from attrs import define, field
from psycopg import pq
from psycopg.errors import error_from_result

from housepredict.adapters.postgres.connections import Database, ImpatientConnection

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
    _connection: ImpatientConnection | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def connect(self) -> None:
        """Connect, if that is not done yet."""
        with self._lock:
            self._connected()

    def execute(self, parameter: str) -> None:
        """Execute the statement; when this returns it is committed."""
        with self._lock:
            connection = self._connected()
            server = connection.pgconn
            try:
                try:
                    self._exchange(server, parameter)
                except psycopg.errors.SerializationFailure:
                    # The server stored nothing. Behind a pool, a role's sessions may be serializable.
                    self._exchange(server, parameter)
            except psycopg.Error as error:
                if connection.close_after(error):
                    self._connection = None
                raise
            finally:
                if self._connection and server.transaction_status != pq.TransactionStatus.IDLE:
                    self._disconnect()  # it is not known what became of the statement

    def begin(self, parameter: str) -> Statement | None:
        """Send the statement; None where that would mean to wait, for another thread or for a connection."""
        if not self._lock.acquire(blocking=False):
            return None
        statement = None
        try:
            connection = None if self._closed else self._connection
            if connection and not connection.is_lost():
                self._send(connection.pgconn, parameter)
                statement = Statement(self._database, connection.pgconn, self._deadline(), self._ended)
        except psycopg.Error:
            self._disconnect()
        finally:
            if statement is None:
                self._lock.release()
        return statement

    def _ended(self, fault: psycopg.Error | None) -> None:
        """A statement that was begun is over."""
        if self._closed:
            return  # it was not waited for
        connection = self._connection
        if connection and (
            connection.pgconn.transaction_status != pq.TransactionStatus.IDLE  # it is not known what became of it
            # a pool is told in the thread that appends the same rows after a fault: that takes a wait
            or (fault and connection.close_after(fault, may_wait=False))
        ):
            self._disconnect()
        self._lock.release()

    def close(self) -> None:
        """Close the connection, for good."""
        # a statement that was begun has its time to end, and no more: nobody may be there to ask for it
        self._lock.acquire(timeout=self._timeout + 1)
        self._closed = True
        self._disconnect()
        self._lock.release()

    def _connected(self) -> ImpatientConnection:
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
        deadline = self._deadline()
        while server.flush():
            _wait(server, POLLIN | POLLOUT, deadline)
        answered, fault = False, None
        while not answered:
            while server.is_busy():
                _wait(server, POLLIN, deadline)
            result = server.get_result()
            answered = result is None
            if result and result.status != pq.ExecStatus.COMMAND_OK:
                fault = error_from_result(result)
        if fault:
            raise fault


@define(eq=False)
class Statement:
    """A statement that was sent; an Appending. The writer is its own until it is over."""

    _database: Database
    connection: pq.abc.PGconn
    _deadline: float
    _end: Callable[[psycopg.Error | None], None]
    _fault: psycopg.Error | None = field(default=None, init=False)

    def fileno(self) -> int:
        """See Appending."""
        return self.connection.socket

    def is_sent(self) -> bool:
        """See Appending."""
        try:
            return not self.connection.flush()
        except psycopg.Error:
            return True  # nothing more goes that way; what is read says why

    def is_done(self) -> bool:
        """See Appending. Raises RepositoryUnavailable or RefusedPredictions."""
        try:
            if not self._is_answered():
                return False
        except psycopg.Error as error:
            self._fault = error
        self._end(self._fault)
        if self._fault:
            with self._database.translated():
                raise self._fault
        return True

    def _is_answered(self) -> bool:
        server = self.connection
        server.consume_input()
        while not server.is_busy():
            result = server.get_result()
            if result is None:
                return True
            if result.status != pq.ExecStatus.COMMAND_OK:
                self._fault = error_from_result(result)
        if time.monotonic() >= self._deadline:
            raise psycopg.OperationalError("the server does not answer")
        return False


def _wait(server: pq.abc.PGconn, events: int, deadline: float) -> None:
    ready = poll()
    ready.register(server.socket, events)
    if not ready.poll(1000 * max(0.0, deadline - time.monotonic())):
        raise psycopg.OperationalError("the server does not answer")
    server.consume_input()
