"""Drift: how far recent houses and estimates have moved from the training data of a version."""

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
"""The largest number of bins for numbers and dates, apart from the bin for missing values."""

MAX_CATEGORIES = 20
"""The largest number of categories with a bin of their own; all others share one bin."""

CERTAINTY = 0.99
"""The probability that a stability index stays below `chance_level` if nothing has changed."""

MISSING, OTHER = "missing", "other"


@frozen
class Ranges:
    """Bins of numbers or dates (as text): one up to each of the ascending `edges`, one above, one for missing."""

    edges: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.edges) + 2

    def bin_of(self, value: Value | None) -> int:
        """Return the position of the bin of a value."""
        return len(self.edges) + 1 if value is None else bisect_left(self.edges, value)

    def labels(self) -> list[str]:
        """Return a label for each bin."""
        if not self.edges:
            return ["any", MISSING]
        between = [f"over {low} to {high}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return [f"to {self.edges[0]}", *between, f"over {self.edges[-1]}", MISSING]


@frozen
class Groups:
    """Bins of categories or booleans: one for each of `values`, one for all others, one for missing values."""

    values: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.values) + 2

    def bin_of(self, value: Value | None) -> int:
        """Return the position of the bin of a value."""
        if value is None:
            return len(self.values) + 1
        return self.values.index(value) if value in self.values else len(self.values)

    def labels(self) -> list[str]:
        """Return a label for each bin."""
        return [*map(str, self.values), OTHER, MISSING]


Bins = Ranges | Groups


@frozen
class Distribution:
    """The number of values in each bin; at least one bin has a value."""

    bins: Bins
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        """The number of values."""
        return sum(self.counts)


