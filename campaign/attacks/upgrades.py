"""Rolling upgrades and rollbacks under load, with both releases on one database or one data folder."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field

from campaign import postgres, releases, sqlite
from campaign.balancer import DRAIN, BalancedClients, Balancer
from campaign.failed_requests import failed, missing_elsewhere
from campaign.history import History, Stored
from campaign.postgres import Cluster
from campaign.recorded_sales import StoredSale, check_sales
from campaign.releases import THIS, Release
from campaign.services import LONG, Service, pause
from campaign.trials import Attack, Broken, Trial
from tests.postgres_servers import free_port

_DATABASE = "campaign"


@define
class _Run:
    """The state that all fleets of a trial share."""

    trial: Trial
    history: History
    previous: Release
    houses: Iterator[int] = field(factory=lambda: count(1))
    sales: Iterator[int] = field(factory=count)


@define
class _Fleet:
    """Services that share their records, and clients of these services."""

    run: _Run
    random: Random
    services: Sequence[Service]
    variables: Mapping[str, str]
    trainer: Path
    """The data folder for trainings."""
    cluster: Cluster | None = None
    """None if the service has only a data folder."""
    counts: Counter[str] = field(factory=Counter, init=False)
    releases: dict[str, Release] = field(factory=dict, init=False)
    """The current release by service."""
    starts: list[tuple[float, str, Release]] = field(factory=list, init=False)
    """The start of each release: the time on the monotonic clock, the service, and the release."""
    promoted: str | None = field(default=None, init=False)
    """The version that was promoted last."""
    trained_by: dict[str, Release] = field(factory=dict, init=False)
    """The release that trained each version."""
    balancer: Balancer = field(init=False)
    clients: BalancedClients = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.balancer = Balancer(self.services)
        self.clients = BalancedClients(
            self.services, self.run.history, self.random, balancer=self.balancer, sales=self.run.sales
        )
        self.clients.houses = self.run.houses

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Start the previous release, and clients until the block ends. Then check that no request has failed."""
        try:
            for service in self.services:
                self.start(service, self.run.previous)
            for service in self.services:
                service.wait_until_ready()
            with self.balancer.polling(), self.clients.asking():
                self.clients.wait_for(50)
                yield
            for service in self.services:
                service.wait_until_caught_up()
                assert service.stop() == 0
        finally:
            for service in self.services:
                service.destroy()
        self._count()
        if operations := failed(self.clients):
            raise Broken(f"{len(operations)} requests failed, first: {operations[0]}")
        if operations := missing_elsewhere(self.clients):
            raise Broken(f"{len(operations)} reads missed what another service had stored, first: {operations[0]}")
        if statuses := self.balancer.none_ready:
            raise Broken(f"{len(statuses)} requests found no service ready, first: {statuses[0]}")

    def start(self, service: Service, release: Release) -> None:
        service.command = release.command
        service.variables = {**self.variables, **release.variables}
        self.releases[service.name] = release
        self.starts.append((time.monotonic(), service.name, release))
        service.start()

    def replace(self, service: Service, release: Release) -> None:
        """Stop a service as an orchestrator does, and start another release in its place."""
        began = time.monotonic()
        code = service.stop()
        self.run.trial.took("until stopped, drain period included", time.monotonic() - began)
        assert code == 0, f"{service.name} ended with exit code {code}, see {service.log}"
        self.start(service, release)
        self.run.trial.took(f"until {release.name} is ready", service.wait_until_ready())
        self.balancer.wait_until_ready(service)
        self.counts[f"replaced by {release.name}"] += 1

    def train(self, release: Release) -> None:
        """Train a version on new sales, and promote it. Both releases must list it."""
        sales = self.run.trial.folder / f"{self.trainer.parent.name}-sales.csv"
        sales.write_text("size,bedrooms,age,price\n" + "".join(_sales(self.random)))
        where = ("--json", "--data-dir", str(self.trainer))
        options = ("--algorithm", "linear", "--promote", "always")
        answer = json.loads(release.run("train", str(sales), *options, *where, **self.variables))
        assert answer["promoted"], answer
        self.promoted = version = answer["model_version"]
        self.trained_by[version] = release
        self.counts[f"versions trained by {release.name}"] += 1
        other = THIS if release is self.run.previous else self.run.previous
        listed = json.loads(other.run("models", *where, **self.variables))["models"]
        promoted = {model["model_version"]: model["promoted"] for model in listed}
        if promoted != (expected := {name: name == version for name in self.trained_by}):
            raise Broken(f"{other.name} lists the versions {promoted}, not {expected}")
        shown = json.loads(other.run("models", "show", version, *where, **self.variables))
        # Each release may show fields that the other doesn't have.
        if _common(shown, answer) != _common(answer, shown):
            raise Broken(f"{other.name} shows {shown}, but {release.name} trained {answer}")

    def check_versions(self) -> None:
        """Wait until each service serves the promoted version, and check that it lists all versions."""
        for service in self.services:
            self._wait_for_version(service, self.promoted or "demonstration")
            release = self.releases[service.name]
            _, document = service.get("/models")
            names = {model["model_version"] for model in document["models"]}
            if names != set(self.trained_by):
                raise Broken(f"{release.name} lists the versions {names}, not {set(self.trained_by)}")
            if self.promoted and (trained_by := self.trained_by[self.promoted]) is not release:
                self.counts[f"versions of {trained_by.name} served by {release.name}"] += 1

    def _count(self) -> None:
        self.counts["failed requests that no load balancer could retry"] += len(self.clients.unavoidable)
        answered: dict[str, set[str]] = {}
        for operation in self.clients.operations:
            if operation.key and operation.status in (200, 201):
                started = [
                    release
                    for began, name, release in self.starts
                    if name == operation.service and began < operation.began
                ]
                answered.setdefault(operation.key, set()).add(started[-1].name)
        self.counts["idempotency keys that both releases answered"] += sum(
            len(releases) > 1 for releases in answered.values()
        )

    def _wait_for_version(self, service: Service, version: str) -> None:
        until = time.monotonic() + LONG
        while (served := (service.get("/health")[1] or {}).get("model_version")) != version:
            if time.monotonic() > until:
                raise Broken(f"{service.name} serves {served}, not {version}, see {service.log}")
            pause(0.05)


