"""Erasures and prunings concurrent with appends, drains and reads.

First, a scheduler forces interleavings of single steps in one process. Then two services share a database; each is cut
off from it for a while, or killed.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from random import Random

from attrs import define, evolve, field, frozen

import housepredict
from campaign import postgres
from campaign.clients import Clients, Mix
from campaign.history import Action, History, Operation
from campaign.postgres import Cluster
from campaign.services import Service, pause, spool_of
from campaign.trials import Attack, Trial
from housepredict.adapters.spool import SpooledPredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.identifiers import first_id_at
from tests.erasure_worlds import interleave, opened_spools
from tests.integration.relay import Relay
from tests.postgres_servers import free_port

_DATABASE = "campaign"
_MIX = Mix(keyed=0.05, find=0.3, list=0.03, erase=0.1, repeat=0.02, foreign=0.5)
_RETENTION = timedelta(seconds=3)
_INTERLEAVINGS_PER_ROUND = 250
_SEEDS_PER_TRIAL = 10**6


def run(trial: Trial) -> None:
    """Force the interleavings, then run concurrent services for some rounds."""
    _interleave(trial)
    _race(trial, rounds=max(1, trial.units // _INTERLEAVINGS_PER_ROUND))


def _interleave(trial: Trial) -> None:
    # Each trial has different seeds.
    first_seed = Random(trial.seed.rpartition("/")[0]).getrandbits(32) + trial.number * _SEEDS_PER_TRIAL
    log = logging.getLogger("housepredict")
    level = log.level
    log.setLevel(logging.CRITICAL)  # outages are part of the attack
    try:
        with opened_spools(trial.folder) as spools:
            interleave(spools, SpooledPredictions, trial.units, first_seed)
    finally:
        log.setLevel(level)
    trial.counts["forced interleavings"] += trial.units


@frozen
class _Replica:
    service: Service
    relay: Relay
    history: History

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """Record the block as a time without the database, and wait afterwards until the spool is drained."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.relay.thaw()
        self.service.wait_until_ready(restart=True)
        self.service.wait_until_caught_up()
        self.history.add(Operation(Action.CUT_OFF, self.service.name, began, time.monotonic(), None))

    def pending(self) -> int:
        """Return the number of pending estimates that it reports; 0 without an answer."""
        _, document = self.service.readiness()
        spool = spool_of(document["checks"]["predictions"]) if document else None
        return spool.get("pending", spool.get("waiting", 0)) if spool else 0

    def kill(self) -> None:
        os.kill(self.service.pid, signal.SIGKILL)
        self.service.kill()
        self.service.start()


def _race(trial: Trial, rounds: int) -> None:
    with postgres.running() as cluster, trial.history() as history, ExitStack() as stack:
        cluster.create_database(_DATABASE)
        replicas = []
        for name in ("one", "other"):
            relay = stack.enter_context(Relay.before(cluster.url(_DATABASE)).running())
            url = evolve(cluster, port=relay.port).url(_DATABASE)
            service = Service(trial.folder / name, free_port(), {"HOUSEPREDICT_DATABASE_URL": url})
            replicas.append(_Replica(service, relay, history))
            stack.callback(service.destroy)
            service.start()
        for replica in replicas:
            replica.service.wait_until_ready()
        clients = Clients([replica.service for replica in replicas], history, trial.random, _MIX, number=6)
        pruner = _Pruner(trial, history, cluster.url(_DATABASE))
        with clients.asking():
            for number in range(rounds):
                clients.wait_for(trial.random.randint(50, 150))
                # Predictions of the second half are not pruned, and must be stored at the end.
                _disturb(trial, replicas, pruner if number < rounds / 2 else None)
            clients.wait_for(50)
        for replica in replicas:
            replica.service.wait_until_caught_up()
        for replica in replicas:
            assert replica.service.stop() == 0
        _end_connections(cluster)
        pruner.prune_again()
        trial.check(history, cluster.stored(_DATABASE))


def _end_connections(cluster: Cluster) -> None:
    """End the connections of killed services: the relay may keep them open, and PostgreSQL their locks."""
    of_services = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
    cluster.execute(of_services, _DATABASE)


def _disturb(trial: Trial, replicas: list[_Replica], pruner: _Pruner | None) -> None:
    """Cut a replica off from the database, kill it, or both; prune before or after that ends."""
    replica = trial.random.choice(replicas)
    freezes, kills, prunes = trial.random.choice([(1, 0, 1), (1, 1, 0), (1, 1, 1), (1, 0, 0), (0, 1, 1)])
    with replica.without_database():
        if freezes:
            replica.relay.freeze()
            pause(1.5 + trial.random.random() * 2)  # it notices after a second, and estimates are pending in its spool
            trial.counts["estimates spooled"] += replica.pending()
        if kills:
            replica.kill()
        if pruner and prunes and trial.random.random() < 0.5:
            pruner.prune()
            prunes = 0
    if pruner and prunes:
        pruner.prune()
    trial.counts["database outages"] += freezes
    trial.counts["kills"] += kills


@define
class _Pruner:
    """Prunes old predictions, as each service does once a day, and records which ids must be deleted."""

    _trial: Trial
    _history: History
    _url: str
    _latest: datetime | None = field(default=None, init=False)
    """All predictions before this time may have been pruned."""

    def prune(self, retention: timedelta = _RETENTION) -> None:
        began, first = time.monotonic(), datetime.now(UTC)
        status = None
        with housepredict.open(data_dir=self._trial.folder / "pruner", database_url=self._url) as prices:
            try:
                pruned = prices.prune(retention)
            except RepositoryUnavailable:
                self._trial.counts["failed prunings"] += 1
            else:
                status = 204
                self._trial.counts["predictions pruned"] += pruned.predictions
        ended, last = time.monotonic(), datetime.now(UTC)
        for until, its_status in ((last, None), (first, status)):
            id_ = str(first_id_at(until - retention))
            self._history.add(Operation(Action.PRUNE, "pruner", began, ended, its_status, id=id_))
        self._latest = last - retention

    def prune_again(self) -> None:
        """Delete rows that earlier prunings skipped because other transactions held them."""
        if self._latest:
            self.prune(datetime.now(UTC) - self._latest)


ATTACK = Attack(
    name="erasures",
    title="Erasures and prunings concurrent with appends, drains, and reads",
    unit="interleavings",
    full=10_000,
    quick=250,
    each=2_500,
    must_hold="neither read nor stored again; nothing else is lost",
    run=run,
)
