"""The attacks, in the order of the report."""

from __future__ import annotations

from campaign.attacks import cuts, erasures, fakes, faults, keys, kills, upgrades
from campaign.trials import Attack

ATTACKS: tuple[Attack, ...] = (
    kills.ATTACK,
    cuts.ATTACK,
    faults.ATTACK,
    erasures.ATTACK,
    keys.ATTACK,
    upgrades.ATTACK,
    fakes.ATTACK,
)
