"""Faults of PostgreSQL under load. Estimates must continue, and readiness must report the fault and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from campaign.attacks.faults import clocks, disks, failover, migrations, servers
from campaign.trials import Attack, Trial, Unavailable


def _read_only(trial: Trial) -> None:
    trial.random.choice([servers.in_place(servers.READ_ONLY), servers.standby])(trial)


_FAULTS: Mapping[str, Callable[[Trial], None]] = {
    "failover": failover.run,
    "read-only": _read_only,
    "password": servers.in_place(servers.PASSWORD_CHANGED),
    "connections": servers.in_place(servers.NO_CONNECTIONS),
    "lock": servers.in_place(servers.LOCKED),
    "timeout": servers.in_place(servers.SHORT_TIMEOUT),
    "disk": disks.run,
    "migration": migrations.run,
    "clocks": clocks.run,
}


def run(trial: Trial) -> None:
    """Run the fault with the number of the trial. A trial of several units runs as many random faults."""
    faults = list(_FAULTS.values())
    if trial.units == 1:
        faults[trial.number % len(faults)](trial)
        return
    unavailable = []
    for number in trial.random.sample(range(len(faults)), trial.units):
        try:
            faults[number](trial.part(number))
        except Unavailable as reason:
            unavailable.append(str(reason))
    if unavailable:
        raise Unavailable("; ".join(unavailable))


ATTACK = Attack(
    name="faults",
    title="Nine kinds of PostgreSQL faults under load, from failover to clock jumps",
    unit="faults",
    full=45,
    quick=2,
    each=1,
    must_hold="nothing lost or duplicated; readiness is correct",
    run=run,
)
