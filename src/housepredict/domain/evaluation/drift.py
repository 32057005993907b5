"""How far houses have drifted from the training data."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import accumulate, pairwise
from statistics import NormalDist
from typing import Any, Final

from attrs import frozen

from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value
from housepredict.domain.models import Artifact, require_format

QUANTILES = 10
"""The most bins of numbers and dates, without the one for missing values."""

MAX_CATEGORIES = 20
"""The most categories with a bin each; all others share one."""

CERTAINTY = 0.99
"""The probability that chance alone stays below `chance_level`."""

MISSING, OTHER = "missing", "other"


@frozen
class Ranges:
    """Bins of numbers or dates (as text) by ascending upper `edges`, one for values above all, and one for missing."""

    edges: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.edges) + 2

    def bin_of(self, value: Value | None) -> int:
        """The position of a value's bin."""
        return len(self.edges) + 1 if value is None else bisect_left(self.edges, value)

    def labels(self) -> list[str]:
        """A label for each bin."""
        if not self.edges:
            return ["any", MISSING]
        between = [f"over {low} to {high}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return [f"to {self.edges[0]}", *between, f"over {self.edges[-1]}", MISSING]


@frozen
class Groups:
    """Bins of categories or booleans: one for each of `values`, one for all others, and one for missing values."""

    values: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.values) + 2

    def bin_of(self, value: Value | None) -> int:
        """The position of a value's bin."""
        if value is None:
            return len(self.values) + 1
        return self.values.index(value) if value in self.values else len(self.values)

    def labels(self) -> list[str]:
        """A label for each bin."""
        return [*(str(each) for each in self.values), OTHER, MISSING]


Bins = Ranges | Groups


@frozen
class Distribution:
    """The number of values in each bin, at least one of them above zero."""

    bins: Bins
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        """The number of values."""
        return sum(self.counts)


