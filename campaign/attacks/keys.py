"""Requests that are sent again with their idempotency key: at the same time, later, and after lost connections.

Two services share a database. Clients work in teams: all of a team send one key at the same time, to both services, and
now and then a key of some time ago. The services have different models, so that they would answer differently if they
did not answer from one record. Meanwhile services are killed, and their connections to PostgreSQL are cut where a
key or an estimate is stored. Some keys are misused for a second house, which has to be refused. In the end all keys are
sent once more to each service.
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
_TEAM = 3
_MISUSED = 0.05
"""The share of keys that come with a second house, too."""
_REPEATED = 0.2
"""How often a client sends an older key after the one of its team."""


@frozen
class _Key:
    name: str
    houses: tuple[int, ...]
    """What each of the team asks for: the same house, unless the key is misused."""
    turn: int
    """The service that the first of the team asks; the others ask the next ones."""


@define
class _Team:
    """Clients that send the same key at the same time."""

    _all: _Teams
    _random: Random
    _barrier: Barrier = field(init=False)
    _key: _Key | None = field(default=None, init=False)

    @_barrier.default
    def _ready_for_a_key(self) -> Barrier:
        return Barrier(_TEAM, self._draw)

    def meet(self) -> _Key | None:
        """The next key, when all of the team have come for it; None once a member has left."""
        try:
            self._barrier.wait(LONG)
        except BrokenBarrierError:
            return None
        return self._key

    def leave(self) -> None:
        self._barrier.abort()

    def _draw(self) -> None:
        house = next(self._all.houses)
        houses = [house] * _TEAM
        if self._random.random() < _MISUSED:
            houses[self._random.randrange(_TEAM)] = next(self._all.houses)
        self._key = _Key(f"key-{house}", tuple(houses), self._random.randrange(len(self._all.services)))
        self._all.sent.append(self._key)


@define
class _Teams(Clients):
    """Clients in teams; their number is a multiple of a team's size."""

    sent: list[_Key] = field(factory=list, init=False)
    """All keys so far."""
    _teams: list[_Team] = field(init=False)

    @_teams.default
    def _gathered(self) -> list[_Team]:
        return [_Team(self, Random(self.random.random())) for _ in range(self.number // _TEAM)]

    def _work(self, number: int, random: Random) -> None:
        """Send the team's keys until it is enough."""
        team, member = self._teams[number // _TEAM], number % _TEAM
        client = Client(self, number, random)
        try:
            while not self._enough.is_set() and (key := team.meet()):
                client.turn_to(key.turn + member)
                _send(client, key, member, random)
                if random.random() < _REPEATED:
                    client.turn_to(random.randrange(len(self.services)))
                    _send(client, random.choice(self.sent), random.randrange(_TEAM), random)
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
    """Send a key until it is answered, to the same service or to another."""
    deadline = time.monotonic() + LONG
    while True:
        done = client.estimate(key.houses[member], key.name)
        if done and done.status is not None and done.status < 500:
            return
        assert time.monotonic() < deadline, f"{key} is not answered for {LONG} s, the last time with {done}"
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
            clients = _Teams(services, history, trial.random, number=3 * _TEAM)
            try:
                for each in services:
                    each.start()
                for each in services:
                    each.wait_until_ready()
                status, document = ask(two.port, "POST", "/train")
                assert status == 200, document
                with clients.asking():
                    while len(clients.sent) < trial.units:
                        clients.wait_for(trial.random.randint(50, 150))
                        _disturb(trial, services, relay)
                for each in services:
                    each.wait_until_caught_up()
                clients.send_all_again()
                for each in services:
                    assert each.stop() == 0
            finally:
                for each in services:
                    each.destroy()
        stored = cluster.stored(_DATABASE)
        trial.check(history, stored)
        trial.counts["keys"] += len(clients.sent)
        _check_keys(history, {each.house for each in stored}, clients.sent)


def _disturb(trial: Trial, services: list[Service], relay: CuttingRelay) -> None:
    victim = trial.random.choice(services)
    match trial.random.choice(("service", "worker", *2 * ("key", "estimate"))):
        case "worker" if workers := victim.workers():
            _kill_worker(victim, trial.random.choice(workers))
            trial.counts["kills of a worker"] += 1
            trial.took("until ready after a worker was killed", victim.wait_until_ready(restart=True))
        case "service" | "worker":
            victim.destroy()
            victim.start()
            trial.counts["kills of a service"] += 1
            trial.took("until ready after a service was killed", victim.wait_until_ready(restart=True))
        case what:
            where = trial.random.choice(list(Cut))
            relay.cut_next(where, _STORES_KEYS if what == "key" else STORES_PREDICTIONS, trial.random.random())
            assert relay.has_cut(LONG), f"no {what} was stored within {LONG} s"
            trial.counts[f"cuts where a service stores the {what}"] += 1


def _kill_worker(service: Service, worker: int) -> None:
    """Kill it, and return when it is replaced; or when the service has ended, if the worker was still starting."""
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + LONG
    while service.is_running() and (worker in (now := service.workers()) or len(now) < 2):
        assert time.monotonic() < deadline, f"worker {worker} is not replaced after {LONG} s, see {service.log}"
        pause(0.02)


def _check_keys(history: History, stored: set[int], keys: list[_Key]) -> None:
    """One house of a key is estimated and stored, whoever asks, and the other one is refused. Raises Broken."""
    statuses: dict[str, dict[int, set[int | None]]] = defaultdict(lambda: defaultdict(set))
    for each in history.operations:
        if each.action is Action.ESTIMATE and each.key is not None and each.house is not None:
            statuses[each.key][each.house].add(each.status)
    for key in keys:
        final = {house: each - {None, 503} for house, each in statuses[key.name].items()}
        estimated = [house for house, each in final.items() if each == {200}]
        refused = [house for house, each in final.items() if each == {422}]
        if len(estimated) != 1 or len(estimated + refused) != len(final) or stored & final.keys() != set(estimated):
            raise Broken(f"{key} was answered, by house, with {dict(statuses[key.name])}")


ATTACK = Attack(
    name="keys",
    title="Idempotency keys sent several times to two services, which are killed and whose connections are cut",
    unit="keys",
    full=20_000,
    quick=250,
    each=2_000,
    must_hold="one estimate per key, equal answers",
    run=run,
)
