"""Disks that fill up under load: those of the spool, of SQLite's files, and of the model versions.

The free space varies at random. With a full disk, a service may reject requests, but must be correct: acknowledged
records are stored, readiness reports whether an estimate can be stored, and the service recovers once there is space.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from campaign import full_models, postgres, sqlite_files
from campaign.clients import Clients, Mix
from campaign.disks import KIB, MIB, Disk, mounted
from campaign.history import History
from campaign.sellers import Sellers
from campaign.services import LONG, Service, pause
from campaign.trials import Attack, Broken, Trial
from tests.postgres_servers import free_port

_DATABASE = "campaign"
_RESERVE_BYTES = 8 * MIB
"""Size of the spool's reserve file, which exists from its first prediction on."""
_PROBES = 12
"""Number of probes. Each uses a page or two of the disk, so readiness may be wrong for some, but not for all."""


def run(trial: Trial) -> None:
    """Fill the disks one after the other."""
    for unit in range(trial.units):
        kind = _KINDS[unit % len(_KINDS)]
        kind(trial)
        trial.counts[f"full disks: {kind.__name__}"] += 1


def spool(trial: Trial) -> None:
    """Fill the disk of the spool during an outage of PostgreSQL; then the spool must be drained."""
    with postgres.running() as cluster, History.written(trial.folder / "spool.jsonl") as history:
        cluster.create_database(_DATABASE)
        variables = {"HOUSEPREDICT_DATABASE_URL": cluster.url(_DATABASE), "HOUSEPREDICT_MODELS": "folder"}
        service = Service(trial.folder / "spool", free_port(), variables | _workers(trial))
        with mounted(service.folder / "data") as disk:
            # Idempotency keys are only in PostgreSQL.
            clients = Clients([service], history, trial.random, Mix(keyed=0))
            try:
                service.start()
                service.wait_until_ready()
                with clients.asking():
                    clients.wait_for(100)
                    cluster.stop("immediate")
                    for _ in range(trial.random.randint(1, 2)):
                        disk.leave(_some_space(trial, _missing_reserve(disk) + 2 * MIB))
                        _wait_until_unready(service)
                        disk.leave(_missing_reserve(disk) + _some_space(trial, MIB) + 256 * KIB)
                        clients.wait_for(1)
                    disk.leave(_some_space(trial, MIB))
                    _wait_until_unready(service)
                _check_readiness(trial, service, clients, disk)
                if trial.random.random() < 0.5:
                    _kill(trial, service)
                    _check_readiness(trial, service, clients, disk)
                with clients.asking():
                    cluster.start()
                    # The spool must be drained although the disk stays full.
                    trial.took("until the spool drained from a full disk", service.wait_until_caught_up())
                    clients.wait_for(1)
                    disk.relieve()
                    clients.wait_for(50)
                service.wait_until_caught_up()
                _stop(service)
            finally:
                service.destroy()
        trial.check(history, cluster.stored(_DATABASE))


def sqlite(trial: Trial) -> None:
    """Fill the disk of predictions, sales and keys of a service without PostgreSQL."""
    service = Service(trial.folder / "sqlite", free_port(), _workers(trial))
    with mounted(service.folder / "data") as disk, History.written(trial.folder / "sqlite.jsonl") as history:
        clients = Clients([service], history, trial.random, Mix(erase=0.02))
        sellers = Sellers(service, history)
        try:
            service.start()
            service.wait_until_ready()
            with clients.asking(), sellers.asking():
                clients.wait_for(100)
                for _ in range(trial.random.randint(1, 2)):
                    disk.leave(_some_space(trial, 2 * MIB))
                    _wait_until_unready(service)
                    disk.leave(_some_space(trial, MIB) + 256 * KIB)
                    clients.wait_for(1)
                disk.leave(_some_space(trial, MIB))
                _wait_until_unready(service)
            _check_readiness(trial, service, clients, disk)
            if trial.random.random() < 0.5:
                _kill(trial, service)
                _check_readiness(trial, service, clients, disk)
            disk.relieve()
            trial.took("until ready once the disk had space", service.wait_until_ready(restart=True))
            with clients.asking(), sellers.asking():
                clients.wait_for(50)
            _stop(service)
            stored = sqlite_files.predictions(service.folder / "data")
            sellers.check(sqlite_files.sales(service.folder / "data"))
        finally:
            service.destroy()
    trial.counts.update(sellers.counts)
    trial.check(history, stored)


