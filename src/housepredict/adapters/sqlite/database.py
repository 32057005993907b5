"""A durable SQLite file with a version: what every repository in one has in common."""

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
    """A connection to a file, which threads take turns on. Processes may share the file.

    `_contents` is a word for what it holds. `_version` is the version of its tables, `_tables` creates those of a new
    file, and `_upgrades` has the statements that upgrade a file of a version to the next. `_additions` are tables that
    older releases ignore: they get no version of their own, so that a rollback stays possible. SQLite's errors become
    `_fault`.
    """

    _contents: ClassVar[str]
    _version: ClassVar[int]
    _tables: ClassVar[Sequence[str]]
    _upgrades: ClassVar[Mapping[int, Sequence[str]]] = {}
    _additions: ClassVar[Sequence[str]] = ()
    _fault: ClassVar[type[RepositoryUnavailable]] = RepositoryUnavailable

    _path: Path
    _connection: sqlite3.Connection = field(repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0) -> Self:
        """Open the file, made where there is none, with folders and file for this user alone.

        `timeout`, in seconds, is how long to wait for another process that writes. Raises RepositoryUnavailable.
        """
        with cls._translated(path):
            for folder in reversed(path.parents):
                folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileExistsError):
                path.touch(mode=0o600, exist_ok=False)
            # isolation_level=None: transactions begin where the code says so
            connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
            try:
                cls._prepare(connection)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    def close(self) -> None:
        """Close the file."""
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
        """As `_writing`; of what is deleted nothing is left in the file, nor, if nobody reads just then, in its log."""
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
            message = f"the {cls._contents} in {path} cannot be recorded or read: {error}"
            raise cls._fault(message) from error

    @classmethod
    def _prepare(cls, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if cls._version_of(connection) < cls._version:
            with _transaction(connection):
                version = cls._version_of(connection)  # again: another process may have been quicker
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
            raise sqlite3.DatabaseError("a newer housepredict wrote it: upgrade this one, or name another file")
        return version


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, a full disk among them
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def ids_to_json(ids: Iterable[UUID]) -> str:
    """Ids as one parameter for json_each, whatever their number: SQLite has a limit."""
    return json.dumps([str(id_) for id_ in ids])
