"""Hears at once of promotions that other processes make: PostgreSQL's LISTEN, on a connection of its own."""

from __future__ import annotations

from select import POLLIN, poll
from threading import Event

import psycopg
from attrs import define, field

from housepredict.adapters.postgres.connections import ImpatientConnection
from housepredict.adapters.postgres.model_database import ModelDatabase
from housepredict.domain.errors import ModelStoreUnavailable


@define
class PostgresAnnouncements:
    """What a database tells of its pointer. One thread waits; another may end that.

    Nothing rests on it: what is announced while nobody listens, or through a proxy that has no LISTEN, is not heard.
    """

    _server: ModelDatabase
    _connection: ImpatientConnection | None = field(default=None, init=False, repr=False)
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


def _listen(connection: ImpatientConnection, seconds: float) -> bool:
    """Whether anything was heard within so many seconds."""
    line = poll()
    line.register(connection.fileno(), POLLIN)
    heard = bool(line.poll(1000 * seconds))
    if connection.is_lost():
        raise psycopg.OperationalError("the server closed the connection")
    while connection.pgconn.notifies():
        pass
    return heard
