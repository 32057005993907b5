"""A house as most are, of what a version was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from housepredict.domain.distributions import Distribution, Ranges
from housepredict.domain.features import Value
from housepredict.domain.snapshots import Snapshot


def typical_values(snapshot: Snapshot) -> Mapping[str, Value]:
    """For each feature the middle or the commonest of its values: one that a house of the training had.

    What most of those houses lacked is left out.
    """
    found = {name: _typical(spread) for name, spread in snapshot.features.items()}
    return {name: value for name, value in found.items() if value is not None}


def _typical(spread: Distribution) -> Value | None:
    *present, missing = spread.counts
    if missing > sum(present):
        return None
    bins = spread.bins
    if isinstance(bins, Ranges):
        half = sum(present) / 2
        reached = (edge for edge, count in zip(bins.edges, accumulate(present), strict=False) if count >= half)
        # what is behind the last edge has no bound that a house is known to have
        return next(reached, bins.edges[-1] if bins.edges else None)
    # the last of the groups is of all other values together
    return max(zip(present[:-1], bins.values, strict=True), key=lambda each: each[0])[1] if bins.values else None
