"""Disks that get full under load: that of the spool, that of SQLite's files, and that of the model versions.

How much room is left, and when, is a matter of chance. A full disk may refuse, but not lie: what is acknowledged is
stored, readiness says whether an estimate can be stored, and once there is room again everything goes on by itself.
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
_RESERVE = 8 * MIB
"""What the spool keeps for itself from its first prediction on."""
_PROBES = 12
"""Probes, each of which takes the disk a page or two: a reading that is wrong for so long is no matter of a page."""


def run(trial: Trial) -> None:
    """Fill one disk after the other."""
    for unit in range(trial.units):
        kind = _KINDS[unit % len(_KINDS)]
        kind(trial)
        trial.counts[f"full disks: {kind.__name__}"] += 1


def spool(trial: Trial) -> None:
    """The disk gets full while PostgreSQL is away, and the spool leaves it."""
    with postgres.running() as cluster, History.written(trial.folder / "spool.jsonl") as history:
        cluster.create_database(_DATABASE)
        variables = {"HOUSEPREDICT_DATABASE_URL": cluster.url(_DATABASE), "HOUSEPREDICT_MODELS": "folder"}
        service = Service(trial.folder / "spool", free_port(), variables | _workers(trial))
        with mounted(service.folder / "data") as disk:
            # the keys are in PostgreSQL alone
            clients = Clients([service], history, trial.random, Mix(keyed=0))
            try:
                service.start()
                service.wait_until_ready()
                with clients.asking():
                    clients.wait_for(100)
                    cluster.stop("immediate")
                    for _ in range(trial.random.randint(1, 2)):
                        disk.leave(_some_room(trial, _lacking_reserve(disk) + 2 * MIB))
                        _wait_until_refused(service)
                        disk.leave(_lacking_reserve(disk) + _some_room(trial, MIB) + 256 * KIB)
                        clients.wait_for(1)
                    disk.leave(_some_room(trial, MIB))
                    _wait_until_refused(service)
                _require_truth(trial, service, clients, disk)
                if trial.random.random() < 0.5:
                    _kill(trial, service)
                    _require_truth(trial, service, clients, disk)
                with clients.asking():
                    cluster.start()
                    # it leaves a disk by itself that stays full
                    trial.took("until the spool had left a full disk", service.wait_until_caught_up())
                    clients.wait_for(1)
                    disk.relieve()
                    clients.wait_for(50)
                service.wait_until_caught_up()
                _stop(service)
            finally:
                service.destroy()
        trial.check(history, cluster.stored(_DATABASE))


def sqlite(trial: Trial) -> None:
    """The disk of predictions, sales and keys gets full where there is no PostgreSQL."""
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
                    disk.leave(_some_room(trial, 2 * MIB))
                    _wait_until_refused(service)
                    disk.leave(_some_room(trial, MIB) + 256 * KIB)
                    clients.wait_for(1)
                disk.leave(_some_room(trial, MIB))
                _wait_until_refused(service)
            _require_truth(trial, service, clients, disk)
            if trial.random.random() < 0.5:
                _kill(trial, service)
                _require_truth(trial, service, clients, disk)
            disk.relieve()
            trial.took("until ready once there was room", service.wait_until_ready(restart=True))
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
    """The disk of model versions gets full while one is trained or promoted."""
    service = Service(trial.folder / "models", free_port(), _workers(trial))
    with mounted(service.folder / "data" / "models") as disk:
        try:
            full_models.attack(trial, service, disk)
            _stop(service)
        finally:
            service.destroy()


def _some_room(trial: Trial, most: int) -> int:
    """Bytes: often few, sometimes none, at most `most`."""
    return int(most * trial.random.random() ** 2)


def _lacking_reserve(disk: Disk) -> int:
    """Bytes that the spool needs to have its reserve."""
    reserve = disk.folder / "spool.reserve"
    return _RESERVE - (reserve.stat().st_size if reserve.exists() else 0)


def _workers(trial: Trial) -> dict[str, str]:
    return {"HOUSEPREDICT_WORKERS": trial.random.choice("12")}


def _kill(trial: Trial, service: Service) -> None:
    """Kill a service with its workers while its disk is full, and start it there."""
    trial.counts["kills on a full disk"] += 1
    os.killpg(service.pid, signal.SIGKILL)
    service.kill()
    service.start()
    for _ in range(int(LONG / 0.02)):
        if service.has_ended() or service.readiness()[0] is not None:
            return
        pause(0.02)
    raise Broken(f"{service.name} does not answer after a start on a full disk, see {service.log}")


def _stop(service: Service) -> None:
    """Have it end in order, and look through what it has said."""
    if (code := service.stop()) != 0:
        raise Broken(f"{service.name} ended with {code}, see {service.log}")
    if "Traceback" in service.log.read_text():
        raise Broken(f"{service.name} came upon what it had not expected: see {service.log}")


def _wait_until_refused(service: Service) -> None:
    """Wait until it says that nothing can be stored."""
    for _ in range(int(LONG / 0.05)):
        if service.readiness()[0] == 503:
            return
        pause(0.05)
    raise Broken(f"{service.name} says that it is ready, for {LONG} s on a full disk: {service.readiness()}")


def _require_truth(trial: Trial, service: Service, clients: Clients, disk: Disk) -> None:
    """Compare what readiness says with what becomes of an estimate, when nobody else asks."""
    for free in (0, _some_room(trial, MIB), 0):
        disk.leave(free)
        lies = [_lie(service, clients) for _ in range(_PROBES)]
        trial.counts["readings of readiness on a full disk"] += len(lies)
        if all(lies):
            raise Broken(f"{service.name}: {lies[-1]}")


def _lie(service: Service, clients: Clients) -> str | None:
    """What is wrong about readiness, if it is the same before and after an estimate of which it says something else."""
    before, _ = service.readiness()
    asked = clients.estimate()
    after, document = service.readiness()
    status = asked and asked.status
    if before != after or (after == 200) == (status == 200):
        return None
    return f"readiness says {after}, and an estimate was answered with {status}: {document}"


_KINDS: tuple[Callable[[Trial], None], ...] = (spool, sqlite, models)

ATTACK = Attack(
    name="disks",
    title="Disks that get full under load: the spool's, that of SQLite's files, and that of the model versions",
    unit="full disks",
    full=60,
    quick=3,
    each=3,
    must_hold="no 2xx unless the record is stored; readiness tells the truth; goes on once there is room",
    run=run,
)