def run(trial: Trial) -> None:
    """Upgrade and roll back repeatedly: two services on PostgreSQL, and at the same time one on SQLite."""
    single_units = max(1, trial.units // 4)
    with trial.history() as history, ThreadPoolExecutor(2) as pool:
        shared = _Run(trial, history, releases.previous())
        seeds = trial.random.random(), trial.random.random()
        futures = [pool.submit(_single_service, shared, Random(seeds[0]), single_units)]
        if trial.units > single_units:
            futures.append(pool.submit(_two_services, shared, Random(seeds[1]), trial.units - single_units))
        records: list[Stored] = []
        sales: list[StoredSale] = []
        for future in futures:
            counts, more_records, more_sales = future.result()
            trial.counts.update(counts)
            records += more_records
            sales += more_sales
        trial.counts["sales stored"] += len(sales)
        trial.check(history, records, others=check_sales(history.operations, sales))


_Outcome = tuple[Counter[str], list[Stored], list[StoredSale]]
"""Number of events by name, and the predictions and sales that are stored at the end."""


def _two_services(shared: _Run, random: Random, units: int) -> _Outcome:
    """Run units of two services on one PostgreSQL."""
    folder = shared.trial.folder / "shared"
    with postgres.running() as cluster:
        cluster.create_database(_DATABASE)
        variables = {"HOUSEPREDICT_DATABASE_URL": cluster.url(_DATABASE), "HOUSEPREDICT_DRAIN": str(DRAIN)}
        services = [Service(folder / name, free_port()) for name in ("left", "right")]
        fleet = _Fleet(shared, random, services, variables, folder / "trainer", cluster)
        with fleet.serving():
            for number in range(units):
                _roll(fleet, has_outages=number % 2 == 0)
                fleet.counts["rolling upgrades and rollbacks of two services on PostgreSQL"] += 1
        query = "SELECT id::text, prediction::text, price::float8 FROM sales ORDER BY id"
        sales = [StoredSale(*row) for row in cluster.execute(query, database=_DATABASE)]
        return fleet.counts, cluster.stored(_DATABASE), sales


def _single_service(shared: _Run, random: Random, units: int) -> _Outcome:
    """Run units of one service with SQLite files. Clients wait while it is replaced."""
    service = Service(shared.trial.folder / "single", free_port())
    data = service.folder / "data"
    fleet = _Fleet(shared, random, [service], {"HOUSEPREDICT_DRAIN": str(DRAIN)}, data)
    with fleet.serving():
        for _ in range(units):
            _roll(fleet, has_outages=False)
            fleet.counts["upgrades and rollbacks of a single service on SQLite"] += 1
    return fleet.counts, sqlite.stored(data), sqlite.stored_sales(data)


def _roll(fleet: _Fleet, *, has_outages: bool) -> None:
    """Replace each service by this release, then by the previous one. In between, both releases are running.

    During one step in each direction, one of the releases trains; during others, there may be an outage of the
    database. For a single service, each direction has one step, and one of these has a training.
    """
    random, previous = fleet.random, fleet.run.previous
    trainers: list[Release | None] = random.sample([THIS, previous], 2)
    if len(fleet.services) == 1:
        trainers[random.randrange(2)] = None
    for release, trainer in zip((THIS, previous), trainers, strict=True):
        services = random.sample(fleet.services, len(fleet.services))
        # To start during an outage of the database, a service needs a promoted version.
        trains_at = 0 if fleet.promoted is None else random.randrange(len(services))
        for number, service in enumerate(services):
            if trainer and number == trains_at:
                with ThreadPoolExecutor(1) as pool:
                    training = pool.submit(_run_after, random.random(), partial(fleet.train, trainer))
                    fleet.replace(service, release)
                    training.result()
            elif has_outages:
                _replace_in_outage(fleet, service, release)
            else:
                fleet.replace(service, release)
            fleet.check_versions()
            fleet.clients.wait_for(random.randint(20, 60))


def _replace_in_outage(fleet: _Fleet, service: Service, release: Release) -> None:
    """Replace a service in an outage, so that one release drains the spool of the other."""
    cluster, random, before = fleet.cluster, fleet.random, fleet.releases[service.name]
    assert cluster
    with fleet.clients.outages.one():
        cluster.stop(random.choice(["fast", "immediate"]))
        fleet.clients.wait_for(random.randint(20, 60))
        if fleet.counts["outages of PostgreSQL"] and random.random() < 0.3:
            with ThreadPoolExecutor(1) as pool:
                start = pool.submit(_run_after, random.random() * 2 * DRAIN, cluster.start)
                fleet.replace(service, release)
                start.result()
        else:
            fleet.replace(service, release)
            fleet.clients.wait_for(random.randint(20, 60))
            cluster.start()
            fleet.counts[f"spools filled by {before.name}, drained by {release.name}"] += 1
        for each in fleet.services:
            fleet.run.trial.took("until caught up after an outage", each.wait_until_caught_up())
    fleet.counts["outages of PostgreSQL"] += 1


def _run_after(seconds: float, work: Callable[[], None]) -> None:
    pause(seconds)
    work()


def _common(document: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a version that two documents have in common."""
    evaluation = {name: document["evaluation"][name] for name in document["evaluation"] if name in other["evaluation"]}
    return evaluation | {name: document[name] for name in ("model_version", "created_at", "algorithm")}


def _sales(random: Random) -> Iterator[str]:
    base, per_size = random.uniform(20_000, 80_000), random.uniform(50, 150)
    for _ in range(100):
        size, bedrooms, age = random.randint(50, 5000), random.randint(1, 6), random.randint(0, 80)
        price = base + per_size * size + 5000 * bedrooms - 300 * age + random.gauss(0, 5000)
        yield f"{size},{bedrooms},{age},{price:.0f}\n"


ATTACK = Attack(
    name="upgrades",
    title="Rolling upgrades and rollbacks under load, on one PostgreSQL or data folder",
    unit="upgrades and rollbacks",
    full=30,
    quick=2,
    each=5,
    must_hold="no failed request, nothing lost, models readable both ways",
    run=run,
)
