"""PostgreSQL connections with uniform session settings, timeouts, and error messages that never contain passwords.

How values are read and written must not depend on the settings of a server, database or role, or on environment
variables such as PGDATESTYLE. Therefore, every connection reads results in binary, exchanges text in UTF-8, and
qualifies table names with their schema. This works even through a pool that runs each transaction in a different
session. Direct connections also apply all other relevant session settings.
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

# Advice for URL parameters that other clients accept, but libpq doesn't.
_INSTEAD = {
    **dict.fromkeys(("schema", "currentschema", "search_path"), "set HOUSEPREDICT_DATABASE_SCHEMA instead"),
    **dict.fromkeys(
        ("pgbouncer", "prepared_statements", "preparethreshold", "statement_cache_size", "statement_cache_mode"),
        "set HOUSEPREDICT_DATABASE_DIRECT_URL to the URL of the server itself instead",
    ),
    **dict.fromkeys(
        ("connection_limit", "max_connections", "pool_max_conns", "pool_size", "pool_timeout"),
        "remove it: housepredict limits its own connections",
    ),
    **dict.fromkeys(("charset", "encoding"), "remove it: housepredict always uses UTF-8"),
    "ssl": "set sslmode=require instead, or sslmode=disable",
}
_ENCODE = "special characters in its user or password must be percent-encoded"
_HOST = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[^:]*))?")


def read_address(conninfo: str) -> tuple[Mapping[str, Any], str]:
    """Parse a URL or a libpq `key=value` string.

    Returns:
        The connection parameters, and the database's address for messages (host:port/name).

    Raises:
        UnusableDatabase: if the URL is invalid. The message lists every problem, but never shows the password.
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
    known_names = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    pairs = query.removesuffix("&").split("&") if query else []
    refused = [unquote(pair.partition("=")[0]) for pair in pairs if not _is_readable(pair)]
    # If a password contains an unencoded reserved character, libpq reads the rest of the password as a host, port or
    # parameter, and an error message would show it.
    if authority.count("@") > 1 or "@" in path or (refused and "@" in query and "@" not in authority):
        yield _ENCODE
        return
    yield from _problems_of_hosts(authority.rpartition("@")[2])
    for name in refused:
        if not name:
            yield "it has a parameter without a name: remove it, or the extra '&'"
        elif name not in known_names:
            close = closest_name(name, known_names)
            advice = f"did you mean {close!r}?" if close else "remove it, or use one that libpq knows"
            yield f"it has an unknown parameter {name!r}: {_INSTEAD.get(name.lower(), advice)}"
        else:
            yield (
                f"its parameter {name!r} must be NAME=VALUE, with special characters in the value percent-encoded, such"
                " as %3D for ="
            )


def _is_readable(pair: str) -> bool:
    """Return whether libpq accepts a URL parameter, such as `sslmode=require`."""
    try:
        conninfo_to_dict(f"postgresql:///?{pair}")
    except psycopg.Error:
        return False
    return "=" in pair


def _problems_of_hosts(hosts: str) -> Iterator[str]:
    for host in hosts.split(","):
        address = _HOST.fullmatch(host)
        if not address:
            yield "its host is not a valid name or address; an IPv6 address needs brackets, such as [::1]"
        elif address["port"] and not (re.fullmatch("[0-9]{1,5}", address["port"]) and 0 < int(address["port"]) < 65536):
            yield f"its port must be a whole number from 1 to 65535; {_ENCODE}"


RV = TypeVar("RV")

# Timeouts that detect a server that is no longer reachable, in seconds (tcp_user_timeout: milliseconds).
_DEFAULTS: dict[str, str | int | None] = {
    "application_name": "housepredict",
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
}
# Session settings, each with the server version that introduced it. default_transaction_read_only is not set here,
# because servers use it to report that they are read-only.
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
# SQLSTATE classes of errors caused by the rows: data exceptions, constraint violations, exceeded limits such as the row
# size, and errors raised by triggers.
_ROWS_TO_BLAME = ("22", "23", "54", "P0")
_READ_ONLY = psycopg.errors.ReadOnlySqlTransaction.sqlstate
_GRACE_S = 1.0
"""Two limits, in seconds. A connection is pinged before use if it was idle for at least this long. A connection to a
read-only server is replaced only if it was opened at least this long ago. Otherwise, a service would reconnect before
each query for as long as the server is read-only.
"""
# A pool keeps its connections to a demoted server, even if the host name now resolves to another server. This statement
# ends the pool's connections, and the connection that executes it last.
_END_POOL_BACKENDS = """
SELECT pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE usename = session_user AND datname = current_database()
        AND client_addr IS NOT DISTINCT FROM inet_client_addr() AND (state = 'idle' OR pid = pg_backend_pid())
    ORDER BY pid = pg_backend_pid()
) AS behind
"""


