"""Cuts of the connection to PostgreSQL around commits, when the service can't know whether a batch was stored.

A proxy between service and server cuts before the commit (some or all of the statement never arrives), during it (the
server gets the statement, but the connection is closed), or after it (some or all of the answer never arrives). The
first cut hits a direct append. The service then drains its spool, so the next cuts hit drains.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import cycle, islice

from attrs import evolve, frozen

from campaign import postgres
from campaign.clients import Clients, Mix
from campaign.history import Action, History
from campaign.postgres import Cluster
from campaign.services import LONG, Service
from campaign.trials import Attack, Broken, Trial
from tests.integration.cutting_relay import Cut, CuttingRelay
from tests.postgres_servers import free_port

_DATABASE = "campaign"
STORES_PREDICTIONS = b".predictions (id, created_at, model_version, features, price, valued_on"
_PLACES = (
    ("before", (Cut.BEFORE_COMMIT, Cut.MID_STATEMENT)),
    ("during", (Cut.DURING_COMMIT,)),
    ("after", (Cut.AFTER_COMMIT, Cut.MID_ANSWER)),
)
_OUTAGE_SHARE = 0.03
"""Share of rounds that begin with an outage, so that the spool has more than a few batches."""


@frozen
class _Round:
    """Consecutive cuts, as fast as the service reconnects."""

    cuts: list[tuple[str, Cut]]
    """Each with the name of its place."""
    is_after_outage: bool


def run(trial: Trial) -> None:
    """Cut repeatedly, each time after the service has drained its spool."""
    with postgres.running() as cluster, trial.history() as history:
        cluster.create_database(_DATABASE)
        with CuttingRelay.before(cluster.url(_DATABASE)).running() as relay:
            service = Service(
                trial.folder / "service", free_port(), {"HOUSEPREDICT_DATABASE_URL": through(relay, cluster, _DATABASE)}
            )
            clients = Clients([service], history, trial.random, Mix(keyed=0.05, find=0.05, list=0.03), number=6)
            service.start()
            try:
                service.wait_until_ready()
                with clients.asking():
                    for round_ in _rounds(trial):
                        clients.wait_for(trial.random.randint(5, 30))
                        _cut(trial, relay, clients, round_)
                        trial.took("from the last cut until the spool was drained", service.wait_until_caught_up())
                assert service.stop() == 0
            finally:
                service.destroy()
        trial.check(history, cluster.stored(_DATABASE))
        _check_answers(history)


def through(relay: CuttingRelay, cluster: Cluster, database: str) -> str:
    """Return the URL of a database behind the relay, without encryption, so that the relay can read the traffic."""
    return evolve(cluster, port=relay.port).url(database, sslmode="disable", gssencmode="disable")


def _rounds(trial: Trial) -> Iterator[_Round]:
    places = list(islice(cycle(_PLACES), trial.units))
    trial.random.shuffle(places)
    cuts = [(place, trial.random.choice(kinds)) for place, kinds in places]
    while cuts:
        number = trial.random.randint(1, 3)
        yield _Round(cuts[:number], trial.random.random() < _OUTAGE_SHARE)
        del cuts[:number]


def _cut(trial: Trial, relay: CuttingRelay, clients: Clients, round_: _Round) -> None:
    with relay.away() if round_.is_after_outage else nullcontext():
        if round_.is_after_outage:
            clients.wait_for(trial.random.randint(50, 300))
        for number, (place, where) in enumerate(round_.cuts):
            relay.cut_next(where, STORES_PREDICTIONS, trial.random.random())
            what = "drains" if number or round_.is_after_outage else "direct appends"
            trial.counts[f"cuts of {what}: {place} the commit"] += 1
    began = time.monotonic()
    assert relay.has_cut(LONG), f"the service stored nothing within {LONG} s"
    trial.took("until all cuts of a round were made", time.monotonic() - began)
    clients.wait_for(1)


def _check_answers(history: History) -> None:
    """Check that no estimate without a key failed: the spool suffices for it. Raises Broken."""
    failed = [
        operation
        for operation in history.operations
        if operation.action is Action.ESTIMATE and operation.key is None and operation.status != 200
    ]
    if failed:
        raise Broken(f"{len(failed)} estimates failed although the spool was available, first: {failed[0]}")


ATTACK = Attack(
    name="cuts",
    title="Connections to PostgreSQL cut before, during, and after COMMIT, for direct appends and drains",
    unit="cuts",
    full=1500,
    quick=24,
    each=150,
    must_hold="each estimate exactly once",
    run=run,
)
