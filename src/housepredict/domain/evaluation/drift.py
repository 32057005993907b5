"""Drift: how far recent houses and estimates have moved from a version's training data."""

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
"""Maximum number of bins for a numeric feature or a date, not counting the bin for missing values."""

MAX_CATEGORIES = 20
"""Maximum number of categories of a feature that get their own bin. All other categories share one bin."""

CERTAINTY = 0.99
"""Probability that the population stability index is below `chance_level` if nothing has changed."""

MISSING, OTHER = "missing", "other"


@frozen
class Ranges:
    """Bins for numbers, or for dates as text.

    The bins are, in this order: one for each edge, one for values above the last edge, and one for missing values.

    Attributes:
        edges: the inclusive upper limits of the bins, in ascending order.
    """

    edges: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.edges) + 2

    def bin_of(self, value: Value | None) -> int:
        """Return the index of the bin that contains a value."""
        return len(self.edges) + 1 if value is None else bisect_left(self.edges, value)

    def labels(self) -> list[str]:
        """Return a label for each bin."""
        if not self.edges:
            return ["any", MISSING]
        between = [f"over {low} to {high}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        return [f"to {self.edges[0]}", *between, f"over {self.edges[-1]}", MISSING]


@frozen
class Groups:
    """Bins for categories or booleans: one per item of `values`, one for other values, and one for missing values."""

    values: tuple[Value, ...]

    def __len__(self) -> int:
        return len(self.values) + 2

    def bin_of(self, value: Value | None) -> int:
        """Return the index of the bin that contains a value."""
        if value is None:
            return len(self.values) + 1
        return self.values.index(value) if value in self.values else len(self.values)

    def labels(self) -> list[str]:
        """Return a label for each bin."""
        return [*map(str, self.values), OTHER, MISSING]


Bins = Ranges | Groups


@frozen
class Distribution:
    """The number of values in each bin (`counts`). At least one bin is not empty."""

    bins: Bins
    counts: tuple[int, ...]

    @property
    def n(self) -> int:
        """The total number of values."""
        return sum(self.counts)


def ranges_of(values: Iterable[Value]) -> Ranges:
    """Choose bins that each hold about a tenth of the values. A value that makes up more than a tenth gets its own bin.

    Args:
        values: numbers, or dates as text, without missing values.
    """
    ordered: list[Value] = sorted(values)
    if not ordered:
        return Ranges(())
    cuts = Counter(ordered[-(-tenth * len(ordered) // QUANTILES) - 1] for tenth in range(1, QUANTILES))
    edges = set(cuts)
    for value, times in cuts.items():
        first = bisect_left(ordered, value)
        if times > 1 and first:
            edges.add(ordered[first - 1])
    # With an edge at the largest value, the last bin would be empty.
    edges.discard(ordered[-1])
    return Ranges(tuple(sorted(edges)))


def groups_of(values: Iterable[Value]) -> Groups:
    """Create a bin for each of the MAX_CATEGORIES most common values."""
    counts = Counter(values)
    common = sorted(counts, key=lambda value: (-counts[value], str(value)))
    return Groups(tuple(common[:MAX_CATEGORIES]))


def distribution(bins: Bins, values: Iterable[Value | None]) -> Distribution:
    """Count the values in each bin. In `values`, None is a missing value."""
    counts = Counter(map(bins.bin_of, values))
    return Distribution(bins, tuple(counts[position] for position in range(len(bins))))


def stability_index(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Compute the population stability index (PSI).

    The PSI is the sum of (a - e) ln(a / e) over all bins, where e and a are the expected and actual shares of the
    values in a bin. It is 0 if both shares are equal in every bin, and has no upper limit. If only one of the two
    counts of a bin is 0, it is replaced by 0.5. Bins where both are 0 are skipped. (Siddiqi, Credit Risk Scorecards,
    Wiley 2006, chapter 8.)

    Args:
        expected: the expected number of values in each bin.
        actual: the actual number of values in each bin.
    """
    expected_n, actual_n = sum(expected), sum(actual)
    total = 0.0
    for e, a in zip(expected, actual, strict=True):
        if e or a:
            expected_share, actual_share = (e or 0.5) / expected_n, (a or 0.5) / actual_n
            total += (actual_share - expected_share) * math.log(actual_share / expected_share)
    return total


def chance_level(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Compute the 99th percentile of the PSI for the case that nothing has changed.

    The arguments are those of `stability_index`. For independent values and samples of sizes N and M, the PSI divided
    by 1/N + 1/M is approximately chi-squared distributed. The degrees of freedom are the number of bins minus one.
    (Yurdakul, Statistical Properties of the Population Stability Index, Western Michigan University 2018.)
    """
    bins = sum(1 for e, a in zip(expected, actual, strict=True) if e or a)
    return chi_squared_quantile(CERTAINTY, bins - 1) * (1 / sum(expected) + 1 / sum(actual))


def chi_squared_quantile(probability: float, degrees: int) -> float:
    """Approximate a quantile of the chi-squared distribution. Returns 0 if there are 0 degrees of freedom.

    For probabilities of at least 0.9, the error is below 1%. (Wilson and Hilferty, The Distribution of Chi-Square, PNAS
    17 (1931), 684-688.)
    """
    if degrees == 0:
        return 0.0
    spread = 2 / (9 * degrees)
    root = 1 - spread + NormalDist().inv_cdf(probability) * math.sqrt(spread)
    return degrees * float(root**3)


SNAPSHOT_FILE: Final = "snapshot.json"
"""Name of the artifact file that contains a version's training snapshot."""

_FORMAT = 1
_GROUPED = (Kind.CATEGORY, Kind.BOOLEAN)


@frozen
class Snapshot:
    """A version's training snapshot, the baseline for measuring drift.

    Attributes:
        features: the distribution of each feature in the training sales. The sale date is omitted because it always
            drifts.
        estimates: the distribution of the estimates for the held-out sales.
    """

    features: Mapping[str, Distribution]
    estimates: Distribution


def snapshot(schema: FeatureSchema, houses: Sequence[House], estimates: Sequence[float]) -> Snapshot:
    """Create a snapshot from the training houses and the estimates for held-out houses."""
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
    """Serialize a snapshot to JSON."""
    features = {name: _document(counted) for name, counted in snapshot.features.items()}
    document = {"format": _FORMAT, "features": features, "estimates": _document(snapshot.estimates)}
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _document(distribution: Distribution) -> dict[str, Any]:
    bins = distribution.bins
    values = {"edges": bins.edges} if isinstance(bins, Ranges) else {"values": bins.values}
    return {**values, "counts": distribution.counts}


def read_snapshot(artifact: Artifact) -> Snapshot | None:
    """Read a version's snapshot.

    Returns:
        The snapshot, or None if the version was trained by an older release.

    Raises:
        RefusedModel: if the snapshot is damaged.
    """
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
        raise ValueError(f"edges must be in ascending order: {bins.edges}")
    if len(counts) != len(bins) or not all(type(count) is int and count >= 0 for count in counts) or not any(counts):
        raise ValueError(f"counts must be whole numbers for {len(bins)} bins, not {counts}")
    return Distribution(bins, counts)


def typical_values(snapshot: Snapshot) -> Mapping[str, Value]:
    """Return the typical value of each feature: the median, or the most common category.

    Features that are missing for most training houses are omitted.
    """
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
        # The bin above the last edge has no upper bound, so it is represented by that edge.
        return next(reached, bins.edges[-1] if bins.edges else None)
    # present[-1] counts all other values.
    return max(zip(present[:-1], bins.values, strict=True), key=lambda group: group[0])[1] if bins.values else None


MOVING = 0.1
"""Values whose stability index is below this threshold count as stable."""

DRIFTED = 0.25
"""Values whose stability index is above this threshold count as drifted, unless chance can explain it."""

MIN_ESTIMATES = 100
"""Minimum number of estimates needed to judge drift."""


class Movement(StrEnum):
    """How far values have moved. `too few` means that there are not enough estimates to tell."""

    TOO_FEW = "too few"
    STABLE = "stable"
    MOVING = "moving"
    DRIFTED = "drifted"


@frozen
class BinShare:
    """The shares of values in a bin, in percent.

    Attributes:
        label: the label of the bin.
        expected: the share of the training data that is in the bin.
        actual: the share of recent predictions that is in the bin.
    """

    label: str
    expected: float
    actual: float


@frozen
class Shift:
    """How far the values of a feature, or the estimates, have moved.

    Attributes:
        psi: the population stability index, or None if there are no estimates.
        chance: the largest index that chance alone can explain (see `chance_level`), or None if there are no estimates.
        movement: the classification of the index.
        bins: the expected and the actual share of each bin.
    """

    psi: float | None
    chance: float | None
    movement: Movement
    bins: tuple[BinShare, ...] = ()


@frozen
class FeatureDrift:
    """How far a feature has moved.

    Attributes:
        name: the feature name.
        shift: how far the values have moved.
        out_of_range: the share of estimates with a warning about the feature, in percent, or None if there are no
            estimates.
    """

    name: str
    shift: Shift
    out_of_range: float | None


@frozen
class Drift:
    """How far houses and estimates have drifted from a version's training data.

    Attributes:
        model_version: the name of the version.
        examined: the number of examined predictions, including those made by other versions.
        n: the number of examined predictions that this version made. Only these are used to measure drift.
        since: the creation time of the oldest of these `n` predictions, or None if there are none.
        estimates: how far the estimates have moved.
        features: how far each feature has moved.
        out_of_range: the share of the `n` predictions with a warning about any feature, in percent, or None if `n` is
            0.
    """

    model_version: str
    examined: int
    n: int
    since: datetime | None
    estimates: Shift
    features: tuple[FeatureDrift, ...]
    out_of_range: float | None


def drift(model_version: str, trained_on: Snapshot, predictions: Sequence[Prediction]) -> Drift:
    """Measure how far recent predictions have drifted from a version's training snapshot.

    Args:
        model_version: the name of the version.
        trained_on: the version's training snapshot.
        predictions: recent predictions, newest first. Predictions made by other versions are ignored.
    """
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
    """Measure how far values have moved from the expected distribution. In `values`, None is a missing value."""
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
