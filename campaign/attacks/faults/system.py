"""The system under test: services with clients and a watch on their readiness, and its checks."""

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
_MIN_ANSWERS = 3
_MIX = Mix(erase=0.02, turn=0.02)
_ANSWERS: Mapping[Action, tuple[int, ...]] = {
    Action.ESTIMATE: (200,),
    Action.FIND: (200, 404),  # 404 for erased predictions, which the checker verifies
    Action.LIST: (200,),
    Action.ERASE: (204,),
}


@frozen
class Fault:
    """A fault that lasts some seconds, and the readiness that services must report meanwhile."""

    name: str
    happening: Callable[[System], AbstractContextManager[None]]
    says: Says = AVAILABLE
    newcomer: Says | None = AVAILABLE
    """Expected readiness of a service that starts meanwhile; None accepts any."""


@define
class System:
    """Two services with separate data folders on one database, and their clients."""

    trial: Trial
    cluster: Cluster
    """The server that accepts writes, and has the stored records at the end."""
    services: Sequence[Service]
    history: History
    watch: Watch
    clients: Clients
    _windows: list[tuple[float, float]] = field(factory=list, init=False)
    """The times in which requests that need the database may fail with 503."""
    _restarts: list[tuple[float, float]] = field(factory=list, init=False)
    """The times in which requests may get no answer."""
    _missing: list[tuple[Operation, str]] = field(factory=list, init=False)
    """Estimates that were not in the database when their service reported a drained spool, with the service."""

    def strike(self, fault: Fault, seconds: float) -> None:
        """Cause a fault for `seconds`, and check readiness during and after it."""
        self.clients.wait_for(self.trial.random.randint(50, 200))
        newcomer = new_service(self.trial, "newcomer", self.services[0].variables)
        began = time.monotonic()
        try:
            with fault.happening(self):
                happened = time.monotonic()
                newcomer.start()
                self.watch.follow(newcomer)
                pause(NOTICED_S + seconds)
                self._wait_for_answers(newcomer, happened)
                over = time.monotonic()
            self.recover(fault.name, began, (*self.services, newcomer))
            for each in self.services:
                self.check_readiness(fault.name, each, fault.says, happened + NOTICED_S, over)
            if fault.newcomer:
                answering = [each.began for each in self.watch.answers(newcomer, happened, over) if each.status]
                self.check_readiness(
                    f"{fault.name}, new process", newcomer, fault.newcomer, min(answering, default=over), over
                )
            assert newcomer.stop() == 0
        finally:
            newcomer.destroy()
        self.trial.counts[f"faults: {fault.name}"] += 1

    def recover(self, name: str, began: float, services: Sequence[Service]) -> None:
        """Wait after a fault until services report a drained spool, and check whether that is true."""
        ended = time.monotonic()
        for each in services:
            answer = self.watch.wait_until_caught_up(each, ended, _in_a_row(each))
            self.trial.took(f"until drained after {name}", answer.ended - ended)
            self._note_missing(each, answer.began)
        self._windows.append((began, time.monotonic()))
        self.clients.wait_for(self.trial.random.randint(20, 100))

    def check_readiness(self, name: str, service: Service, says: Says, since: float, until: float) -> None:
        """Check the answers of a service between two times."""
        says = evolve(says, workers=_workers(service))
        self.trial.counts[f"readiness checks: {name}"] += self.watch.check(service, says, since, until)

    def restart(self, service: Service, meanwhile: Callable[[], Any] = lambda: None) -> None:
        """Stop a service gracefully, call `meanwhile`, and start it again."""
        began = time.monotonic()
        assert service.stop() == 0
        meanwhile()
        service.start()
        service.wait_until_ready()
        self._restarts.append((began, time.monotonic()))

    def disconnect(self) -> None:
        self.cluster.execute(DISCONNECT, ROLE)

    def check(self, stored: Sequence[Stored], *, steady_clock: bool = True) -> None:
        """Check all answers, and the stored records."""
        self._check_answers()
        erased = {operation.id for operation in self.history.operations if operation.action is Action.ERASE}
        if missing := [each for each in self._missing if each[0].answer["id"] not in erased]:
            raise Broken(
                f"{len(missing)} estimates were pending when the spool was reported as drained, such as {missing[0]}"
            )
        self.trial.check(self.history, stored, steady_clock=steady_clock)

    def _wait_for_answers(self, service: Service, since: float) -> None:
        """Wait for a few answers of a service that is starting."""
        answers = 0
        while answers < _MIN_ANSWERS and time.monotonic() < since + LONG:
            answers = sum(each.status is not None for each in self.watch.answers(service, since, time.monotonic()))
            pause(0.05)

    def _note_missing(self, service: Service, reported_at: float) -> None:
        made = [
            each
            for each in list(self.history.operations)
            if each.action is Action.ESTIMATE and each.service == service.name and each.status == 200
        ]
        stored = {record.id for record in self.cluster.stored(DATABASE)}
        self._missing += [
            (each, service.name) for each in made if each.ended < reported_at and each.answer["id"] not in stored
        ]

    def _check_answers(self) -> None:
        for operation in self.history.operations:
            needs_database = operation.action in (Action.FIND, Action.ERASE) or operation.key is not None
            is_allowed = (
                operation.status in _ANSWERS[operation.action]
                or (operation.status == 503 and needs_database and _overlaps(operation, self._windows))
                or (operation.status is None and _overlaps(operation, self._restarts))
            )
            if not is_allowed:
                raise Broken(f"unexpected answer: {operation}; faults: {self._windows}")


@contextmanager
def serving(
    trial: Trial,
    cluster: Cluster,
    url: str,
    *variables: Mapping[str, str],
    module: str = "housepredict",
    ready: bool = True,
) -> Iterator[System]:
    """Run a system under load until the block ends, then stop its services. The caller checks the results.

    Args:
        trial: the trial.
        cluster: the server.
        url: the database URL of the services.
        variables: further environment variables of each service.
        module: the module that services run.
        ready: whether to wait until the services are ready.
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
    """Return a service with a free port, without starting it."""
    return Service(trial.folder / name, free_port(), variables, command=(sys.executable, "-m", module))


def _wait_until_all_serve(services: Sequence[Service]) -> None:
    """Wait for all workers: they start one after the other, and one that starts during a fault has no model."""
    until = time.monotonic() + LONG
    for each in services:
        each.wait_until_ready()
        while each.serving_workers() < _workers(each):
            assert time.monotonic() < until, f"some workers of {each.name} don't serve"
            pause(0.1)
    for each in services:
        each.wait_until_caught_up()


def _in_a_row(service: Service) -> int:
    """Return the number of answers that almost certainly include all workers of a service."""
    return 1 if _workers(service) == 1 else MANY


def _workers(service: Service) -> int:
    return int(service.variables.get("HOUSEPREDICT_WORKERS", "1"))


def _overlaps(operation: Operation, times: Sequence[tuple[float, float]]) -> bool:
    return any(operation.began <= until and operation.ended >= since for since, until in times)
