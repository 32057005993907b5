"""The base class of all SQLite repositories: a durable file with versioned tables."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import ClassVar, Self
from uuid import UUID

from attrs import define, field

from housepredict.domain.errors import RepositoryUnavailable


@define
class SqliteFile:
    """A thread-safe connection to an SQLite file. Processes may share the file."""

    _contents: ClassVar[str]
    """What the file stores, as shown in error messages, such as "predictions"."""
    _version: ClassVar[int]
    """The schema version of the tables."""
    _tables: ClassVar[Sequence[str]]
    """Statements that create the tables in a new file."""
    _upgrades: ClassVar[Mapping[int, Sequence[str]]] = {}
    """SQL statements that upgrade a file to the next schema version, by the current schema version of the file."""
    _additions: ClassVar[Sequence[str]] = ()
    """Statements that add tables but keep the schema version, so that older releases can still open the file."""
    _fault: ClassVar[type[RepositoryUnavailable]] = RepositoryUnavailable
    """The exception class to which SQLite errors are translated."""

    _path: Path
    _connection: sqlite3.Connection = field(repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0) -> Self:
        """Open the file. If it is missing, create it and its parent directories, accessible only to this user.

        Args:
            path: the path of the file.
            timeout: seconds to wait while another process is writing.

        Raises:
            RepositoryUnavailable: if the file can't be opened, or was written by a newer release.
        """
        with cls._translated(path):
            for folder in reversed(path.parents):
                folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileExistsError):
                path.touch(mode=0o600, exist_ok=False)
            # With isolation_level=None, sqlite3 doesn't begin transactions implicitly.
            connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
            try:
                cls._prepare(connection)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        with self._locked() as connection:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translated(self._path):
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._locked() as connection, _transaction(connection):
            yield connection

    @contextmanager
    def _erasing(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction in which SQLite overwrites deleted data in the file.

        After the transaction, truncate the write-ahead log, unless another connection is reading.
        """
        with self._locked() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            try:
                with _transaction(connection):
                    yield connection
            finally:
                connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @classmethod
    @contextmanager
    def _translated(cls, path: Path) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            message = f"the {cls._contents} in {path} cannot be read or written: {error}"
            raise cls._fault(message) from error

    @classmethod
    def _prepare(cls, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if cls._version_of(connection) < cls._version:
            with _transaction(connection):
                version = cls._version_of(connection)  # read again: another process may have upgraded the file
                upgrades = {0: cls._tables} if version == 0 else cls._upgrades
                for older in sorted(upgrades.keys() & {*range(version, cls._version)}):
                    for statement in upgrades[older]:
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {cls._version}")
        for statement in cls._additions:
            connection.execute(statement)

    @classmethod
    def _version_of(cls, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > cls._version:
            raise sqlite3.DatabaseError("a newer release of housepredict wrote it: upgrade, or use another file")
        return version


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has already rolled back.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def ids_to_json(ids: Iterable[UUID]) -> str:
    """Encode ids as a single parameter for json_each, because SQLite limits the number of parameters."""
    return json.dumps([str(id_) for id_ in ids])
