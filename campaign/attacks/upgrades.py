"""Rolling upgrades and rollbacks under load, with both releases on one database, and on one data folder."""

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
    """What all fleets of a trial share."""

    trial: Trial
    history: History
    previous: Release
    houses: Iterator[int] = field(factory=lambda: count(1))
    sales: Iterator[int] = field(factory=count)


@define
class _Fleet:
    """Services that serve one set of records, and the clients in front of them."""

    run: _Run
    random: Random
    services: Sequence[Service]
    variables: Mapping[str, str]
    trainer: Path
    """The data folder for trainings."""
    cluster: Cluster | None = None
    """None if the services have their data folder alone."""
    counts: Counter[str] = field(factory=Counter, init=False)
    releases: dict[str, Release] = field(factory=dict, init=False)
    """By service."""
    starts: list[tuple[float, str, Release]] = field(factory=list, init=False)
    """When which service began to be which release, on the monotonic clock."""
    promoted: str | None = field(default=None, init=False)
    """The version that was promoted last."""
    trained_by: dict[str, Release] = field(factory=dict, init=False)
    """By version."""
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
        """The previous release serves, and clients ask until the block ends. No request may have failed then."""
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
        if bad := failed(self.clients):
            raise Broken(f"{len(bad)} requests failed, the first of them: {bad[0]}")
        if bad := missing_elsewhere(self.clients):
            raise Broken(f"{len(bad)} reads did not show what another service had stored, the first of them: {bad[0]}")
        if none := self.balancer.none_ready:
            raise Broken(f"{len(none)} requests found no service ready, the first of them: {none[0]}")

    def start(self, service: Service, release: Release) -> None:
        service.command = release.command
        service.variables = {**self.variables, **release.variables}
        self.releases[service.name] = release
        self.starts.append((time.monotonic(), service.name, release))
        service.start()

    def replace(self, service: Service, release: Release) -> None:
        """Stop a service as an orchestrator does, and start a release in its place."""
        began = time.monotonic()
        code = service.stop()
        self.run.trial.took("until stopped, drain period included", time.monotonic() - began)
        assert code == 0, f"{service.name} ended with exit code {code}, see {service.log}"
        self.start(service, release)
        self.run.trial.took(f"until {release.name} is ready", service.wait_until_ready())
        self.balancer.wait_until_ready(service)
        self.counts[f"replaced by {release.name}"] += 1

    def train(self, release: Release) -> None:
        """Train and promote a version. Other sales than before make another model. Both releases have to list it."""
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
        promoted = {each["model_version"]: each["promoted"] for each in listed}
        if promoted != (expected := {name: name == version for name in self.trained_by}):
            raise Broken(f"{other.name} lists the versions {promoted}, not {expected}")
        shown = json.loads(other.run("models", "show", version, *where, **self.variables))
        # either release may show more than the other
        if _common(shown, answer) != _common(answer, shown):
            raise Broken(f"{other.name} shows {shown} where {release.name} trained {answer}")

    def see_versions(self) -> None:
        """Return when each service serves the promoted version. Each has to list all."""
        for service in self.services:
            self._see(service, self.promoted or "demonstration")
            release = self.releases[service.name]
            _, document = service.get("/models")
            names = {each["model_version"] for each in document["models"]}
            if names != set(self.trained_by):
                raise Broken(f"{release.name} serves and lists the versions {names}, not {set(self.trained_by)}")
            if self.promoted and (trained_by := self.trained_by[self.promoted]) is not release:
                self.counts[f"times that {release.name} served a version of {trained_by.name}"] += 1

    def _count(self) -> None:
        self.counts["requests that no balancer could have saved"] += len(self.clients.unavoidable)
        answered: dict[str, set[str]] = {}
        for each in self.clients.operations:
            if each.key and each.status in (200, 201):
                of_its_service = [
                    release for began, name, release in self.starts if name == each.service and began < each.began
                ]
                answered.setdefault(each.key, set()).add(of_its_service[-1].name)
        self.counts["idempotency keys that both releases answered"] += sum(len(each) > 1 for each in answered.values())

    def _see(self, service: Service, version: str) -> None:
        until = time.monotonic() + LONG
        while (served := (service.get("/health")[1] or {}).get("model_version")) != version:
            if time.monotonic() > until:
                raise Broken(f"{service.name} serves {served} and not {version}, see {service.log}")
            pause(0.05)