class _BinaryCursor(psycopg.Cursor[tuple[Any, ...]]):
    """A cursor that reads results in binary, and replaces `{schema}` in queries with the connection's schema."""

    def __init__(self, connection: TimeLimitedConnection, **options: Any) -> None:
        super().__init__(connection, **options)
        self.format = pq.Format.BINARY
        self._schema = connection.schema

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        if isinstance(query, str):
            query = query.replace("{schema}", self._schema if params is None else self._schema.replace("%", "%%"))
        return super().execute(query, params, **options)


class TimeLimitedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection with a response timeout, for servers that accept connections but never respond."""

    patience: float | None = None
    """Timeout for each response, in seconds. None means no timeout."""
    schema: str = "public"
    """The schema of the tables, quoted for SQL."""
    pooled: bool = False
    """Whether the connection goes through a pool, which may run each transaction in a different session."""
    place: str | None = None
    """The address of the database for messages (host:port/name)."""
    opened_at: float = 0.0
    used_at: float = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = _BinaryCursor
        self.opened_at = self.used_at = time.monotonic()
        with _open_lock:
            _open.add(self)

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Override psycopg's `wait`, so that `timeout` defaults to `patience`."""
        return super().wait(gen, interval, self.patience if timeout is None else timeout)

    def is_lost(self) -> bool:
        """Return whether this connection must be replaced. The check needs no round trip.

        A connection must be replaced if the server has closed it, or if the server has become read-only. In the second
        case, there may have been a failover, after which the host name resolves to another server.
        """
        try:
            self.pgconn.consume_input()  # reads the last message of a server that closes the connection
            self.pgconn.consume_input()  # detects that the connection was closed
        except psycopg.OperationalError:
            return True
        if self.pgconn.status != pq.ConnStatus.OK:
            return True
        # PostgreSQL 14 and newer report both. Older servers are known to be read-only only after they reject a write.
        reported = map(self.pgconn.parameter_status, (b"in_hot_standby", b"default_transaction_read_only"))
        # A pool may report the parameters of another session.
        if self.pooled or b"on" not in reported or time.monotonic() - self.opened_at < _GRACE_S:
            return False
        self._cut_idle()
        return True

    def is_lost_after_ping(self) -> bool:
        """Return whether this connection must be replaced. If it was idle, ping the server first.

        The ping is needed because a server that has become read-only doesn't say so until its next response.
        """
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
        """Close the connection, unless invalid rows caused the error. Return whether it was closed.

        After any other error, such as a server shutdown, a new connection might work.

        Args:
            error: the error raised by the last statement.
            may_wait: whether this method may wait for a round trip. If True, and if the server behind a pool has become
                read-only, this method also makes the server end the pool's connections.
        """
        if _are_rows_to_blame(error):
            return False
        if error.sqlstate == _READ_ONLY:
            if self.pooled and may_wait:
                with suppress(psycopg.Error):
                    self.execute(_END_POOL_BACKENDS)
            self._cut_idle()
        self.close()
        return True

    def cut(self) -> None:
        """Shut down the socket, so that the thread that uses the connection gets an error. Any thread may call this."""
        with suppress(OSError, psycopg.Error), socket(fileno=os.dup(self.fileno())) as connected:
            connected.shutdown(SHUT_RDWR)

    def _cut_idle(self) -> None:
        """Close this process's other idle connections to this server, which has become read-only.

        The cause may be a failover. Connections opened after this one are kept, because they may lead to the new
        primary server.
        """
        with _open_lock:
            others = [other for other in _open if other.place == self.place and other.opened_at <= self.opened_at]
        for other in others:
            if other is not self and not other.closed and other.pgconn.transaction_status == pq.TransactionStatus.IDLE:
                other.cut()


_open: WeakSet[TimeLimitedConnection] = WeakSet()
"""The open connections of this process."""
_open_lock = Lock()


