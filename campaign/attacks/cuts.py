"""The connection to PostgreSQL is cut around commits, where nobody can know whether the server stored a batch.

A proxy between service and server cuts before the commit (all or a part of the statement never arrives), during it
(the server gets the statement, and nobody waits), or after it (all or a part of the answer never arrives). The first
cut hits a batch that was just estimated. What follows it drains the spool, so the next cuts hit that.
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
_OUTAGES = 0.03
"""The share of rounds that begin with an outage, so that the spool holds more than a batch or two."""


@frozen
class _Round:
    """Cuts one after another, as fast as the service comes back."""

    cuts: list[tuple[str, Cut]]
    """Each with its place."""
    is_after_outage: bool


def run(trial: Trial) -> None:
    """Cut again and again, each time once the service has drained its spool."""
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
                    for each in _rounds(trial):
                        clients.wait_for(trial.random.randint(5, 30))
                        _cut(trial, relay, clients, each)
                        trial.took("from the last cut until the spool was drained", service.wait_until_caught_up())
                assert service.stop() == 0
            finally:
                service.destroy()
        trial.check(history, cluster.stored(_DATABASE))
        _check_answers(history)


def through(relay: CuttingRelay, cluster: Cluster, database: str) -> str:
    """The address of a database for a service behind the relay, which has to read what passes."""
    return evolve(cluster, port=relay.port).url(database, sslmode="disable", gssencmode="disable")


def _rounds(trial: Trial) -> Iterator[_Round]:
    places = list(islice(cycle(_PLACES), trial.units))
    trial.random.shuffle(places)
    cuts = [(place, trial.random.choice(kinds)) for place, kinds in places]
    while cuts:
        number = trial.random.randint(1, 3)
        yield _Round(cuts[:number], trial.random.random() < _OUTAGES)
        del cuts[:number]


def _cut(trial: Trial, relay: CuttingRelay, clients: Clients, round_: _Round) -> None:
    with relay.away() if round_.is_after_outage else nullcontext():
        if round_.is_after_outage:
            clients.wait_for(trial.random.randint(50, 300))
        for number, (place, where) in enumerate(round_.cuts):
            relay.cut_next(where, STORES_PREDICTIONS, trial.random.random())
            what = "drains" if number or round_.is_after_outage else "direct appends"
            trial.counts[f"cuts {place} the commit of {what}"] += 1
    began = time.monotonic()
    assert relay.has_cut(LONG), f"the service did not store anything within {LONG} s"
    trial.took("until all cuts of a round were made", time.monotonic() - began)
    clients.wait_for(1)


def _check_answers(history: History) -> None:
    """Without a key an estimate needs only the spool, so that a cut fails no request. Raises Broken."""
    failed = [
        each
        for each in history.operations
        if each.action is Action.ESTIMATE and each.key is None and each.status != 200
    ]
    if failed:
        raise Broken(f"{len(failed)} estimates failed though the spool was there, the first: {failed[0]}")


ATTACK = Attack(
    name="cuts",
    title="The connection to PostgreSQL cut before, during and after COMMIT, for direct appends and for drains",
    unit="cuts",
    full=1500,
    quick=24,
    each=150,
    must_hold="each estimate exactly once",
    run=run,
)
