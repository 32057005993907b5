"""The attacks, in the order of the report."""

from __future__ import annotations

from campaign.attacks import disks, kills, torn
from campaign.trials import Attack

ATTACKS: tuple[Attack, ...] = (kills.ATTACK, disks.ATTACK, torn.ATTACK)
