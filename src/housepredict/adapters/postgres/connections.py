"""Connections to PostgreSQL: every session alike, bounded waits, and errors in the domain's terms, without passwords.

What a server, a database, a role or a variable such as PGDATESTYLE sets must not change how values are read or written.
Results are read in binary and text travels as UTF-8, on every connection, also through a pool that gives each
transaction another session. Tables are named with their schema. On a direct connection the other settings that could
matter are set, too.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from socket import SHUT_RDWR, socket
from threading import Lock
from typing import Any, Self, TypeVar
from urllib.parse import unquote
from weakref import WeakSet

import psycopg
from attrs import field, frozen
from psycopg import pq, sql
from psycopg.abc import Params, PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from housepredict.domain.errors import RefusedPredictions, RepositoryUnavailable, UnusableDatabase
from housepredict.domain.validation import closest_name

# what the parameters in other clients' URLs ask for
_INSTEAD = {
    **dict.fromkeys(("schema", "currentschema", "search_path"), "set HOUSEPREDICT_DATABASE_SCHEMA instead"),
    **dict.fromkeys(
        ("pgbouncer", "prepared_statements", "preparethreshold", "statement_cache_size", "statement_cache_mode"),
        "name the server itself in HOUSEPREDICT_DATABASE_DIRECT_URL instead",
    ),
    **dict.fromkeys(
        ("connection_limit", "max_connections", "pool_max_conns", "pool_size", "pool_timeout"),
        "leave it out: housepredict bounds its connections by itself",
    ),
    **dict.fromkeys(("charset", "encoding"), "leave it out: housepredict always uses UTF-8"),
    "ssl": "set sslmode=require instead, or sslmode=disable",
}
_ENCODE = "special characters in its user or password must be percent-encoded"
_HOST = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[^:]*))?")


def read_address(conninfo: str) -> tuple[Mapping[str, Any], str]:
    """Read the parameters of a URL or a `key=value` text of libpq, and its place, host:port/name.

    Raises:
        UnusableDatabase: with everything that is wrong.
    """
    conninfo = conninfo.strip()
    problems = list(_problems(conninfo)) if "://" in conninfo else []
    parameters: Mapping[str, Any] = {}
    if not problems:
        with suppress(psycopg.Error):
            parameters = conninfo_to_dict(conninfo)
        if conninfo and not parameters:
            problems = [_ENCODE]
    if problems:
        raise UnusableDatabase(f"the database URL cannot be read: {'; '.join(problems)}")
    host, port = str(parameters.get("host", "localhost")), str(parameters.get("port", 5432))
    host = f"[{host}]" if ":" in host and "," not in host else host
    return parameters, f"{host}:{port}/{parameters.get('dbname', parameters.get('user', 'postgres'))}"


def _problems(url: str) -> Iterator[str]:
    before, _, query = url.partition("://")[2].partition("?")
    authority, _, path = before.partition("/")
    known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    pairs = query.removesuffix("&").split("&") if query else []
    refused = [unquote(pair.partition("=")[0]) for pair in pairs if not _is_readable(pair)]
    # a bare character in a password would put the rest of it where a host, a port or a parameter is looked for
    if authority.count("@") > 1 or "@" in path or (refused and "@" in query and "@" not in authority):
        yield _ENCODE
        return
    yield from _problems_of_hosts(authority.rpartition("@")[2])
    for name in refused:
        if not name:
            yield "it has a parameter without a name: remove it, or the extra '&'"
        elif name not in known:
            close = closest_name(name, known)
            advice = f"did you mean {close!r}?" if close else "leave it out, or use one that libpq knows"
            yield f"it has an unknown parameter {name!r}: {_INSTEAD.get(name.lower(), advice)}"
        else:
            yield (
                f"its parameter {name!r} must be NAME=VALUE, with special characters in the value percent-encoded, such"
                " as %3D for ="
            )


def _is_readable(pair: str) -> bool:
    """Whether libpq accepts a parameter of a URL, such as `sslmode=require`."""
    try:
        conninfo_to_dict(f"postgresql:///?{pair}")
    except psycopg.Error:
        return False
    return "=" in pair


def _problems_of_hosts(hosts: str) -> Iterator[str]:
    for host in hosts.split(","):
        address = _HOST.fullmatch(host)
        if not address:
            yield "its host is neither a name nor an address; an IPv6 address stands in brackets, such as [::1]"
        elif address["port"] and not (re.fullmatch("[0-9]{1,5}", address["port"]) and 0 < int(address["port"]) < 65536):
            yield f"its port must be a whole number from 1 to 65535; {_ENCODE}"


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
# The settings of each session, and the version since which the server knows them. default_transaction_read_only is left
# as it is: by it a server says that it must not be written to.
_SESSION = (
    (0, "DateStyle", "ISO, MDY"),
    (0, "IntervalStyle", "postgres"),
    (0, "TimeZone", "UTC"),
    (0, "bytea_output", "hex"),
    (0, "extra_float_digits", "1"),
    (0, "standard_conforming_strings", "on"),
    (0, "client_min_messages", "warning"),
    (0, "default_transaction_isolation", "read committed"),
    (0, "default_transaction_deferrable", "off"),
    (0, "lock_timeout", "0"),
    (0, "idle_in_transaction_session_timeout", "0"),
    (140000, "idle_session_timeout", "0"),
    (170000, "transaction_timeout", "0"),
)
# Classes of SQLSTATE: data exceptions, violated constraints, limits such as a row's size, and what a trigger raises.
_ROWS_TO_BLAME = ("22", "23", "54", "P0")
_READ_ONLY = psycopg.errors.ReadOnlySqlTransaction.sqlstate
_GRACE_S = 1.0
"""How long a connection may lie idle unasked, and how long one to a read-only server is used."""
# A pool keeps its own connections to a demoted server, whatever its name leads to by now. Ends those of the same pool:
# ours last, which carries the statement.
_END_BEHIND_POOL = """
SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE usename = session_user AND datname = current_database()
        AND client_addr IS NOT DISTINCT FROM inet_client_addr() AND (state = 'idle' OR pid = pg_backend_pid())
    ORDER BY pid = pg_backend_pid()
) AS behind
"""


class _BinaryCursor(psycopg.Cursor[tuple[Any, ...]]):
    """Reads results in binary, and puts the connection's schema where a query says `{schema}`."""

    def __init__(self, connection: TimeLimitedConnection, **options: Any) -> None:
        super().__init__(connection, **options)
        self.format = pq.Format.BINARY
        self._schema = connection.schema

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        if isinstance(query, str):
            query = query.replace("{schema}", self._schema if params is None else self._schema.replace("%", "%%"))
        return super().execute(query, params, **options)


class TimeLimitedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a server which is there and says nothing: frozen, or behind a dead proxy."""

    patience: float | None = None
    """How long to wait for an answer, in seconds; None is for ever."""
    schema: str = "public"
    """Where the tables are, as SQL has it."""
    pooled: bool = False
    """Whether a pool may give each transaction another session."""
    place: str | None = None
    """Where it leads to, as people have it."""
    opened_at: float = 0.0
    used_at: float = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = _BinaryCursor
        self.opened_at = self.used_at = time.monotonic()
        with _open_lock:
            _open.add(self)

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for what the server answers, at most `patience` if no `timeout` is given."""
        return super().wait(gen, interval, self.patience if timeout is None else timeout)

    def is_lost(self) -> bool:
        """Whether another connection should replace this one, without a round trip: the server has ended it, or is
        read-only, so that its name may lead to another server by now.
        """
        try:
            self.pgconn.consume_input()  # a goodbye
            self.pgconn.consume_input()  # and that nothing comes after it
        except psycopg.OperationalError:
            return True
        if self.pgconn.status != pq.ConnStatus.OK:
            return True
        # reported since PostgreSQL 14; an older server is found out by a write that it refuses
        reported = map(self.pgconn.parameter_status, (b"in_hot_standby", b"default_transaction_read_only"))
        # a pool may report another session
        if self.pooled or b"on" not in reported or time.monotonic() - self.opened_at < _GRACE_S:
            return False
        self._cut_idle()
        return True

    def is_lost_when_asked(self) -> bool:
        """As `is_lost`, with a round trip if it lay idle: a server tells with its next answer that it is read-only."""
        idle, self.used_at = time.monotonic() - self.used_at, time.monotonic()
        if self.is_lost():
            return True
        if idle < _GRACE_S or self.pooled:
            return False
        try:
            self.execute("SELECT 1")
        except psycopg.Error:
            return True
        return self.is_lost()

    def close_after(self, error: psycopg.Error, *, may_wait: bool = True) -> bool:
        """Close it, unless the rows are to blame for an error. Returns whether it was closed.

        Other errors may not occur on another connection: the server is shutting down, or was demoted. A pool's
        connections to a demoted server are ended, too, if that `may_wait` for the server.
        """
        if _are_rows_to_blame(error):
            return False
        if error.sqlstate == _READ_ONLY:
            if self.pooled and may_wait:
                with suppress(psycopg.Error):
                    self.execute(_END_BEHIND_POOL)
            self._cut_idle()
        self.close()
        return True

    def cut(self) -> None:
        """End it from any thread: its owner finds it lost, also one that waits for the server to speak."""
        with suppress(OSError, psycopg.Error), socket(fileno=os.dup(self.fileno())) as line:
            line.shutdown(SHUT_RDWR)

    def _cut_idle(self) -> None:
        """Cut the idle connections to the same place that are as old: they, too, lead to a read-only server."""
        with _open_lock:
            others = [each for each in _open if each.place == self.place and each.opened_at <= self.opened_at]
        for each in others:
            if each is not self and not each.closed and each.pgconn.transaction_status == pq.TransactionStatus.IDLE:
                each.cut()


