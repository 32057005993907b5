"""Failover: the server is lost or shut down, and its standby takes over, under the same name or by the URL."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from campaign import postgres
from campaign.attacks.faults.servers import connect_to
from campaign.attacks.faults.system import DATABASE, Fault, System, serving
from campaign.postgres import Cluster
from campaign.readiness import Says
from campaign.services import LONG, pause
from campaign.trials import Trial
from tests.integration.relay import Relay

AWAY = r"connection|terminat|shutting down|read-only|not yet accepting|starting up"
_SAYS, _NEWCOMER_SAYS = Says(behind=AWAY), Says(503, AWAY, AWAY)


def run(trial: Trial) -> None:
    """Run one failover.

    A server that is killed has a synchronous standby, which has all commits. One that is shut down sends its commits to
    the standby before it ends.
    """
    end, by_url = trial.random.choice(["kill", "immediate", "fast"]), trial.random.random() < 0.5
    with postgres.running() as cluster, ExitStack() as ends:
        cluster.create_database(DATABASE)
        standby = cluster.standby(cluster.folder / "standby")
        ends.callback(standby.destroy)
        if end != "fast":
            _make_synchronous(cluster)
        relay = ends.enter_context(Relay(lambda: socket.create_connection(("127.0.0.1", cluster.port))).running())

        @contextmanager
        def happening(system: System) -> Iterator[None]:
            if end == "kill":
                cluster.kill()
            else:
                cluster.stop(end)
            yield
            standby.promote()
            connect_to(relay, standby)
            system.cluster = standby

        url = postgres.url(DATABASE, cluster.port, standby.port) if by_url else postgres.url(DATABASE, relay.port)
        with serving(trial, cluster, url) as system:
            system.strike(Fault("failover", happening, _SAYS, _NEWCOMER_SAYS), trial.random.uniform(0.5, 4))
        trial.counts[f"failovers by {'the URL' if by_url else 'the name'}, after {end}"] += 1
        system.check(standby.stored(DATABASE))


def _make_synchronous(cluster: Cluster) -> None:
    cluster.configure(synchronous_standby_names="'*'")
    cluster.reload()
    until = time.monotonic() + LONG
    while cluster.execute("SELECT sync_state, state FROM pg_stat_replication") != [("sync", "streaming")]:
        assert time.monotonic() < until, "the standby doesn't replicate"
        pause(0.05)
