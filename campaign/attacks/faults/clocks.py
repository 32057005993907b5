"""Clocks jump, that of a service and that of PostgreSQL: nothing is lost, and nothing forgotten before its time."""

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
_HOUR, _DAY = 3600, 86_400
_KEEP_DAYS = 400
"""How long one of the services keeps predictions; the clocks jump by much less."""


@frozen
class _Clock:
    """The seconds that a process's clock is ahead, in a file that it reads each time."""

    file: Path

    def move(self, seconds: int) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.chmod(0o644)
        new.rename(self.file)  # whoever reads it sees all of it

    def variables(self) -> Mapping[str, str]:
        """The environment of a process with this clock."""
        library = _library()
        if library is None:
            return {"CAMPAIGN_CLOCK": str(self.file)}
        return {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            # a clock that is set leaves the monotonic one and the times of files alone
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # threads that wait for each other would wait too long
            "FAKETIME_DISABLE_SHM": "1",
            "NO_FAKE_STAT": "1",
        }


def run(trial: Trial) -> None:
    """Have the clocks of the services and of the server jump back and forth.

    Raises Unavailable without libfaketime, if nothing else is wrong: then the services' own clocks have jumped alone.
    """
    first, second, servers = [_Clock(trial.folder / f"clock-{name}") for name in ("first", "second", "server")]
    for each in (first, second, servers):
        each.move(0)
    has_library = _library() is not None
    prefix = ("env", *(f"{name}={value}" for name, value in servers.variables().items())) if has_library else ()
    module = "housepredict" if has_library else "campaign.shifted_service"
    # it forgets what is older whenever it starts
    keeps = {**first.variables(), "HOUSEPREDICT_KEEP": f"{_KEEP_DAYS}d"}
    with postgres.running(prefix) as cluster:
        cluster.create_database(DATABASE)
        url = cluster.url(DATABASE)
        with serving(trial, cluster, url, keeps, second.variables(), module=module) as system:
            clocks = [("a service", first, system.services[0]), ("a service", second, system.services[1])]
            for _ in range(_JUMPS):
                _jump(system, *trial.random.choice([*clocks, ("the server", servers, None)][: 3 if has_library else 2]))
        system.check(cluster.stored(DATABASE), steady_clock=False)
        trial.counts[f"faults: {_NAME}"] += 1
    if not has_library:
        raise Unavailable("clock jumps of PostgreSQL: libfaketime is not installed")


def _jump(system: System, whose: str, clock: _Clock, jumping: Service | None) -> None:
    random = system.trial.random
    seconds = random.choice([-1, 1]) * random.choice([random.randint(1, 23) * _HOUR, random.randint(1, 30) * _DAY])
    system.clients.wait_for(random.randint(20, 100))
    began = time.monotonic()
    clock.move(seconds)
    system.clients.wait_for(random.randint(20, 100))
    restarted = random.choice([None, jumping, system.services[0]])
    if restarted:
        system.restart(restarted)
    pause(random.uniform(0, 1))
    over = time.monotonic()
    system.recover(f"a clock jump of {whose}", began, system.services)
    assert _is_moved(system, jumping, seconds), f"the clock of {whose} has not moved"
    for each in system.services:
        if each is not restarted:
            system.check_readiness(_NAME, each, AVAILABLE, began, over)
    system.trial.counts[f"clock jumps of {whose}, {'back' if seconds < 0 else 'forward'}"] += 1


def _is_moved(system: System, jumping: Service | None, seconds: int) -> bool:
    """Whether a service's ids show that its clock is so far ahead, or the server that its own is."""
    if jumping is None:
        [(now,)] = system.cluster.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
        return bool(abs(now - time.time() - seconds) < _HOUR / 2)
    acknowledged = (each for each in list(system.history.operations) if each.action is Action.ESTIMATE and each.answer)
    latest = max(UUID(each.answer["id"]).int >> 80 for each in acknowledged if each.service == jumping.name)
    return latest / 1000 - time.time() > seconds - _HOUR / 2  # ids do not go back


@cache
def _library() -> str | None:
    """Where libfaketime is, as it is for programs with threads; None where it is not installed."""
    found = (each for pattern in _LIBRARIES for each in Path("/").glob(pattern.removeprefix("/")))
    return next(map(str, found), None)
