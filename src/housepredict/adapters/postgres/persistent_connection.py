"""A persistent connection for short queries, and a connection that listens for promotions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from select import POLLIN, poll
from threading import Event, Lock
from typing import ClassVar, Self

import psycopg
from attrs import define, field

from housepredict.adapters.postgres.connections import Database, TimeLimitedConnection
from housepredict.adapters.postgres.migrations import migrate
from housepredict.domain.errors import (
    ModelStoreUnavailable,
    RepositoryUnavailable,
    UnusableDatabase,
    UnusableModelDatabase,
)


@define
class PersistentConnection:
    """A connection that threads can share, but not processes. Only one thread uses it at a time.

    The first use connects to the database and applies pending migrations.
    """

    _contents: ClassVar[str]
    """What the tables store, as shown in error messages, such as "sales"."""

    database: Database
    _patience: float = 5.0
    """How long to wait for other threads, and how long to wait for each response from the server, in seconds."""
    _migrated: Database | None = field(default=None, init=False)
    _connection: TimeLimitedConnection | None = field(default=None, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    @classmethod
    def at(cls, conninfo: str, patience: float = 5.0, *, schema: str | None = None) -> Self:
        """Create a connection from a URL or a libpq `key=value` string. The first use opens it.

        Raises:
            UnusableDatabase: if the URL can't be parsed.
        """
        return cls(Database.at(conninfo, schema=schema), patience)

    @contextmanager
    def session(self) -> Iterator[TimeLimitedConnection]:
        """Lock the connection and yield it for short queries. The connection is in autocommit mode."""
        with self.translated(), self._locked():
            if self._connection and self._connection.is_lost_after_ping():
                self._drop()
            if self._connection is None:
                self._connection = self._connect(self._patience)
            try:
                yield self._connection
            except psycopg.Error as error:
                if self._connection.close_after(error):
                    self._connection = None
                raise

    @contextmanager
    def long_session(self, patience: float) -> Iterator[TimeLimitedConnection]:
        """Open a separate connection for long queries, with a timeout of `patience` seconds."""
        with self.translated(), closing(self._connect(patience)) as connection:
            yield connection

    def connect(self) -> TimeLimitedConnection:
        """Open a separate connection, which the caller must close."""
        with self.translated():
            return self._connect(self._patience)

    def close(self) -> None:
        """Close the connection. The next use opens a new one."""
        with self._lock:
            self._drop()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate driver errors to RepositoryUnavailable."""
        with self.database.translated(self._contents):
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Without this timeout, each thread would wait for all threads ahead of it if the server is unresponsive.
        if not self._lock.acquire(timeout=self._patience):
            raise psycopg.OperationalError("other threads are still waiting for the server")
        try:
            yield
        finally:
            self._lock.release()

    def _connect(self, patience: float) -> TimeLimitedConnection:
        if self._migrated is None:
            self._migrated = migrate(self.database)
        return self._migrated.connect(patience)

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


@define
class ModelDatabase(PersistentConnection):
    """A connection to the tables of model versions and training jobs. It raises the same errors as a ModelStore."""

    _contents: ClassVar[str] = "model versions"

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate driver errors to ModelStoreUnavailable or UnusableModelDatabase."""
        try:
            with self.database.translated(self._contents):
                yield
        except UnusableDatabase as error:
            raise UnusableModelDatabase(str(error)) from error
        except RepositoryUnavailable as error:
            raise ModelStoreUnavailable(str(error)) from error


@define
class PostgresAnnouncements:
    """A listener for promotions, which uses LISTEN on a separate connection. Only one thread may wait at a time.

    Processes must also poll for the promoted version, because announcements are missed while the connection is down,
    and because some connection pools don't support LISTEN.
    """

    _server: ModelDatabase
    _connection: TimeLimitedConnection | None = field(default=None, init=False, repr=False)
    _ended: Event = field(factory=Event, init=False, repr=False)

    def wait(self, seconds: float) -> None:
        """Wait for a promotion, or until `end` is called or `seconds` have passed. May return early."""
        if self._ended.is_set():
            return
        try:
            if self._connection:
                _listen(self._connection, seconds)
            else:
                # Return immediately, because promotions before LISTEN are not announced.
                self._connection = self._server.connect()
                self._connection.execute("LISTEN housepredict_promotions")
        except (psycopg.Error, ModelStoreUnavailable):
            self.close()
            self._ended.wait(seconds)

    def end(self) -> None:
        """End the wait that is in progress in another thread, and make later waits return immediately."""
        self._ended.set()
        if self._connection:
            self._connection.cut()

    def close(self) -> None:
        """Close the connection. The next wait opens a new one."""
        if self._connection:
            self._connection.close()
        self._connection = None


def _listen(connection: TimeLimitedConnection, seconds: float) -> None:
    """Wait up to `seconds` for an announcement, and then read all announcements that have arrived.

    Raises:
        psycopg.OperationalError: if the connection is lost.
    """
    poller = poll()
    poller.register(connection.fileno(), POLLIN)
    has_input = poller.poll(1000 * seconds)
    # If nothing arrived, ping the server, because it may have become read-only in a failover.
    if connection.is_lost() if has_input else connection.is_lost_after_ping():
        raise psycopg.OperationalError("the connection was lost")
    while connection.pgconn.notifies():
        pass
