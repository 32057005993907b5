"""How far the houses that are estimated have moved from those that a version was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from attrs import frozen

from housepredict.domain.distributions import Distribution, chance_level, distribution, stability_index
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import Value
from housepredict.domain.snapshots import Snapshot

MOVING = 0.1
"""A stability index below this is called stable."""

DRIFTED = 0.25
"""A stability index above this is called drifted."""

FEWEST = 100
"""Of fewer estimates nothing is said."""


class Movement(StrEnum):
    """What a stability index is called; `too few` if there are not enough estimates to call it anything."""

    TOO_FEW = "too few"
    STABLE = "stable"
    MOVING = "moving"
    DRIFTED = "drifted"


@frozen
class BinShare:
    """A bin, and the share of the values in it, in percent: in training, and since."""

    label: str
    expected: float
    actual: float


@frozen
class Shift:
    """How far values have moved: the population stability index, and what it stays below by chance in 99 of 100 cases.

    Both are None where nothing was estimated.
    """

    psi: float | None
    chance: float | None
    movement: Movement
    bins: tuple[BinShare, ...] = ()


@frozen
class FeatureDrift:
    """How far a feature has moved; `out_of_range` is the share of the estimates that warn of it, in percent."""

    name: str
    shift: Shift
    out_of_range: float | None


@frozen
class Drift:
    """How far houses and estimates have moved from what a version was trained on.

    `looked_at` predictions, the newest, were looked at; `n` of them are the version's, the oldest of those from
    `since`. `out_of_range` is the share of these, in percent, that warn of any feature.
    """

    model_version: str
    looked_at: int
    n: int
    since: datetime | None
    estimates: Shift
    features: tuple[FeatureDrift, ...]
    out_of_range: float | None


def drift(model_version: str, trained_on: Snapshot, predictions: Sequence[Prediction]) -> Drift:
    """The drift of a version over predictions, newest first, of which some may be those of others."""
    own = [each for each in predictions if each.estimate.model_version == model_version]
    estimates = [each.estimate for each in own]
    warned = Counter(name for each in estimates for name in _warned_of(each))
    return Drift(
        model_version,
        looked_at=len(predictions),
        n=len(own),
        since=own[-1].created_at if own else None,
        estimates=shift(trained_on.estimates, [each.price for each in estimates]),
        features=tuple(
            FeatureDrift(
                name,
                shift(expected, [each.house.values.get(name) for each in estimates]),
                _percent(warned[name], len(own)),
            )
            for name, expected in trained_on.features.items()
        ),
        out_of_range=_percent(sum(1 for each in estimates if _warned_of(each)), len(own)),
    )


def shift(expected: Distribution, values: Sequence[Value | None]) -> Shift:
    """How far values have moved from a distribution."""
    if not values:
        return Shift(None, None, Movement.TOO_FEW)
    actual = distribution(expected.bins, values)
    psi = stability_index(expected.counts, actual.counts)
    chance = chance_level(expected.counts, actual.counts)
    rows = zip(expected.bins.labels(), expected.counts, actual.counts, strict=True)
    bins = tuple(BinShare(label, 100 * e / expected.n, 100 * a / actual.n) for label, e, a in rows)
    return Shift(psi, chance, _called(psi, chance, len(values)), bins)


def _called(psi: float, chance: float, n: int) -> Movement:
    if n < FEWEST:
        return Movement.TOO_FEW
    if psi < MOVING or psi <= chance:
        return Movement.STABLE
    return Movement.DRIFTED if psi > DRIFTED else Movement.MOVING


def _warned_of(estimate: Estimate) -> set[str]:
    return {caveat.feature for caveat in estimate.caveats if caveat.feature is not None}


def _percent(some: int, of: int) -> float | None:
    return 100 * some / of if of else None