def ranges_of(values: Iterable[Value]) -> Ranges:
    """Choose bins with a tenth of the values each, as far as ties allow; a value that fills a tenth has its own bin."""
    ordered: list[Value] = sorted(values)
    if not ordered:
        return Ranges(())
    cuts = Counter(ordered[-(-tenth * len(ordered) // QUANTILES) - 1] for tenth in range(1, QUANTILES))
    edges = set(cuts)
    for value, times in cuts.items():
        first = bisect_left(ordered, value)
        if times > 1 and first:
            edges.add(ordered[first - 1])
    # An edge at the largest value would leave the last bin empty.
    edges.discard(ordered[-1])
    return Ranges(tuple(sorted(edges)))


def groups_of(values: Iterable[Value]) -> Groups:
    """Choose bins for the most common values."""
    counts = Counter(values)
    common = sorted(counts, key=lambda value: (-counts[value], str(value)))
    return Groups(tuple(common[:MAX_CATEGORIES]))


def distribution(bins: Bins, values: Iterable[Value | None]) -> Distribution:
    """Count the values in each bin."""
    counts = Counter(map(bins.bin_of, values))
    return Distribution(bins, tuple(counts[position] for position in range(len(bins))))


def stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Compute the population stability index: the sum of (a - e) ln(a / e) over the shares a and e of each bin.

    It is 0 for equal shares and has no upper bound. A bin that is empty on one side counts as half a value there; one
    that is empty on both sides is skipped. (Siddiqi, Credit Risk Scorecards, Wiley 2006, chapter 8.)
    """
    expected_n, actual_n = sum(expected), sum(actual)
    total = 0.0
    for e, a in zip(expected, actual, strict=True):
        if e or a:
            expected_share, actual_share = (e or 0.5) / expected_n, (a or 0.5) / actual_n
            total += (actual_share - expected_share) * math.log(actual_share / expected_share)
    return total


def chance_level(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Compute the value that a stability index stays below with 99% probability if nothing has changed.

    For independent values and samples of sizes N and M, the index divided by 1/N + 1/M is approximately chi-squared
    distributed, with one degree of freedom less than there are bins (Yurdakul, Statistical Properties of the
    Population Stability Index, Western Michigan University 2018).
    """
    bins = sum(1 for e, a in zip(expected, actual, strict=True) if e or a)
    return chi_squared_quantile(CERTAINTY, bins - 1) * (1 / sum(expected) + 1 / sum(actual))


def chi_squared_quantile(probability: float, degrees: int) -> float:
    """Approximate a quantile of the chi-squared distribution; 0 without degrees of freedom.

    The error is below 1% for probabilities from 0.9. (Wilson and Hilferty, The Distribution of Chi-Square, PNAS 17
    (1931), 684-688.)
    """
    if degrees == 0:
        return 0.0
    spread = 2 / (9 * degrees)
    root = 1 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)
    return degrees * float(root**3)


SNAPSHOT_FILE: Final = "snapshot.json"
"""The name of the file with the snapshot of a version."""

_FORMAT = 1
_GROUPED = (Kind.CATEGORY, Kind.BOOLEAN)


@frozen
class Snapshot:
    """The training snapshot of a version: the distribution of each feature in the training sales, and of the estimates
    of the held-out sales.

    The sale date is not among the features, since it always moves.
    """

    features: Mapping[str, Distribution]
    estimates: Distribution


def snapshot(schema: FeatureSchema, houses: Sequence[House], estimates: Sequence[float]) -> Snapshot:
    """Create the snapshot from the training houses and the estimates of held-out houses."""
    prices = [round(estimate, 2) for estimate in estimates]
    return Snapshot(
        {
            feature.name: _distribution_of(feature, houses)
            for feature in schema.features
            if feature.name != schema.sale_date
        },
        distribution(ranges_of(prices), prices),
    )


def _distribution_of(feature: Feature, houses: Sequence[House]) -> Distribution:
    values = [house.values.get(feature.name) for house in houses]
    present = [value for value in values if value is not None]
    bins: Bins = groups_of(present) if feature.kind in _GROUPED else ranges_of(present)
    return distribution(bins, values)


def write_snapshot(snapshot: Snapshot) -> bytes:
    """Serialize a snapshot as the content of its file."""
    features = {name: _document(counted) for name, counted in snapshot.features.items()}
    document = {"format": _FORMAT, "features": features, "estimates": _document(snapshot.estimates)}
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _document(distribution: Distribution) -> dict[str, Any]:
    bins = distribution.bins
    values = {"edges": bins.edges} if isinstance(bins, Ranges) else {"values": bins.values}
    return {**values, "counts": distribution.counts}


def read_snapshot(artifact: Artifact) -> Snapshot | None:
    """Read the snapshot of a version; None for a version of an older release. Raises RefusedModel if it is damaged."""
    if SNAPSHOT_FILE not in artifact:
        return None
    try:
        document = json.loads(artifact[SNAPSHOT_FILE])
        require_format(document["format"], _FORMAT, SNAPSHOT_FILE)
        features = {str(name): _read(counts) for name, counts in document["features"].items()}
        return Snapshot(features, _read(document["estimates"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RefusedModel(f"{SNAPSHOT_FILE} is damaged: {error}") from error


def _read(document: Mapping[str, Any]) -> Distribution:
    bins: Bins = Ranges(tuple(document["edges"])) if "edges" in document else Groups(tuple(document["values"]))
    counts = tuple(document["counts"])
    if isinstance(bins, Ranges) and not all(
        low < high  # type: ignore[operator]  # A TypeError is handled by the caller.
        for low, high in pairwise(bins.edges)
    ):
        raise ValueError(f"edges must ascend, not be {bins.edges}")
    if len(counts) != len(bins) or not all(type(count) is int and count >= 0 for count in counts) or not any(counts):
        raise ValueError(f"counts must be whole numbers for {len(bins)} bins, not {counts}")
    return Distribution(bins, counts)


def typical_values(snapshot: Snapshot) -> Mapping[str, Value]:
    """Return a typical value, the median or the most common one, of each feature that most training houses have."""
    values = {name: _typical(counted) for name, counted in snapshot.features.items()}
    return {name: value for name, value in values.items() if value is not None}


def _typical(distribution: Distribution) -> Value | None:
    *present, missing = distribution.counts
    if missing > sum(present):
        return None
    bins = distribution.bins
    if isinstance(bins, Ranges):
        half = sum(present) / 2
        reached = (edge for edge, count in zip(bins.edges, accumulate(present), strict=False) if count >= half)
        # The bin above the last edge has no upper bound, so that edge stands for it.
        return next(reached, bins.edges[-1] if bins.edges else None)
    # The last of the present bins is for all other values.
    return max(zip(present[:-1], bins.values, strict=True), key=lambda group: group[0])[1] if bins.values else None


MOVING = 0.1
"""A stability index below this counts as stable."""

DRIFTED = 0.25
"""A stability index above this counts as drifted."""

MIN_ESTIMATES = 100
"""The smallest number of estimates that drift is judged by."""


class Movement(StrEnum):
    """How far values have moved; `too few` if there are not enough estimates to judge."""

    TOO_FEW = "too few"
    STABLE = "stable"
    MOVING = "moving"
    DRIFTED = "drifted"


@frozen
class BinShare:
    """The share of the values that are in a bin, in percent: `expected` at the training, and `actual` since."""

    label: str
    expected: float
    actual: float


@frozen
class Shift:
    """How far values have moved: the population stability index and its `chance_level`, None without estimates."""

    psi: float | None
    chance: float | None
    movement: Movement
    bins: tuple[BinShare, ...] = ()


@frozen
class FeatureDrift:
    """How far a feature has moved. `out_of_range` is the share of estimates with a warning about it, in percent."""

    name: str
    shift: Shift
    out_of_range: float | None


@frozen
class Drift:
    """How far houses and estimates have drifted from the training data of a version.

    Attributes:
        model_version: the name of the version.
        examined: the number of examined predictions, the newest of all versions.
        n: the number of examined predictions that this version made.
        since: the time of the oldest of these.
        out_of_range: the share of the estimates with a warning about any feature, in percent.
    """

    model_version: str
    examined: int
    n: int
    since: datetime | None
    estimates: Shift
    features: tuple[FeatureDrift, ...]
    out_of_range: float | None


def drift(model_version: str, trained_on: Snapshot, predictions: Sequence[Prediction]) -> Drift:
    """Measure the drift of a version from its snapshot, in recent predictions of any versions, newest first."""
    made = [prediction for prediction in predictions if prediction.estimate.model_version == model_version]
    estimates = [prediction.estimate for prediction in made]
    warned = [
        {warning.feature for warning in estimate.warnings if warning.feature is not None} for estimate in estimates
    ]
    warnings = Counter(name for names in warned for name in names)

    def feature_drift(name: str, expected: Distribution) -> FeatureDrift:
        values = [estimate.house.values.get(name) for estimate in estimates]
        return FeatureDrift(name, shift(expected, values), _percent(warnings[name], len(made)))

    return Drift(
        model_version,
        examined=len(predictions),
        n=len(made),
        since=made[-1].created_at if made else None,
        estimates=shift(trained_on.estimates, [estimate.price for estimate in estimates]),
        features=tuple(feature_drift(name, expected) for name, expected in trained_on.features.items()),
        out_of_range=_percent(sum(map(bool, warned)), len(made)),
    )


def shift(expected: Distribution, values: Sequence[Value | None]) -> Shift:
    """Measure how far values have moved from a distribution."""
    if not values:
        return Shift(None, None, Movement.TOO_FEW)
    actual = distribution(expected.bins, values)
    psi = stability_index(expected.counts, actual.counts)
    chance = chance_level(expected.counts, actual.counts)
    rows = zip(expected.bins.labels(), expected.counts, actual.counts, strict=True)
    bins = tuple(BinShare(label, 100 * e / expected.n, 100 * a / actual.n) for label, e, a in rows)
    return Shift(psi, chance, _movement(psi, chance, len(values)), bins)


def _movement(psi: float, chance: float, n: int) -> Movement:
    if n < MIN_ESTIMATES:
        return Movement.TOO_FEW
    if psi < MOVING or psi <= chance:
        return Movement.STABLE
    return Movement.DRIFTED if psi > DRIFTED else Movement.MOVING


def _percent(part: int, total: int) -> float | None:
    return 100 * part / total if total else None