_open: WeakSet[TimeLimitedConnection] = WeakSet()
"""The connections of this process."""
_open_lock = Lock()


@frozen
class Database:
    """Which database to connect to: `conninfo` for the driver, `place` (host:port/name) for people."""

    conninfo: str = field(repr=False)
    place: str
    pooled: bool = False
    """Whether a pool of connections is in front of it, and gives each transaction another one: what is set or prepared
    on a connection is then somebody else's.
    """
    schema: str | None = None
    """Where its tables are; None until `migrate` has found out."""

    @classmethod
    def at(cls, conninfo: str, *, pooled: bool = False, schema: str | None = None) -> Self:
        """The database that a URL or a `key=value` text of libpq names.

        Raises UnusableDatabase if it cannot be read; what libpq says of it is left out, for it quotes passwords.
        """
        given, place = read_address(conninfo)
        options = {key: value for key, value in _DEFAULTS.items() if key not in given} | {"client_encoding": "utf8"}
        if pooled and "options" not in given:
            options["options"] = ""  # else PGOPTIONS, which a pool refuses
        several = "," in f"{given.get('host')}{given.get('hostaddr')}"
        if several and not pooled and "PGTARGETSESSIONATTRS" not in os.environ:
            options["target_session_attrs"] = given.get("target_session_attrs", "read-write")
        return cls(make_conninfo(conninfo.strip(), **options), place, pooled, schema)

    @property
    def quoted_schema(self) -> str:
        """The schema as SQL has it."""
        return sql.Identifier(self.schema or "public").as_string(None)

    def connect(self, timeout: float | None) -> TimeLimitedConnection:
        """A new connection; see `set_up`."""
        connection = TimeLimitedConnection.connect(self.conninfo, autocommit=True)
        try:
            self.set_up(connection, timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def set_up(self, connection: TimeLimitedConnection, timeout: float | None) -> None:
        """Make a session like all others, and bound the wait for each answer, in seconds; None does not.

        Raises UnusableDatabase if the database has another encoding than UTF-8.
        """
        encoding = connection.info.parameter_status("server_encoding")
        if encoding not in ("UTF8", None):
            name = self.place.rpartition("/")[2]
            raise UnusableDatabase(
                f"the database at {self.place} has the encoding {encoding}, and housepredict needs UTF8. Convert it:"
                f" `pg_dump -Fc -f houses.dump {name}`, `createdb -E UTF8 -T template0 --locale=C {name}_utf8`,"
                f" `pg_restore -d {name}_utf8 houses.dump`, and name {name}_utf8 in its place"
            )
        # a server that is alive keeps to its own timeout first, and says so
        connection.patience = None if timeout is None else timeout + 1
        connection.schema, connection.pooled, connection.place = self.quoted_schema, self.pooled, self.place
        if self.pooled:
            connection.prepare_threshold = None
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            return
        settings = [f"SET statement_timeout = {round(1000 * (timeout or 0))}"]  # first: another may be too short
        version = connection.info.server_version
        settings += [f"SET {name} = '{value}'" for since, name, value in _SESSION if version >= since]
        if self.schema:
            settings.append(f"SET search_path = {self.quoted_schema}")
        psycopg.Cursor(connection).execute("; ".join(settings))

    @contextmanager
    def translated(self, contents: str = "predictions") -> Iterator[None]:
        """Raise RepositoryUnavailable for whatever the driver raises, RefusedPredictions if the rows are to blame."""
        try:
            yield
        except psycopg.Error as error:
            raise self.translation(error, contents) from error

    def translation(self, error: psycopg.Error, contents: str = "predictions") -> RepositoryUnavailable:
        """The same for an error that was not raised, in one line."""
        parts = [error.diag.message_primary or str(error), error.diag.message_hint or ""]
        if error.sqlstate == _READ_ONLY:
            parts.append("(read-only: the server is a standby, or default_transaction_read_only is on)")
        kind = RefusedPredictions if _are_rows_to_blame(error) else RepositoryUnavailable
        return kind(f"the {contents} in PostgreSQL at {self.place}: {' '.join(' '.join(parts).split())}")


def _are_rows_to_blame(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith(_ROWS_TO_BLAME)
