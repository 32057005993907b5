"""Requests repeated with their idempotency key: concurrently, later, and after lost connections.

Two services share a database. Clients work in teams: all members of a team send the same key at the same time, to both
services, and sometimes an older key. The services have different models, so that their answers would differ if they
were not from one record. Meanwhile, services are killed, and their connections to PostgreSQL are cut when a key or an
estimate is stored. Some keys are misused for a second house, which must be rejected. At the end, all keys are sent once
more to each service.
"""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier, BrokenBarrierError

from attrs import define, field, frozen

from campaign import postgres
from campaign.attacks.cuts import STORES_PREDICTIONS, through
from campaign.clients import Client, Clients
from campaign.history import Action, History
from campaign.services import LONG, Service, ask, pause
from campaign.trials import Attack, Broken, Trial
from tests.integration.cutting_relay import Cut, CuttingRelay
from tests.postgres_servers import free_port

_DATABASE = "campaign"
_STORES_KEYS = b'INSERT INTO "public".prediction_keys'
_TEAM_SIZE = 3
_MISUSED_SHARE = 0.05
"""Share of keys that are also sent with a second house."""
_REPEATED_SHARE = 0.2
"""Share of keys after which a client sends an older key."""


@frozen
class _Key:
    name: str
    houses: tuple[int, ...]
    """The house of each member of the team: the same, unless the key is misused."""
    turn: int
    """The service of the first member; the others use the next ones."""


@define
class _Team:
    """Clients that send the same key at the same time."""

    _all: _Teams
    _random: Random
    _barrier: Barrier = field(init=False)
    _key: _Key | None = field(default=None, init=False)

    @_barrier.default
    def _create_barrier(self) -> Barrier:
        return Barrier(_TEAM_SIZE, self._draw)

    def meet(self) -> _Key | None:
        """Wait for all members of the team, and return the next key; None once a member has left."""
        try:
            self._barrier.wait(LONG)
        except BrokenBarrierError:
            return None
        return self._key

    def leave(self) -> None:
        self._barrier.abort()

    def _draw(self) -> None:
        house = next(self._all.houses)
        houses = [house] * _TEAM_SIZE
        if self._random.random() < _MISUSED_SHARE:
            houses[self._random.randrange(_TEAM_SIZE)] = next(self._all.houses)
        self._key = _Key(f"key-{house}", tuple(houses), self._random.randrange(len(self._all.services)))
        self._all.sent.append(self._key)


