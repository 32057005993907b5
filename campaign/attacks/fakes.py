"""Services with a broken part, to prove that the checker notices it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from campaign import postgres
from campaign.broken import BREAKS
from campaign.checker import Violation, check
from campaign.clients import Clients, Mix
from campaign.history import History
from campaign.postgres import Cluster
from campaign.services import Service
from campaign.trials import Attack, Broken, Trial, summary
from tests.postgres_servers import free_port

_MIX = Mix(keyed=0.1, find=0.2, list=0.05, erase=0.1, repeat=0.1)
_ESTIMATES = 150


def run(trial: Trial) -> None:
    """Run services of all kinds for a moment, four at a time."""
    kinds = [*BREAKS] * (trial.units // len(BREAKS))
    with postgres.running() as cluster, ThreadPoolExecutor(4) as pool:
        running = [
            pool.submit(_run_service, cluster, f"{kind}_{number}", trial.folder, Random(trial.random.random()))
            for number, kind in enumerate(kinds)
        ]
        for kind, future in zip(kinds, running, strict=True):
            _check_noticed(trial, kind, future.result())


def _run_service(cluster: Cluster, name: str, folder: Path, random: Random) -> Sequence[Violation]:
    """Run a service for a moment, and return the violations that the checker finds. Its name begins with its kind."""
    cluster.create_database(name)
    kind = name.partition("_")[0]
    service = Service(
        folder / name,
        free_port(),
        {"HOUSEPREDICT_DATABASE_URL": cluster.url(name)},
        command=(sys.executable, "-m", "campaign.broken", kind),
    )
    try:
        service.start()
        service.wait_until_ready()
        with History.written(service.folder / "history.jsonl") as history:
            clients = Clients([service], history, random, _MIX)
            with clients.asking():
                clients.wait_for(_ESTIMATES)
        service.wait_until_caught_up()
        service.stop()
    finally:
        service.destroy()
    return check(history.operations, cluster.stored(name))


def _check_noticed(trial: Trial, kind: str, violations: Sequence[Violation]) -> None:
    rules = Counter(violation.rule for violation in violations)
    for rule, number in rules.items():
        trial.counts[f"{kind}: {rule.name}"] += number
    expected = BREAKS[kind].rule
    if expected is None:
        trial.counts[f"{kind}: no violation"] += 1
        if violations:
            raise Broken(f"violations of a sound service: {summary(violations)}")
    elif expected not in rules:
        raise Broken(f"{expected.name} doesn't notice a {kind} service; violations: {summary(violations) or 'none'}")


ATTACK = Attack(
    name="fakes",
    title="The checker itself: services that lose, double, change, delay, reorder, fail, or don't erase",
    unit="services",
    full=10 * len(BREAKS),
    quick=len(BREAKS),
    each=len(BREAKS),
    must_hold="each broken service breaks its rule, the sound one none",
    run=run,
)
