"""A connection for small questions about models: opened when it is first needed, and again when it was lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Lock
from typing import Self

import psycopg
from attrs import define, field

from housepredict.adapters.postgres.connections import Database, ImpatientConnection, reason_of
from housepredict.adapters.postgres.migrations import migrate
from housepredict.domain.errors import ModelStoreUnavailable, RepositoryUnavailable


@define
class KeptConnection:
    """A connection that one thread at a time asks. A process that forks opens its own.

    `patience`, in seconds, bounds the wait for each answer. It connects, and brings the database's tables up to date,
    when it is first used: who can serve without it does. Whatever goes wrong is ModelStoreUnavailable.
    """

    database: Database
    patience: float = 5.0
    _migrated: bool = field(default=False, init=False)
    _connection: ImpatientConnection | None = field(default=None, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    @classmethod
    def at(cls, conninfo: str) -> Self:
        """The database that a URL or a `key=value` text of libpq names. Raises MisconfiguredRepository."""
        return cls(Database.at(conninfo))

    @contextmanager
    def asked(self) -> Iterator[ImpatientConnection]:
        """The connection, in autocommit, for one thread."""
        with self._lock, self.translated():
            if self._connection is None or self._connection.hung_up():
                self._connection = self.connect()
            try:
                yield self._connection
            except psycopg.OperationalError:
                self._connection.close()
                self._connection = None
                raise

    @contextmanager
    def another(self, patience: float) -> Iterator[ImpatientConnection]:
        """A connection of one's own, for answers that take longer."""
        with self.translated(), closing(self.connect(patience)) as connection:
            yield connection

    def connect(self, patience: float | None = None) -> ImpatientConnection:
        """A connection of one's own, in autocommit, to close. Raises what the driver raises."""
        if not self._migrated:
            migrate(self.database)
            self._migrated = True
        connection = ImpatientConnection.connect(self.database.conninfo, autocommit=True)
        self.database.prepare(connection, patience or self.patience)
        return connection

    def close(self) -> None:
        """Close the connection; another one is made if it is used again."""
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise ModelStoreUnavailable for whatever the driver raises."""
        try:
            yield
        except psycopg.Error as error:
            place = f"the model versions in PostgreSQL at {self.database.place}"
            raise ModelStoreUnavailable(f"{place}: {reason_of(error)}") from error
        except RepositoryUnavailable as error:
            raise ModelStoreUnavailable(str(error)) from error