def ranges_of(values: Iterable[Value]) -> Ranges:
    """Bins that hold a tenth of the values each, as far as ties allow: a value that fills tenths has its own bin."""
    ordered: list[Value] = sorted(values)
    if not ordered:
        return Ranges(())
    quantiles = Counter(ordered[-(-tenth * len(ordered) // QUANTILES) - 1] for tenth in range(1, QUANTILES))
    edges = set(quantiles)
    for value, times in quantiles.items():
        first = bisect_left(ordered, value)
        if times > 1 and first:
            edges.add(ordered[first - 1])
    # no value is above the largest
    edges.discard(ordered[-1])
    return Ranges(tuple(sorted(edges)))


def groups_of(values: Iterable[Value]) -> Groups:
    """Bins for the most common values."""
    counts = Counter(values)
    common = sorted(counts, key=lambda value: (-counts[value], str(value)))
    return Groups(tuple(common[:MAX_CATEGORIES]))


def distribution(bins: Bins, values: Iterable[Value | None]) -> Distribution:
    """Count values by bin."""
    counts = Counter(map(bins.bin_of, values))
    return Distribution(bins, tuple(counts[position] for position in range(len(bins))))


def stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """The population stability index of two counts of the same bins: the sum of (a - e) ln(a / e) over their shares.

    It is 0 for equal shares and has no upper bound. A bin that is empty in one of the two counts as half a value there;
    one that is empty in both is skipped. (Siddiqi, Credit Risk Scorecards, Wiley 2006, chapter 8.)
    """
    expected_n, actual_n = sum(expected), sum(actual)
    total = 0.0
    for e, a in zip(expected, actual, strict=True):
        if e or a:
            expected_share, actual_share = (e or 0.5) / expected_n, (a or 0.5) / actual_n
            total += (actual_share - expected_share) * math.log(actual_share / expected_share)
    return total


def chance_level(expected: Sequence[int], actual: Sequence[int]) -> float:
    """The value that a stability index stays below with 99% probability if nothing changed and values are independent.

    Divided by 1/N + 1/M, for the two sizes, it is about chi-squared distributed with one degree of freedom less than
    bins (Yurdakul, Statistical Properties of the Population Stability Index, Western Michigan University 2018).
    """
    bins = sum(1 for e, a in zip(expected, actual, strict=True) if e or a)
    return chi_squared_quantile(CERTAINTY, bins - 1) * (1 / sum(expected) + 1 / sum(actual))


def chi_squared_quantile(probability: float, degrees: int) -> float:
    """The quantile of the chi-squared distribution, to within one percent from 0.9 on; 0 without degrees of freedom.

    (Wilson and Hilferty, The Distribution of Chi-Square, PNAS 17 (1931), 684-688.)
    """
    if degrees == 0:
        return 0.0
    spread = 2 / (9 * degrees)
    root = 1 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)
    return degrees * float(root**3)


SNAPSHOT_FILE: Final = "snapshot.json"
"""The file of a snapshot."""

_FORMAT = 1
_GROUPED = (Kind.CATEGORY, Kind.BOOLEAN)


@frozen
class Snapshot:
    """The distributions of a version's features in the training sales, by name, and of its estimates of others.

    The date of sale is not among the features: time always moves.
    """

    features: Mapping[str, Distribution]
    estimates: Distribution


def snapshot(schema: FeatureSchema, houses: Sequence[House], estimates: Sequence[float]) -> Snapshot:
    """The snapshot of a training: from its houses, and from estimates of held-out ones."""
    prices = [round(each, 2) for each in estimates]
    return Snapshot(
        {feature.name: _spread(feature, houses) for feature in schema.features if feature.name != schema.sale_date},
        distribution(ranges_of(prices), prices),
    )


def _spread(feature: Feature, houses: Sequence[House]) -> Distribution:
    values = [house.values.get(feature.name) for house in houses]
    present = [value for value in values if value is not None]
    bins: Bins = groups_of(present) if feature.kind in _GROUPED else ranges_of(present)
    return distribution(bins, values)


def write_snapshot(snapshot: Snapshot) -> bytes:
    """Write a snapshot as a file."""
    features = {name: _document(spread) for name, spread in snapshot.features.items()}
    document = {"format": _FORMAT, "features": features, "estimates": _document(snapshot.estimates)}
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _document(spread: Distribution) -> dict[str, Any]:
    bins = spread.bins
    values = {"edges": bins.edges} if isinstance(bins, Ranges) else {"values": bins.values}
    return {**values, "counts": spread.counts}


def read_snapshot(artifact: Artifact) -> Snapshot | None:
    """Read the snapshot of a version; None for a version of an older release. Raises RefusedModel if it is damaged."""
    if SNAPSHOT_FILE not in artifact:
        return None
    try:
        document = json.loads(artifact[SNAPSHOT_FILE])
        require_format(document["format"], _FORMAT, SNAPSHOT_FILE)
        features = {str(name): _read(each) for name, each in document["features"].items()}
        return Snapshot(features, _read(document["estimates"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RefusedModel(f"{SNAPSHOT_FILE} holds no snapshot: {error}") from error


def _read(document: Mapping[str, Any]) -> Distribution:
    bins: Bins = Ranges(tuple(document["edges"])) if "edges" in document else Groups(tuple(document["values"]))
    counts = tuple(document["counts"])
    if isinstance(bins, Ranges) and not all(
        low < high  # type: ignore[operator]  # or it raises TypeError
        for low, high in pairwise(bins.edges)
    ):
        raise ValueError(f"edges that do not ascend: {bins.edges}")
    if len(counts) != len(bins) or not all(type(each) is int and each >= 0 for each in counts) or not any(counts):
        raise ValueError(f"counts of {len(bins)} bins: {counts}")
    return Distribution(bins, counts)


def typical_values(snapshot: Snapshot) -> Mapping[str, Value]:
    """The middle or the most common value of each feature that most training houses had."""
    values = {name: _typical(spread) for name, spread in snapshot.features.items()}
    return {name: value for name, value in values.items() if value is not None}


def _typical(spread: Distribution) -> Value | None:
    *present, missing = spread.counts
    if missing > sum(present):
        return None
    bins = spread.bins
    if isinstance(bins, Ranges):
        half = sum(present) / 2
        reached = (edge for edge, count in zip(bins.edges, accumulate(present), strict=False) if count >= half)
        # the bin above the last edge has no upper bound
        return next(reached, bins.edges[-1] if bins.edges else None)
    # the last of the groups is for all other values
    return max(zip(present[:-1], bins.values, strict=True), key=lambda each: each[0])[1] if bins.values else None


MOVING = 0.1
"""A stability index below this is called stable."""

DRIFTED = 0.25
"""A stability index above this is called drifted."""

MIN_ESTIMATES = 100
"""With fewer estimates, there are too few to tell."""


class Movement(StrEnum):
    """How far values have moved; `too few` if there are not enough estimates to tell."""

    TOO_FEW = "too few"
    STABLE = "stable"
    MOVING = "moving"
    DRIFTED = "drifted"


@frozen
class BinShare:
    """The share of the values in a bin, in percent: in the training, and since."""

    label: str
    expected: float
    actual: float


@frozen
class Shift:
    """How far values have moved: the population stability index, and the `chance_level`; None without estimates."""

    psi: float | None
    chance: float | None
    movement: Movement
    bins: tuple[BinShare, ...] = ()


@frozen
class FeatureDrift:
    """How far a feature has moved; `out_of_range` is the share of the estimates with a warning of it, in percent."""

    name: str
    shift: Shift
    out_of_range: float | None


@frozen
class Drift:
    """How far houses and estimates have drifted from the training data of a version.

    Of the newest `examined` predictions, `n` are the version's, the oldest of them from `since`; `out_of_range` is
    their share, in percent, with a warning of any feature.
    """

    model_version: str
    examined: int
    n: int
    since: datetime | None
    estimates: Shift
    features: tuple[FeatureDrift, ...]
    out_of_range: float | None


def drift(model_version: str, trained_on: Snapshot, predictions: Sequence[Prediction]) -> Drift:
    """The drift of a version, from predictions of any versions, newest first."""
    own = [each for each in predictions if each.estimate.model_version == model_version]
    estimates = [each.estimate for each in own]
    names = [{warning.feature for warning in each.warnings if warning.feature is not None} for each in estimates]
    warned = Counter(name for of_estimate in names for name in of_estimate)

    def feature_drift(name: str, expected: Distribution) -> FeatureDrift:
        values = [each.house.values.get(name) for each in estimates]
        return FeatureDrift(name, shift(expected, values), _percent(warned[name], len(own)))

    return Drift(
        model_version,
        examined=len(predictions),
        n=len(own),
        since=own[-1].created_at if own else None,
        estimates=shift(trained_on.estimates, [each.price for each in estimates]),
        features=tuple(feature_drift(name, expected) for name, expected in trained_on.features.items()),
        out_of_range=_percent(sum(map(bool, names)), len(own)),
    )


def shift(expected: Distribution, values: Sequence[Value | None]) -> Shift:
    """The shift of values from a distribution."""
    if not values:
        return Shift(None, None, Movement.TOO_FEW)
    actual = distribution(expected.bins, values)
    psi = stability_index(expected.counts, actual.counts)
    chance = chance_level(expected.counts, actual.counts)
    rows = zip(expected.bins.labels(), expected.counts, actual.counts, strict=True)
    bins = tuple(BinShare(label, 100 * e / expected.n, 100 * a / actual.n) for label, e, a in rows)
    return Shift(psi, chance, _called(psi, chance, len(values)), bins)


def _called(psi: float, chance: float, n: int) -> Movement:
    if n < MIN_ESTIMATES:
        return Movement.TOO_FEW
    if psi < MOVING or psi <= chance:
        return Movement.STABLE
    return Movement.DRIFTED if psi > DRIFTED else Movement.MOVING


def _percent(some: int, of: int) -> float | None:
    return 100 * some / of if of else None
