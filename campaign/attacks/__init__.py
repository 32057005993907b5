"""The attacks, in the order of the report."""

from __future__ import annotations

from campaign.attacks import cuts, disks, erasures, fakes, faults, keys, kills, torn, upgrades
from campaign.trials import Attack

ATTACKS: tuple[Attack, ...] = (
    kills.ATTACK,
    cuts.ATTACK,
    faults.ATTACK,
    disks.ATTACK,
    torn.ATTACK,
    erasures.ATTACK,
    keys.ATTACK,
    upgrades.ATTACK,
    fakes.ATTACK,
)