@frozen
class Database:
    """The address of a database: `conninfo` for the driver, and `place` (host:port/name) for messages."""

    conninfo: str = field(repr=False)
    place: str
    pooled: bool = False
    """Whether this is the address of a pool. A pool may run each transaction in a different session, so housepredict
    doesn't use session settings and prepared statements with pools.
    """
    schema: str | None = None
    """The schema of the tables. None until `migrate` has determined it."""

    @classmethod
    def at(cls, conninfo: str, *, pooled: bool = False, schema: str | None = None) -> Self:
        """Create a database address from a URL or a libpq `key=value` string.

        Raises:
            UnusableDatabase: if the string is invalid. The message omits libpq's error, which may quote the password.
        """
        parameters, place = read_address(conninfo)
        options = {key: value for key, value in _DEFAULTS.items() if key not in parameters}
        options["client_encoding"] = "utf8"
        if pooled and "options" not in parameters:
            options["options"] = ""  # overrides PGOPTIONS, which a pool rejects
        has_several_hosts = "," in f"{parameters.get('host')}{parameters.get('hostaddr')}"
        if has_several_hosts and not pooled and "PGTARGETSESSIONATTRS" not in os.environ:
            options["target_session_attrs"] = parameters.get("target_session_attrs", "read-write")
        return cls(make_conninfo(conninfo.strip(), **options), place, pooled, schema)

    @property
    def quoted_schema(self) -> str:
        """The schema, quoted for SQL."""
        return sql.Identifier(self.schema or "public").as_string(None)

    def connect(self, timeout: float | None) -> TimeLimitedConnection:
        """Open a connection and configure its session; see `set_up` for `timeout` and errors."""
        connection = TimeLimitedConnection.connect(self.conninfo, autocommit=True)
        try:
            self.set_up(connection, timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def set_up(self, connection: TimeLimitedConnection, timeout: float | None) -> None:
        """Apply the uniform session settings to a new connection.

        Args:
            connection: the new connection.
            timeout: timeout for each statement, in seconds. None means no timeout.

        Raises:
            UnusableDatabase: if the encoding of the database isn't UTF-8.
        """
        encoding = connection.info.parameter_status("server_encoding")
        if encoding not in ("UTF8", None):
            name = self.place.rpartition("/")[2]
            raise UnusableDatabase(
                f"the database at {self.place} has the encoding {encoding}, but housepredict needs UTF8. Convert it:"
                f" `pg_dump -Fc -f houses.dump {name}`, `createdb -E UTF8 -T template0 --locale=C {name}_utf8`,"
                f" `pg_restore -d {name}_utf8 houses.dump`, then put {name}_utf8 in the database URL"
            )
        # One second longer than the server's own timeout, so that a responsive server can report the timeout.
        connection.patience = None if timeout is None else timeout + 1
        connection.schema, connection.pooled, connection.place = self.quoted_schema, self.pooled, self.place
        if self.pooled:
            connection.prepare_threshold = None
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            return
        settings = [
            f"SET statement_timeout = {round(1000 * (timeout or 0))}"
        ]  # first, because the default timeout may be too short for the other settings
        version = connection.info.server_version
        settings += [f"SET {name} = '{value}'" for since, name, value in _SESSION if version >= since]
        if self.schema:
            settings.append(f"SET search_path = {self.quoted_schema}")
        psycopg.Cursor(connection).execute("; ".join(settings))

    @contextmanager
    def translated(self, contents: str = "predictions") -> Iterator[None]:
        """Translate driver errors to RepositoryUnavailable, or to RefusedPredictions if invalid rows caused them.

        Args:
            contents: description of the stored data for messages.
        """
        try:
            yield
        except psycopg.Error as error:
            raise self.translation(error, contents) from error

    def translation(self, error: psycopg.Error, contents: str = "predictions") -> RepositoryUnavailable:
        """Return the domain error for a driver error, with a one-line message. `contents` describes the stored data."""
        parts = [error.diag.message_primary or str(error), error.diag.message_hint or ""]
        if error.sqlstate == _READ_ONLY:
            parts.append("(read-only: the server is a standby, or default_transaction_read_only is on)")
        kind = RefusedPredictions if _are_rows_to_blame(error) else RepositoryUnavailable
        return kind(f"the {contents} in PostgreSQL at {self.place}: {' '.join(' '.join(parts).split())}")


def _are_rows_to_blame(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith(_ROWS_TO_BLAME)