def models(trial: Trial) -> None:
    """Fill the disk of model versions during trainings and promotions."""
    service = Service(trial.folder / "models", free_port(), _workers(trial))
    with mounted(service.folder / "data" / "models") as disk:
        try:
            full_models.attack(trial, service, disk)
            _stop(service)
        finally:
            service.destroy()


def _some_space(trial: Trial, most: int) -> int:
    """Choose a number of bytes up to `most`: often few, sometimes none."""
    return int(most * trial.random.random() ** 2)


def _missing_reserve(disk: Disk) -> int:
    """Return the number of bytes that the reserve of the spool lacks."""
    reserve = disk.folder / "spool.reserve"
    return _RESERVE_BYTES - (reserve.stat().st_size if reserve.exists() else 0)


def _workers(trial: Trial) -> dict[str, str]:
    return {"HOUSEPREDICT_WORKERS": trial.random.choice("12")}


def _kill(trial: Trial, service: Service) -> None:
    """Kill a service and its workers on a full disk, and start it again."""
    trial.counts["kills on a full disk"] += 1
    os.killpg(service.pid, signal.SIGKILL)
    service.kill()
    service.start()
    for _ in range(int(LONG / 0.02)):
        if service.has_ended() or service.readiness()[0] is not None:
            return
        pause(0.02)
    raise Broken(f"{service.name} doesn't answer after a start on a full disk, see {service.log}")


def _stop(service: Service) -> None:
    """Stop a service, and check its exit code and log."""
    if (code := service.stop()) != 0:
        raise Broken(f"{service.name} ended with {code}, see {service.log}")
    if "Traceback" in service.log.read_text():
        raise Broken(f"{service.name} logged an unexpected error, see {service.log}")


def _wait_until_unready(service: Service) -> None:
    """Wait until the service reports that nothing can be stored."""
    for _ in range(int(LONG / 0.05)):
        if service.readiness()[0] == 503:
            return
        pause(0.05)
    raise Broken(f"{service.name} reports that it is ready for {LONG} s on a full disk: {service.readiness()}")


def _check_readiness(trial: Trial, service: Service, clients: Clients, disk: Disk) -> None:
    """Compare readiness with the results of estimates, without other clients."""
    for free in (0, _some_space(trial, MIB), 0):
        disk.leave(free)
        contradictions = [_find_contradiction(service, clients) for _ in range(_PROBES)]
        trial.counts["readiness checks on a full disk"] += len(contradictions)
        if all(contradictions):
            raise Broken(f"{service.name}: {contradictions[-1]}")


def _find_contradiction(service: Service, clients: Clients) -> str | None:
    """Describe the contradiction if readiness is the same before and after an estimate, but differs from its result."""
    before, _ = service.readiness()
    operation = clients.estimate()
    after, document = service.readiness()
    status = operation and operation.status
    if before != after or (after == 200) == (status == 200):
        return None
    return f"readiness is {after}, but an estimate was answered with {status}: {document}"


_KINDS: tuple[Callable[[Trial], None], ...] = (spool, sqlite, models)

ATTACK = Attack(
    name="disks",
    title="Full disks under load: spool, SQLite, model versions",
    unit="full disks",
    full=60,
    quick=3,
    each=3,
    must_hold="no 2xx unless stored; readiness is correct; recovery once there is space",
    run=run,
)
