"""Faults of a running PostgreSQL: it rejects connections or writes, or keeps services waiting."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg

from campaign import postgres
from campaign.attacks.faults.system import DATABASE, DISCONNECT, Fault, System, serving
from campaign.postgres import PASSWORD, ROLE, Cluster
from campaign.readiness import Says
from campaign.services import pause
from campaign.trials import Trial
from tests.integration.relay import Relay

_ROUNDS = 10
_CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"


@contextmanager
def _read_only(system: System) -> Iterator[None]:
    """Make the server read-only, for existing sessions, too."""
    system.cluster.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    system.cluster.reload()
    yield
    system.cluster.execute("ALTER SYSTEM RESET default_transaction_read_only")
    system.cluster.reload()


@contextmanager
def _wrong_password(system: System) -> Iterator[None]:
    system.cluster.execute(f"ALTER ROLE {ROLE} PASSWORD 'another'")
    system.disconnect()
    yield
    system.cluster.execute(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")


@contextmanager
def _no_connections(system: System) -> Iterator[None]:
    """Use all connections except the administrator's."""
    cluster = system.cluster
    cluster.execute(f"CREATE ROLE crowd LOGIN PASSWORD '{PASSWORD}'")
    conninfo = f"host=127.0.0.1 port={cluster.port} user=crowd password={PASSWORD} dbname={DATABASE}"
    with ExitStack() as crowd, cluster.connect() as administrator:  # it couldn't connect later
        rounds_alone = 0
        # A rejected service uses a connection for a moment, which its next attempt could get.
        while rounds_alone < _ROUNDS:
            administrator.execute(DISCONNECT, [ROLE])
            try:
                while True:
                    crowd.enter_context(psycopg.connect(conninfo, autocommit=True))
            except psycopg.OperationalError:
                is_alone = administrator.execute(_CONNECTED, [ROLE]).fetchone() == (0,)
                rounds_alone = rounds_alone + 1 if is_alone else 0
                pause(0.05)
        yield


@contextmanager
def _locked(system: System) -> Iterator[None]:
    with system.cluster.connect(DATABASE) as connection, connection.transaction():
        connection.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def _short_timeout(system: System) -> Iterator[None]:
    """Set a timeout of a millisecond as the role's default."""
    system.cluster.execute(f"ALTER ROLE {ROLE} SET statement_timeout = '1ms'")
    system.disconnect()
    yield
    system.cluster.execute(f"ALTER ROLE {ROLE} RESET statement_timeout")


@contextmanager
def _connected_to_standby(system: System, relay: Relay, standby: Cluster) -> Iterator[None]:
    connect_to(relay, standby)
    system.disconnect()
    yield
    connect_to(relay, system.cluster)


def connect_to(relay: Relay, cluster: Cluster) -> None:
    """Connect new connections through the relay to a server."""
    relay.connect = lambda: socket.create_connection(("127.0.0.1", cluster.port))


def in_place(fault: Fault) -> Callable[[Trial], None]:
    """Return a trial of a fault of a single server."""

    def run(trial: Trial) -> None:
        with postgres.running() as cluster:
            cluster.create_database(DATABASE)
            with serving(trial, cluster, cluster.url(DATABASE)) as system:
                system.strike(fault, trial.random.uniform(0.5, 4))
            system.check(cluster.stored(DATABASE))

    return run


def standby(trial: Trial) -> None:
    """Connect the services to a standby, which is read-only, and back."""
    with postgres.running() as cluster, ExitStack() as ends:
        cluster.create_database(DATABASE)
        other = cluster.standby(cluster.folder / "standby")
        ends.callback(other.destroy)
        relay = Relay(lambda: socket.create_connection(("127.0.0.1", cluster.port)))
        fault = Fault(
            "read-only server, a standby", lambda system: _connected_to_standby(system, relay, other), _READ_ONLY
        )
        with relay.running(), serving(trial, cluster, postgres.url(DATABASE, relay.port)) as system:
            system.strike(fault, trial.random.uniform(0.5, 4))
        system.check(cluster.stored(DATABASE))


_READ_ONLY = Says(behind="read-only")
_REFUSED = r"password authentication failed"
# The last is the message of a pool without free connections.
_FULL = r"too many clients already|remaining connection slots are reserved|couldn't get a connection"

READ_ONLY = Fault("read-only server, by its settings", _read_only, _READ_ONLY, _READ_ONLY)
PASSWORD_CHANGED = Fault("wrong password", _wrong_password, Says(behind=_REFUSED), Says(503, _REFUSED, _REFUSED))
NO_CONNECTIONS = Fault("max_connections exhausted", _no_connections, Says(behind=_FULL), Says(503, _FULL, _FULL))
LOCKED = Fault("table locked", _locked, Says(behind=r"statement timeout|does not respond"))
# The timeout applies to the statement that overrides it, too: on a busy machine, a service may fail to start.
SHORT_TIMEOUT = Fault("statement_timeout", _short_timeout, newcomer=None)