@define
class _Teams(Clients):
    """Clients in teams. Their number is a multiple of the team size."""

    sent: list[_Key] = field(factory=list, init=False)
    """All keys that were sent so far."""
    _teams: list[_Team] = field(init=False)

    @_teams.default
    def _create_teams(self) -> list[_Team]:
        return [_Team(self, Random(self.random.random())) for _ in range(self.number // _TEAM_SIZE)]

    def _work(self, number: int, random: Random) -> None:
        """Send the keys of the team until the end."""
        team, member = self._teams[number // _TEAM_SIZE], number % _TEAM_SIZE
        client = Client(self, number, random)
        try:
            while not self._enough.is_set() and (key := team.meet()):
                client.turn_to(key.turn + member)
                _send(client, key, member, random)
                if random.random() < _REPEATED_SHARE:
                    client.turn_to(random.randrange(len(self.services)))
                    _send(client, random.choice(self.sent), random.randrange(_TEAM_SIZE), random)
        finally:
            team.leave()
            client.close()

    def send_all_again(self) -> None:
        """Send each key to each service once more."""

        def send(turn: int) -> None:
            client, random = Client(self, turn, self.random), Random(turn)
            for key in self.sent:
                for house in sorted(set(key.houses)):
                    client.turn_to(turn)
                    _send(client, key, key.houses.index(house), random)
            client.close()

        with ThreadPoolExecutor(len(self.services)) as pool:
            list(pool.map(send, range(len(self.services))))


def _send(client: Client, key: _Key, member: int, random: Random) -> None:
    """Send a key to either service until it is answered."""
    deadline = time.monotonic() + LONG
    while True:
        done = client.estimate(key.houses[member], key.name)
        if done and done.status is not None and done.status < 500:
            return
        assert time.monotonic() < deadline, f"{key} was not answered within {LONG} s; last attempt: {done}"
        client.turn_to(random.randrange(2))


def run(trial: Trial) -> None:
    """Send keys while services are killed and connections are cut."""
    with postgres.running() as cluster, trial.history() as history:
        cluster.create_database(_DATABASE)
        with CuttingRelay.before(cluster.url(_DATABASE)).running() as relay:
            database = {
                "HOUSEPREDICT_DATABASE_URL": through(relay, cluster, _DATABASE),
                "HOUSEPREDICT_MODELS": "folder",
            }
            one = Service(trial.folder / "one", free_port(), database)
            two = Service(trial.folder / "two", free_port(), database | {"HOUSEPREDICT_WORKERS": "2"})
            services = [one, two]
            clients = _Teams(services, history, trial.random, number=3 * _TEAM_SIZE)
            try:
                for service in services:
                    service.start()
                for service in services:
                    service.wait_until_ready()
                status, document = ask(two.port, "POST", "/train")
                assert status == 200, document
                with clients.asking():
                    while len(clients.sent) < trial.units:
                        clients.wait_for(trial.random.randint(50, 150))
                        _disturb(trial, services, relay)
                for service in services:
                    service.wait_until_caught_up()
                clients.send_all_again()
                for service in services:
                    assert service.stop() == 0
            finally:
                for service in services:
                    service.destroy()
        stored = cluster.stored(_DATABASE)
        trial.check(history, stored)
        trial.counts["keys"] += len(clients.sent)
        _check_keys(history, {record.house for record in stored}, clients.sent)


def _disturb(trial: Trial, services: list[Service], relay: CuttingRelay) -> None:
    victim = trial.random.choice(services)
    match trial.random.choice(("service", "worker", *2 * ("key", "estimate"))):
        case "worker" if workers := victim.workers():
            _kill_worker(victim, trial.random.choice(workers))
            trial.counts["kills: worker"] += 1
            trial.took("until ready after a worker was killed", victim.wait_until_ready(restart=True))
        case "service" | "worker":
            victim.destroy()
            victim.start()
            trial.counts["kills: service"] += 1
            trial.took("until ready after a service was killed", victim.wait_until_ready(restart=True))
        case record:
            where = trial.random.choice(list(Cut))
            relay.cut_next(where, _STORES_KEYS if record == "key" else STORES_PREDICTIONS, trial.random.random())
            assert relay.has_cut(LONG), f"no {record} was stored within {LONG} s"
            trial.counts[f"cuts: storing the {record}"] += 1


def _kill_worker(service: Service, worker: int) -> None:
    """Kill a worker, and wait until it is replaced, or the service has ended because the worker was still starting."""
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + LONG
    while service.is_running() and (worker in (workers := service.workers()) or len(workers) < 2):
        assert time.monotonic() < deadline, f"worker {worker} is not replaced after {LONG} s, see {service.log}"
        pause(0.02)


def _check_keys(history: History, stored: set[int], keys: list[_Key]) -> None:
    """Check that one house of each key is estimated and stored, and the other one rejected. Raises Broken."""
    statuses: dict[str, dict[int, set[int | None]]] = defaultdict(lambda: defaultdict(set))
    for operation in history.operations:
        if operation.action is Action.ESTIMATE and operation.key is not None and operation.house is not None:
            statuses[operation.key][operation.house].add(operation.status)
    for key in keys:
        final = {house: answers - {None, 503} for house, answers in statuses[key.name].items()}
        estimated = [house for house, answers in final.items() if answers == {200}]
        rejected = [house for house, answers in final.items() if answers == {422}]
        if len(estimated) != 1 or len(estimated + rejected) != len(final) or stored & final.keys() != set(estimated):
            raise Broken(f"statuses of {key} by house: {dict(statuses[key.name])}")


ATTACK = Attack(
    name="keys",
    title="Idempotency keys repeated to two services during kills and cuts",
    unit="keys",
    full=20_000,
    quick=250,
    each=2_000,
    must_hold="one estimate per key, equal answers",
    run=run,
)
