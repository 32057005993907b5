"""Hears at once of promotions that other processes make: PostgreSQL's LISTEN, on a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from select import POLLIN, poll
from threading import Event, Lock
from typing import ClassVar, Self

import psycopg
from attrs import define, field

from housepredict.adapters.postgres.connections import Database, TimeLimitedConnection, reason_of
from housepredict.adapters.postgres.migrations import migrate
from housepredict.domain.errors import (
    ModelStoreUnavailable,
    RepositoryUnavailable,
    UnusableDatabase,
    UnusableModelDatabase,
)


@define
class PersistentConnection:
    """One connection, which threads take turns on; a process that forks makes its own.

    `patience`, in seconds, bounds the wait for a turn, and then for each answer. The first connection brings the
    database's tables up to date. Raises what psycopg raises, and RepositoryUnavailable for tables that cannot be
    brought up to date.
    """

    _database: Database
    _patience: float = 5.0
    _migrated: Database | None = field(default=None, init=False)
    _connection: TimeLimitedConnection | None = field(default=None, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    @contextmanager
    def __call__(self) -> Iterator[TimeLimitedConnection]:
        """The connection, one thread at a time."""
        # a server that is silent would else keep every thread waiting for those before it
        if not self._lock.acquire(timeout=self._patience):
            raise psycopg.OperationalError("others wait for the server already")
        try:
            if self._connection and self._connection.is_lost_when_asked():
                self._drop()
            if self._connection is None:
                self._connection = self.another()
            try:
                yield self._connection
            except psycopg.Error as error:
                if self._connection.close_after(error):
                    self._connection = None
                raise
        finally:
            self._lock.release()

    def another(self, patience: float | None = None) -> TimeLimitedConnection:
        """A connection of one's own, to be closed by whoever asked."""
        if self._migrated is None:
            self._migrated = migrate(self._database)
        return self._migrated.connect(self._patience if patience is None else patience)

    def close(self) -> None:
        """Close it; another one is made if it is needed again."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None


@define
class PersistentTables:
    """Tables that are asked small questions. Threads may share it; a process that forks opens its own.

    `_contents` says in a word what is kept in them. `patience`, in seconds, bounds the wait for each answer. It
    connects, and brings the database's tables up to date, when it is first used: who can do without it does.
    """

    _contents: ClassVar[str]

    _database: Database
    _patience: float = 5.0
    _kept_connection: PersistentConnection = field(init=False, repr=False)

    @_kept_connection.default
    def _not_connected(self) -> PersistentConnection:
        return PersistentConnection(self._database, self._patience)

    @classmethod
    def at(cls, conninfo: str, patience: float = 5.0, *, schema: str | None = None) -> Self:
        """Those in the database that a URL or a `key=value` text of libpq names. Raises UnusableDatabase."""
        return cls(Database.at(conninfo, schema=schema), patience)

    def close(self) -> None:
        """Close the connection; another one is made if it is used again."""
        self._kept_connection.close()

    @contextmanager
    def _connected(self) -> Iterator[TimeLimitedConnection]:
        with self._database.translated(self._contents), self._kept_connection() as connection:
            yield connection


@define
class ModelDatabase:
    """Connections to a database. Threads may share it; a process that forks opens its own.

    `patience`, in seconds, bounds the wait for each answer. It connects, and brings the database's tables up to date,
    when it is first used: who can serve without it does.
    """

    database: Database
    _patience: float = 5.0
    _kept: PersistentConnection = field(init=False, repr=False)

    @_kept.default
    def _not_connected(self) -> PersistentConnection:
        return PersistentConnection(self.database, self._patience)

    @classmethod
    def at(cls, conninfo: str, *, schema: str | None = None) -> Self:
        """The database that a URL or a `key=value` text of libpq names. Raises UnusableDatabase."""
        return cls(Database.at(conninfo, schema=schema))

    @contextmanager
    def session(self) -> Iterator[TimeLimitedConnection]:
        """The connection for small questions, in autocommit, one thread at a time."""
        with self.translated(), self._kept() as connection:
            yield connection

    @contextmanager
    def long_session(self, patience: float) -> Iterator[TimeLimitedConnection]:
        """A connection of one's own, for answers that take longer."""
        with self.translated(), closing(self._kept.another(patience)) as connection:
            yield connection

    def connect(self) -> TimeLimitedConnection:
        """A connection of one's own, to close."""
        with self.translated():
            return self._kept.another()

    def close(self) -> None:
        """Close the kept connection; another one is made if it is used again."""
        self._kept.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise ModelStoreUnavailable, or UnusableModelDatabase, for whatever the driver raises."""
        try:
            yield
        except psycopg.Error as error:
            place = f"the model versions in PostgreSQL at {self.database.place}"
            raise ModelStoreUnavailable(f"{place}: {reason_of(error)}") from error
        except UnusableDatabase as error:
            raise UnusableModelDatabase(str(error)) from error
        except RepositoryUnavailable as error:
            raise ModelStoreUnavailable(str(error)) from error


@define
class PostgresAnnouncements:
    """What a database tells of its pointer. One thread waits; another may end that.

    Nothing rests on it: what is announced while nobody listens, or through a proxy that has no LISTEN, is not heard.
    """

    _server: ModelDatabase
    _connection: TimeLimitedConnection | None = field(default=None, init=False, repr=False)
    _ended: Event = field(factory=Event, init=False, repr=False)

    def wait(self, seconds: float) -> None:
        """Return once the pointer may have moved, after `seconds` at the latest, or when `end` is called."""
        if self._ended.is_set():
            return
        try:
            if self._connection is None:
                # and return: nobody knows what was announced before
                self._connection = self._server.connect()
                self._connection.execute("LISTEN housepredict_promotions")
            elif not _listen(self._connection, seconds) and self._connection.is_lost_when_asked():
                # it would hear nothing: the server takes no writes any more, and another may have its name
                raise psycopg.OperationalError("the server is read-only")
        except (psycopg.Error, ModelStoreUnavailable):
            self.close()
            self._ended.wait(seconds)

    def end(self) -> None:
        """End a wait that another thread is in, and all that come."""
        self._ended.set()
        if self._connection:
            self._connection.cut()

    def close(self) -> None:
        """Close the connection; another one is made if there is a wait to come."""
        if self._connection:
            self._connection.close()
        self._connection = None


def _listen(connection: TimeLimitedConnection, seconds: float) -> bool:
    """Whether anything was heard within so many seconds."""
    line = poll()
    line.register(connection.fileno(), POLLIN)
    heard = bool(line.poll(1000 * seconds))
    if connection.is_lost():
        raise psycopg.OperationalError("the server closed the connection")
    while connection.pgconn.notifies():
        pass
    return heard
