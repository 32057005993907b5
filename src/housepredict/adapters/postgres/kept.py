"""A connection for small questions: made when it is first needed, kept, and made anew after it was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import ClassVar, Self

import psycopg
from attrs import define, field

from housepredict.adapters.postgres.connections import Database, ImpatientConnection
from housepredict.adapters.postgres.migrations import migrate


@define
class KeptConnection:
    """One connection, which threads take turns on; a process that forks makes its own.

    `patience`, in seconds, bounds the wait for a turn, and then for each answer. The first connection brings the
    database's tables up to date. Raises what psycopg raises, and RepositoryUnavailable for tables that cannot be
    brought up to date.
    """

    _database: Database
    _patience: float = 5.0
    _migrated: Database | None = field(default=None, init=False)
    _connection: ImpatientConnection | None = field(default=None, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    @contextmanager
    def __call__(self) -> Iterator[ImpatientConnection]:
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

    def another(self, patience: float | None = None) -> ImpatientConnection:
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
class KeptTables:
    """Tables that are asked small questions. Threads may share it; a process that forks opens its own.

    `_contents` says in a word what is kept in them. `patience`, in seconds, bounds the wait for each answer. It
    connects, and brings the database's tables up to date, when it is first used: who can do without it does.
    """

    _contents: ClassVar[str]

    _database: Database
    _patience: float = 5.0
    _kept_connection: KeptConnection = field(init=False, repr=False)

    @_kept_connection.default
    def _not_connected(self) -> KeptConnection:
        return KeptConnection(self._database, self._patience)

    @classmethod
    def at(cls, conninfo: str, patience: float = 5.0, *, schema: str | None = None) -> Self:
        """Those in the database that a URL or a `key=value` text of libpq names. Raises UnusableDatabase."""
        return cls(Database.at(conninfo, schema=schema), patience)

    def close(self) -> None:
        """Close the connection; another one is made if it is used again."""
        self._kept_connection.close()

    @contextmanager
    def _connected(self) -> Iterator[ImpatientConnection]:
        with self._database.translated(self._contents), self._kept_connection() as connection:
            yield connection
