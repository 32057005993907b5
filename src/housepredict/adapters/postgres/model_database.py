"""The database of model versions, and of what else services say of them. What goes wrong is ModelStoreUnavailable."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Self

import psycopg
from attrs import define, field

from housepredict.adapters.postgres.connections import Database, ImpatientConnection, reason_of
from housepredict.adapters.postgres.kept import KeptConnection
from housepredict.domain.errors import (
    ModelStoreUnavailable,
    RepositoryUnavailable,
    UnusableDatabase,
    UnusableModelDatabase,
)


@define
class ModelDatabase:
    """Connections to a database. Threads may share it; a process that forks opens its own.

    `patience`, in seconds, bounds the wait for each answer. It connects, and brings the database's tables up to date,
    when it is first used: who can serve without it does.
    """

    database: Database
    _patience: float = 5.0
    _kept: KeptConnection = field(init=False, repr=False)

    @_kept.default
    def _not_connected(self) -> KeptConnection:
        return KeptConnection(self.database, self._patience)

    @classmethod
    def at(cls, conninfo: str, *, schema: str | None = None) -> Self:
        """The database that a URL or a `key=value` text of libpq names. Raises UnusableDatabase."""
        return cls(Database.at(conninfo, schema=schema))

    @contextmanager
    def asked(self) -> Iterator[ImpatientConnection]:
        """The connection for small questions, in autocommit, one thread at a time."""
        with self.translated(), self._kept() as connection:
            yield connection

    @contextmanager
    def asked_at_length(self, patience: float) -> Iterator[ImpatientConnection]:
        """A connection of one's own, for answers that take longer."""
        with self.translated(), closing(self._kept.another(patience)) as connection:
            yield connection

    def connect(self) -> ImpatientConnection:
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
