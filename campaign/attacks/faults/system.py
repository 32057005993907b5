"""What a fault happens to: services with clients, a watch on their readiness, and what must hold of all of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from attrs import define, evolve, field, frozen

from campaign.clients import Clients, Mix
from campaign.history import Action, History, Operation, Stored
from campaign.postgres import ROLE, Cluster
from campaign.readiness import AVAILABLE, MANY, NOTICED_S, Says, Watch
from campaign.services import LONG, Service, pause
from campaign.trials import Broken, Trial
from tests.postgres_servers import free_port

DATABASE = "campaign"
DISCONNECT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s"
_SOME = 3
_MIX = Mix(erase=0.02, turn=0.02)
_ANSWERS: Mapping[Action, tuple[int, ...]] = {
    Action.ESTIMATE: (200,),
    Action.FIND: (200, 404),  # of what was erased, as the checker knows
    Action.LIST: (200,),
    Action.ERASE: (204,),
}


@frozen
class Fault:
    """What happens to a system for some seconds, and what readiness must say meanwhile."""

    name: str
    happening: Callable[[System], AbstractContextManager[None]]
    says: Says = AVAILABLE
    newcomer: Says | None = AVAILABLE
    """What a service must say that starts meanwhile; None: it may say anything."""


@define
class System:
    """Two services with a data folder each, on one database, and clients that ask them."""

    trial: Trial
    cluster: Cluster
    """The server that takes writes, and in the end holds what is stored."""
    services: Sequence[Service]
    history: History
    watch: Watch
    clients: Clients
    _windows: list[tuple[float, float]] = field(factory=list, init=False)
    """The times in which what needs the database may be answered with 503."""
    _restarts: list[tuple[float, float]] = field(factory=list, init=False)
    """The times in which requests may stay without an answer."""
    _missing: list[tuple[Operation, str]] = field(factory=list, init=False)
    """What was not in the database when a service said that all is."""

    def strike(self, fault: Fault, seconds: float) -> None:
        """Let a fault last for so long, and check what readiness says meanwhile and afterwards."""
        self.clients.wait_for(self.trial.random.randint(50, 200))
        newcomer = new_service(self.trial, "newcomer", self.services[0].variables)
        began = time.monotonic()
        try:
            with fault.happening(self):
                happened = time.monotonic()
                newcomer.start()
                self.watch.follow(newcomer)
                pause(NOTICED_S + seconds)
                self._hear(newcomer, happened)
                over = time.monotonic()
            self.recover(fault.name, began, (*self.services, newcomer))
            for each in self.services:
                self.check_readiness(fault.name, each, fault.says, happened + NOTICED_S, over)
            if fault.newcomer:
                answering = [each.began for each in self.watch.answers(newcomer, happened, over) if each.status]
                self.check_readiness(
                    f"{fault.name}, of a newcomer", newcomer, fault.newcomer, min(answering, default=over), over
                )
            assert newcomer.stop() == 0
        finally:
            newcomer.destroy()
        self.trial.counts[f"faults: {fault.name}"] += 1

    def recover(self, name: str, began: float, services: Sequence[Service]) -> None:
        """Wait until services say, after a fault that has just ended, that nothing is behind; see if it is so."""
        ended = time.monotonic()
        for each in services:
            answer = self.watch.wait_until_caught_up(each, ended, _in_a_row(each))
            self.trial.took(f"until nothing is behind after {name}", answer.ended - ended)
            self._note_missing(each, answer.began)
        self._windows.append((began, time.monotonic()))
        self.clients.wait_for(self.trial.random.randint(20, 100))

    def check_readiness(self, name: str, service: Service, says: Says, since: float, until: float) -> None:
        """Check what a service said between two times."""
        says = evolve(says, workers=_workers(service))
        self.trial.counts[f"readiness checked during {name}"] += self.watch.check(service, says, since, until)

    def restart(self, service: Service, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Stop a service as one should, do something, and start it again."""
        began = time.monotonic()
        assert service.stop() == 0
        meanwhile()
        service.start()
        service.wait_until_ready()
        self._restarts.append((began, time.monotonic()))

    def disconnect(self) -> None:
        """End the services' connections."""
        self.cluster.execute(DISCONNECT, ROLE)

    def check(self, stored: Sequence[Stored], *, steady_clock: bool = True) -> None:
        """Check the answers of all requests, and what is stored."""
        self._check_answers()
        erased = {each.id for each in self.history.operations if each.action is Action.ERASE}
        if missing := [each for each in self._missing if each[0].answer["id"] not in erased]:
            raise Broken(f"{len(missing)} estimates waited when nothing was behind, such as {missing[0]}")
        self.trial.check(self.history, stored, steady_clock=steady_clock)

    def _hear(self, service: Service, since: float) -> None:
        """Wait for some answers of a service that starts."""
        heard = 0
        while heard < _SOME and time.monotonic() < since + LONG:
            heard = sum(each.status is not None for each in self.watch.answers(service, since, time.monotonic()))
            pause(0.05)

    def _note_missing(self, service: Service, said_at: float) -> None:
        made = [
            each
            for each in list(self.history.operations)
            if each.action is Action.ESTIMATE and each.service == service.name and each.status == 200
        ]
        stored = {each.id for each in self.cluster.stored(DATABASE)}
        self._missing += [
            (each, service.name) for each in made if each.ended < said_at and each.answer["id"] not in stored
        ]

    def _check_answers(self) -> None:
        for each in self.history.operations:
            needs_database = each.action in (Action.FIND, Action.ERASE) or each.key is not None
            good = (
                each.status in _ANSWERS[each.action]
                or (each.status == 503 and needs_database and _overlaps(each, self._windows))
                or (each.status is None and _overlaps(each, self._restarts))
            )
            if not good:
                raise Broken(f"not as it must be answered: {each}, faults {self._windows}")


