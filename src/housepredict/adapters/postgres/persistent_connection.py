"""One connection for small questions, and one that hears at once of promotions that other processes make."""

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
    """A connection to tables, which threads take turns on. A process that forks opens its own.

    It connects, and brings the database's tables up to date, when it is first used. `patience`, in seconds, bounds the
    wait for a turn, and then for each answer.
    """

    _contents: ClassVar[str]
    """What the tables hold, in a word."""

    database: Database
    _patience: float = 5.0
    _migrated: Database | None = field(default=None, init=False)
    _connection: TimeLimitedConnection | None = field(default=None, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    @classmethod
    def at(cls, conninfo: str, patience: float = 5.0, *, schema: str | None = None) -> Self:
        """Connect to the database that a URL or a `key=value` text of libpq names. Raises UnusableDatabase."""
        return cls(Database.at(conninfo, schema=schema), patience)

    @contextmanager
    def session(self) -> Iterator[TimeLimitedConnection]:
        """The connection for small questions, in autocommit, one thread at a time."""
        with self.translated(), self._turn():
            if self._connection and self._connection.is_lost_when_asked():
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
        """A connection of its own, for answers that take longer, in seconds."""
        with self.translated(), closing(self._connect(patience)) as connection:
            yield connection

    def connect(self) -> TimeLimitedConnection:
        """Another connection, which the caller closes."""
        with self.translated():
            return self._connect(self._patience)

    def close(self) -> None:
        """Close the connection; another one is made if it is used again."""
        with self._lock:
            self._drop()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise RepositoryUnavailable for whatever the driver raises."""
        with self.database.translated(self._contents):
            yield

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # without a limit, a silent server would keep every thread waiting for those before it
        if not self._lock.acquire(timeout=self._patience):
            raise psycopg.OperationalError("others wait for the server already")
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
    """The tables of model versions and trainings. Its errors are those of a model store."""

    _contents: ClassVar[str] = "model versions"

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise ModelStoreUnavailable, or UnusableModelDatabase, for whatever the driver raises."""
        try:
            with self.database.translated(self._contents):
                yield
        except UnusableDatabase as error:
            raise UnusableModelDatabase(str(error)) from error
        except RepositoryUnavailable as error:
            raise ModelStoreUnavailable(str(error)) from error


@define
class PostgresAnnouncements:
    """Announcements of promotions: PostgreSQL's LISTEN, on a connection of its own. One thread waits at a time.

    A process polls the pointer all the same: it misses what is announced while it is not connected, and hears nothing
    through a pool that has no LISTEN.
    """

    _server: ModelDatabase
    _connection: TimeLimitedConnection | None = field(default=None, init=False, repr=False)
    _ended: Event = field(factory=Event, init=False, repr=False)

    def wait(self, seconds: float) -> None:
        """Return once the pointer may have moved, after `seconds` at the latest, or when `end` is called."""
        if self._ended.is_set():
            return
        try:
            if self._connection:
                _listen(self._connection, seconds)
            else:
                # and return: nobody knows what was announced before
                self._connection = self._server.connect()
                self._connection.execute("LISTEN housepredict_promotions")
        except (psycopg.Error, ModelStoreUnavailable):
            self.close()
            self._ended.wait(seconds)

    def end(self) -> None:
        """End the wait of another thread, and all later ones."""
        self._ended.set()
        if self._connection:
            self._connection.cut()

    def close(self) -> None:
        """Close the connection. The next wait opens another one."""
        if self._connection:
            self._connection.close()
        self._connection = None


def _listen(connection: TimeLimitedConnection, seconds: float) -> None:
    """Wait for an announcement, and read all that have arrived.

    Raises:
        psycopg.OperationalError: if none can arrive on this connection.
    """
    line = poll()
    line.register(connection.fileno(), POLLIN)
    announced = line.poll(1000 * seconds)
    # one that is silent may be to a server that is read-only by now, with another server under its name
    if connection.is_lost() if announced else connection.is_lost_when_asked():
        raise psycopg.OperationalError("the connection was lost")
    while connection.pgconn.notifies():
        pass