def run(trial: Trial) -> None:
    """Upgrade and roll back again and again: two services on PostgreSQL, and meanwhile a single one on SQLite."""
    alone = max(1, trial.units // 4)
    with trial.history() as history, ThreadPoolExecutor(2) as pool:
        ours = _Run(trial, history, releases.previous())
        seeds = trial.random.random(), trial.random.random()
        works = [pool.submit(_alone, ours, Random(seeds[0]), alone)]
        if trial.units > alone:
            works.append(pool.submit(_shared, ours, Random(seeds[1]), trial.units - alone))
        records: list[Stored] = []
        sales: list[StoredSale] = []
        for work in works:
            counts, its_records, its_sales = work.result()
            trial.counts.update(counts)
            records += its_records
            sales += its_sales
        trial.counts["sales stored"] += len(sales)
        trial.check(history, records, others=check_sales(history.operations, sales))


_Kept = tuple[Counter[str], list[Stored], list[StoredSale]]
"""What happened how often, and what is stored in the end."""


def _shared(ours: _Run, random: Random, units: int) -> _Kept:
    """Units of two services on one PostgreSQL."""
    folder = ours.trial.folder / "shared"
    with postgres.running() as cluster:
        cluster.create_database(_DATABASE)
        variables = {"HOUSEPREDICT_DATABASE_URL": cluster.url(_DATABASE), "HOUSEPREDICT_DRAIN": str(DRAIN)}
        services = [Service(folder / name, free_port()) for name in ("left", "right")]
        fleet = _Fleet(ours, random, services, variables, folder / "trainer", cluster)
        with fleet.serving():
            for number in range(units):
                _roll(fleet, has_outages=number % 2 == 0)
                fleet.counts["rolling upgrades and rollbacks of two services on PostgreSQL"] += 1
        query = "SELECT id::text, prediction::text, price::float8 FROM sales ORDER BY id"
        sales = [StoredSale(*row) for row in cluster.execute(query, database=_DATABASE)]
        return fleet.counts, cluster.stored(_DATABASE), sales


def _alone(ours: _Run, random: Random, units: int) -> _Kept:
    """Units of one service with SQLite files. Clients wait while it is replaced."""
    service = Service(ours.trial.folder / "single", free_port())
    data = service.folder / "data"
    fleet = _Fleet(ours, random, [service], {"HOUSEPREDICT_DRAIN": str(DRAIN)}, data)
    with fleet.serving():
        for _ in range(units):
            _roll(fleet, has_outages=False)
            fleet.counts["upgrades and rollbacks of a single service on SQLite"] += 1
    return fleet.counts, sqlite.stored(data), sqlite.stored_sales(data)


def _roll(fleet: _Fleet, *, has_outages: bool) -> None:
    """Replace each service by this release, then by the previous one; in between, the releases are mixed.

    In one step of each direction one of the releases trains meanwhile; in another one the database may be away. For a
    single service each direction has one step, and one of them a training.
    """
    random, previous = fleet.random, fleet.run.previous
    trainers: list[Release | None] = random.sample([THIS, previous], 2)
    if len(fleet.services) == 1:
        trainers[random.randrange(2)] = None
    for release, trainer in zip((THIS, previous), trainers, strict=True):
        services = random.sample(fleet.services, len(fleet.services))
        # a service needs a version to start with while the database is away
        trains_at = 0 if fleet.promoted is None else random.randrange(len(services))
        for number, service in enumerate(services):
            if trainer and number == trains_at:
                with ThreadPoolExecutor(1) as pool:
                    training = pool.submit(_soon, random.random(), partial(fleet.train, trainer))
                    fleet.replace(service, release)
                    training.result()
            elif has_outages:
                _replace_in_outage(fleet, service, release)
            else:
                fleet.replace(service, release)
            fleet.see_versions()
            fleet.clients.wait_for(random.randint(20, 60))


def _replace_in_outage(fleet: _Fleet, service: Service, release: Release) -> None:
    """What the one release has put into its spool, the other one delivers."""
    cluster, random, before = fleet.cluster, fleet.random, fleet.releases[service.name]
    assert cluster
    with fleet.clients.outages.one():
        cluster.stop(random.choice(["fast", "immediate"]))
        fleet.clients.wait_for(random.randint(20, 60))
        if fleet.counts["outages of PostgreSQL"] and random.random() < 0.3:
            with ThreadPoolExecutor(1) as pool:
                start = pool.submit(_soon, random.random() * 2 * DRAIN, cluster.start)
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


def _soon(seconds: float, work: Callable[[], None]) -> None:
    pause(seconds)
    work()


def _common(document: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What a version is, as far as another document also says it."""
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
    title="Rolling upgrades and rollbacks under load: two releases on one PostgreSQL, or on one data folder",
    unit="upgrades and rollbacks",
    full=30,
    quick=2,
    each=5,
    must_hold="no failed request, nothing lost, models readable both ways",
    run=run,
)
