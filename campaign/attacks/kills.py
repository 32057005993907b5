"""SIGKILL at random moments under load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from attrs import frozen

from campaign import postgres
from campaign.clients import Clients, Mix
from campaign.postgres import Cluster
from campaign.services import LONG, Service, is_alive, pause
from campaign.trials import Attack, Trial
from tests.postgres_servers import free_port

_DATABASE = "campaign"


@frozen
class _System:
    cluster: Cluster
    service: Service

    def kill_service(self) -> None:
        """Kill the supervisor and its workers at once."""
        os.killpg(self.service.pid, signal.SIGKILL)
        self.service.kill()
        self.service.start()

    def kill_supervisor(self) -> None:
        """Kill only the supervisor. Its workers must end while another service starts at their port."""
        workers = self.service.workers()
        self.service.kill()
        self.service.start()
        deadline = time.monotonic() + LONG
        while any(map(is_alive, workers)):
            assert time.monotonic() < deadline, "the workers outlive their supervisor"
            pause(0.01)

    def kill_worker(self, choose: Callable[[list[int]], int]) -> None:
        os.kill(choose(self.service.workers()), signal.SIGKILL)

    def kill_backend(self, choose: Callable[[list[int]], int]) -> None:
        """Kill a server process of PostgreSQL, which then ends all connections and recovers."""
        self.cluster.revive()  # the server may still be recovering from the last kill
        os.kill(choose(self.cluster.backends(_DATABASE)), signal.SIGKILL)

    def kill_postmaster(self) -> None:
        self.cluster.stop("immediate")
        self.cluster.start()


def run(trial: Trial) -> None:
    """Kill a random process repeatedly, each time after the service has recovered."""
    with postgres.running() as cluster, trial.history() as history:
        cluster.create_database(_DATABASE)
        service = Service(
            trial.folder / "service",
            free_port(),
            {"HOUSEPREDICT_DATABASE_URL": cluster.url(_DATABASE), "HOUSEPREDICT_WORKERS": "2"},
        )
        system = _System(cluster, service)
        clients = Clients([service], history, trial.random, Mix())
        service.start()
        try:
            service.wait_until_ready()
            with clients.asking():
                for _ in range(trial.units):
                    clients.wait_for(trial.random.randint(300, 500))
                    _strike(trial, system)
                    clients.wait_for(1)
            service.wait_until_caught_up()
            assert service.stop() == 0
        finally:
            service.destroy()
        trial.check(history, cluster.stored(_DATABASE))


def _strike(trial: Trial, system: _System) -> None:
    victims: dict[str, Callable[[], None]] = {
        "service": system.kill_service,
        "supervisor": system.kill_supervisor,
        "postmaster": system.kill_postmaster,
        "backend": lambda: system.kill_backend(trial.random.choice),
    }
    if system.service.workers():
        victims["worker"] = lambda: system.kill_worker(trial.random.choice)
    victim = trial.random.choice(sorted(victims))
    pause(trial.random.random() * 0.05)  # at any time between two answers
    began = time.monotonic()
    victims[victim]()
    system.service.wait_until_ready(restart=True)
    trial.took(f"until ready after the {victim} was killed", time.monotonic() - began)
    trial.counts[f"kills: {victim}"] += 1


ATTACK = Attack(
    name="kills",
    title="SIGKILL at random moments under load",
    unit="kills",
    full=300,
    quick=5,
    each=20,
    must_hold="nothing lost or duplicated, ready again within 5 s (95th percentile)",
    run=run,
    p95=5.0,
)
