"""Connections to PostgreSQL that fail rather than hang, and their errors in the domain's terms, without passwords."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import psycopg
from attrs import field, frozen
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from housepredict.domain.errors import MisconfiguredRepository, RefusedPredictions, RepositoryUnavailable

RV = TypeVar("RV")

# How a peer that vanished without a word is noticed, in libpq's units: seconds, and milliseconds for the last.
_DEFAULTS: dict[str, str | int | None] = {
    "application_name": "housepredict",
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}


# Classes of SQLSTATE: data exceptions, violated constraints, limits such as a row's size, and what a trigger raises.
_THE_ROWS = ("22", "23", "54", "P0")


class ImpatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a server which is there and says nothing: frozen, or behind a dead proxy."""

    patience: float | None = None
    """How long to wait for an answer, in seconds; None is for ever."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for what the server answers, at most `patience` if no `timeout` is given."""
        return super().wait(gen, interval, self.patience if timeout is None else timeout)

    def hung_up(self) -> bool:
        """Whether the server has ended the connection since it was last used: seen without a round trip."""
        try:
            self.pgconn.consume_input()  # a goodbye
            self.pgconn.consume_input()  # and that nothing comes after it
        except psycopg.OperationalError:
            return True
        return self.pgconn.status != pq.ConnStatus.OK


@frozen
class Database:
    """Which database to connect to: `conninfo` for the driver, `place` (host:port/name) for people."""

    conninfo: str = field(repr=False)
    place: str
    pooled: bool = False
    """Whether a pool of connections is in front of it, and gives each transaction another one: what is set or prepared
    on a connection is then somebody else's.
    """

    @classmethod
    def at(cls, conninfo: str, *, pooled: bool = False) -> Self:
        """The database that a URL or a `key=value` text of libpq names.

        Raises MisconfiguredRepository if it cannot be read; what libpq says of it is left out, for it quotes passwords.
        """
        try:
            given = conninfo_to_dict(conninfo)
        except psycopg.Error:
            given = {}
        host, port = str(given.get("host", "localhost")), str(given.get("port", 5432))
        name = str(given.get("dbname", given.get("user", "postgres")))
        # A password with a bare / or @ makes libpq take its end for the host or the database, where it would be shown.
        misread = "://" in conninfo and ("@" in host + name or not port.replace(",", "").isdigit())
        if misread or (conninfo and not given):
            raise MisconfiguredRepository(
                "the database URL cannot be read: special characters in its user or password must be percent-encoded"
            )
        defaults = {key: value for key, value in _DEFAULTS.items() if key not in given}
        return cls(make_conninfo(conninfo, **defaults), f"{host}:{port}/{name}", pooled)

    def prepare(self, connection: ImpatientConnection, timeout: float) -> None:
        """Bound the wait for each answer, in seconds."""
        connection.patience = timeout + 1  # a server that is alive keeps to its own timeout first, and says so
        if self.pooled:
            connection.prepare_threshold = None
            return
        connection.execute(f"SET statement_timeout = {round(timeout * 1000)}")

    @contextmanager
    def translated(self, contents: str = "predictions") -> Iterator[None]:
        """Raise RepositoryUnavailable for whatever the driver raises, RefusedPredictions if the rows are to blame."""
        try:
            yield
        except psycopg.Error as error:
            refused = (error.sqlstate or "").startswith(_THE_ROWS)
            kind = RefusedPredictions if refused else RepositoryUnavailable
            raise kind(f"the {contents} in PostgreSQL at {self.place}: {reason_of(error)}") from error


def reason_of(error: psycopg.Error) -> str:
    """What went wrong, in one line."""
    said = [error.diag.message_primary or str(error), error.diag.message_hint or ""]
    return " ".join(" ".join(said).split())
