"""What a version was trained on, as distributions: kept with it, to see later how far houses have moved from it.

One file of the artefact, `snapshot.json`. The same training makes the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from attrs import frozen

from housepredict.domain.distributions import Bins, Distribution, Groups, Ranges, distribution, groups_of, ranges_of
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value
from housepredict.domain.formats import require_format
from housepredict.domain.models import Artefact

SNAPSHOT_FILE: Final = "snapshot.json"
"""The place of a snapshot in an artefact."""

_FORMAT = 1
_GROUPED = (Kind.CATEGORY, Kind.BOOLEAN)


@frozen
class Snapshot:
    """How the features of the houses that a version learned from were spread, by name, and its estimates of others.

    The date of sale is not among the features: time always moves.
    """

    features: Mapping[str, Distribution]
    estimates: Distribution


def snapshot(schema: FeatureSchema, houses: Sequence[House], estimates: Sequence[float]) -> Snapshot:
    """The snapshot of a training: the houses that were learned from, and estimates of houses that were not."""
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


def to_json(snapshot: Snapshot) -> bytes:
    """A snapshot as a file."""
    document = {
        "format": _FORMAT,
        "features": {name: _document(each) for name, each in snapshot.features.items()},
        "estimates": _document(snapshot.estimates),
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def _document(spread: Distribution) -> dict[str, Any]:
    bins = spread.bins
    kept = {"edges": bins.edges} if isinstance(bins, Ranges) else {"values": bins.values}
    return {**kept, "counts": spread.counts}


def of_artefact(artefact: Artefact) -> Snapshot | None:
    """The snapshot in an artefact; None in one of before there were any. Raises RefusedModel if it is damaged."""
    if SNAPSHOT_FILE not in artefact:
        return None
    try:
        document = json.loads(artefact[SNAPSHOT_FILE])
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