@contextmanager
def serving(
    trial: Trial,
    cluster: Cluster,
    url: str,
    *variables: Mapping[str, str],
    module: str = "housepredict",
    ready: bool = True,
) -> Iterator[System]:
    """A system under load until the block ends; then its services stop, and everything is checked by the caller.

    `variables` are more of each service's, `module` is what they run, `ready` whether to wait for them.
    """
    with trial.history() as history, Watch.written(trial.folder / "readiness.jsonl") as watch, ExitStack() as ends:
        services = [
            new_service(trial, f"service-{number}", {"HOUSEPREDICT_DATABASE_URL": url, **more}, module)
            for number, more in enumerate(variables or ({}, {"HOUSEPREDICT_WORKERS": "2"}))
        ]
        system = System(trial, cluster, services, history, watch, Clients(services, history, trial.random, _MIX))
        for each in services:
            ends.callback(each.destroy)
            each.start()
        for each in services:
            watch.follow(each)
        if ready:
            _wait_until_all_serve(services)
        with system.clients.asking():
            yield system
        for each in services:
            assert each.stop() == 0


def new_service(trial: Trial, name: str, variables: Mapping[str, str], module: str = "housepredict") -> Service:
    """A service that does not run yet, with a port of its own."""
    return Service(trial.folder / name, free_port(), variables, command=(sys.executable, "-m", module))


def _wait_until_all_serve(services: Sequence[Service]) -> None:
    """Wait for each worker: they start one after the other, and one that starts during a fault has no model."""
    until = time.monotonic() + LONG
    for each in services:
        each.wait_until_ready()
        while each.serving_workers() < _workers(each):
            assert time.monotonic() < until, f"not all workers of {each.name} serve"
            pause(0.1)
    for each in services:
        each.wait_until_caught_up()


def _in_a_row(service: Service) -> int:
    """How many answers it takes to have heard each of a service's workers, nearly for certain."""
    return 1 if _workers(service) == 1 else MANY


def _workers(service: Service) -> int:
    return int(service.variables.get("HOUSEPREDICT_WORKERS", "1"))


def _overlaps(operation: Operation, times: Sequence[tuple[float, float]]) -> bool:
    return any(operation.began <= until and operation.ended >= since for since, until in times)
