"""Clock jumps of services and of PostgreSQL. Nothing may be lost, or pruned too early."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from uuid import UUID

from attrs import frozen

from campaign import postgres
from campaign.attacks.faults.system import DATABASE, System, serving
from campaign.history import Action
from campaign.readiness import AVAILABLE
from campaign.services import Service, pause
from campaign.trials import Trial, Unavailable

_NAME = "clock jumps"
_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/local/lib/faketime/libfaketimeMT.so.1")
_JUMPS = 4
_HOUR_S, _DAY_S = 3600, 86_400
_RETENTION_DAYS = 400
"""Retention of predictions in one of the services. The clocks jump by much less."""


@frozen
class _Clock:
    """The offset of a process's clock, in seconds, in a file that it reads each time."""

    file: Path

    def move(self, seconds: int) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.chmod(0o644)
        new.rename(self.file)  # atomic for readers

    def variables(self) -> Mapping[str, str]:
        """Return the environment variables of a process with this clock."""
        library = _library()
        if library is None:
            return {"CAMPAIGN_CLOCK": str(self.file)}
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            # As when a clock is set, the monotonic clock and the times of files don't change.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # otherwise, threads wait too long for each other
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
        }


def run(trial: Trial) -> None:
    """Move the clocks of the services and of the server back and forth.

    Raises:
        Unavailable: at the end, without libfaketime: only the services' clocks were moved.
    """
    first, second, servers = [_Clock(trial.folder / f"clock-{name}") for name in ("first", "second", "server")]
    for each in (first, second, servers):
        each.move(0)
    has_library = _library() is not None
    prefix = ("env", *(f"{name}={value}" for name, value in servers.variables().items())) if has_library else ()
    module = "housepredict" if has_library else "campaign.shifted_service"
    # This service prunes older predictions whenever it starts.
    pruning = {**first.variables(), "HOUSEPREDICT_KEEP": f"{_RETENTION_DAYS}d"}
    with postgres.running(prefix) as cluster:
        cluster.create_database(DATABASE)
        url = cluster.url(DATABASE)
        with serving(trial, cluster, url, pruning, second.variables(), module=module) as system:
            clocks = [("a service", first, system.services[0]), ("a service", second, system.services[1])]
            for _ in range(_JUMPS):
                _jump(system, *trial.random.choice([*clocks, ("the server", servers, None)][: 3 if has_library else 2]))
        system.check(cluster.stored(DATABASE), steady_clock=False)
        trial.counts[f"faults: {_NAME}"] += 1
    if not has_library:
        raise Unavailable("clock jumps of PostgreSQL: libfaketime is not installed")


def _jump(system: System, whose: str, clock: _Clock, service: Service | None) -> None:
    random = system.trial.random
    seconds = random.choice([-1, 1]) * random.choice([random.randint(1, 23) * _HOUR_S, random.randint(1, 30) * _DAY_S])
    system.clients.wait_for(random.randint(20, 100))
    began = time.monotonic()
    clock.move(seconds)
    system.clients.wait_for(random.randint(20, 100))
    restarted = random.choice([None, service, system.services[0]])
    if restarted:
        system.restart(restarted)
    pause(random.uniform(0, 1))
    over = time.monotonic()
    system.recover(f"a clock jump of {whose}", began, system.services)
    assert _is_moved(system, service, seconds), f"the clock of {whose} has not moved"
    for each in system.services:
        if each is not restarted:
            system.check_readiness(_NAME, each, AVAILABLE, began, over)
    system.trial.counts[f"clock jumps of {whose}, {'back' if seconds < 0 else 'forward'}"] += 1


def _is_moved(system: System, service: Service | None, seconds: int) -> bool:
    """Return whether the ids of a service, or the time of the server, show that its clock was moved by `seconds`."""
    if service is None:
        [(now,)] = system.cluster.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        return bool(abs(now - time.time() - seconds) < _HOUR_S / 2)
    acknowledged = (
        operation
        for operation in list(system.history.operations)
        if operation.action is Action.ESTIMATE and operation.answer
    )
    latest = max(UUID(made.answer["id"]).int >> 80 for made in acknowledged if made.service == service.name)
    return latest / 1000 - time.time() > seconds - _HOUR_S / 2  # ids never go back


@cache
def _library() -> str | None:
    """Return the path of libfaketime for threads; None if it isn't installed."""
    libraries = (path for pattern in _LIBRARIES for path in Path("/").glob(pattern.removeprefix("/")))
    return next(map(str, libraries), None)
