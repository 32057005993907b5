"""Snapshots of the training data that are stored with a version."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.errors import RefusedModel
from housepredict.domain.evaluation.drift import (
    SNAPSHOT_FILE,
    Distribution,
    Groups,
    Ranges,
    Snapshot,
    read_snapshot,
    snapshot,
    write_snapshot,
)
from housepredict.domain.features import Feature, FeatureSchema, House, Kind

SCHEMA = FeatureSchema(
    (
        Feature("size", Kind.NUMBER),
        Feature("rooms", Kind.INTEGER, required=False),
        Feature("renovated", Kind.DATE, required=False),
        Feature("pool", Kind.BOOLEAN, required=False),
        Feature("area", Kind.CATEGORY, required=False),
        Feature("sold", Kind.DATE, required=False),
    ),
    sale_date="sold",
)
_HOUSES = st.fixed_dictionaries(
    {"size": st.floats(1, 1e6)},
    optional={
        "rooms": st.integers(0, 9),
        "renovated": st.dates().map(lambda day: day.isoformat()),
        "pool": st.booleans(),
        "area": st.text(max_size=3),
        "sold": st.dates().map(lambda day: day.isoformat()),
    },
).map(House)  # type: ignore[arg-type]  # what maps to values of features


@given(st.lists(_HOUSES, min_size=1, max_size=30), st.lists(st.floats(0, 1e13), min_size=1, max_size=30))
def test_snapshot_is_read_back_and_counts_every_house(houses: list[House], prices: list[float]) -> None:
    taken = snapshot(SCHEMA, houses, prices)
    assert read_snapshot({SNAPSHOT_FILE: write_snapshot(taken), "serving.npz": b""}) == taken
    assert list(taken.features) == ["size", "rooms", "renovated", "pool", "area"]
    assert {each.n for each in taken.features.values()} == {len(houses)}
    assert taken.estimates.n == len(prices)


def test_snapshot_counts_values_and_missing_values() -> None:
    houses = [House({"size": 90.0, "pool": True}), House({"size": 120.0, "area": "north"})]
    taken = snapshot(SCHEMA, houses, [1.004, 2.0])
    assert taken.features["size"] == Distribution(Ranges((90.0,)), (1, 1, 0))
    assert taken.features["rooms"] == Distribution(Ranges(()), (0, 2))
    assert taken.features["pool"] == Distribution(Groups((True,)), (1, 0, 1))
    assert taken.features["area"] == Distribution(Groups(("north",)), (1, 0, 1))
    assert taken.estimates == Distribution(Ranges((1.0,)), (1, 1, 0))


def test_older_artifact_has_no_snapshot() -> None:
    assert read_snapshot({"serving.npz": b""}) is None


VALID: dict[str, Any] = {
    "format": 1,
    "features": {"size": {"edges": [1, 2.5], "counts": [1, 2, 3, 0]}},
    "estimates": {"edges": [], "counts": [1, 0]},
}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        json.dumps(VALID | {"format": 2}).encode(),
        json.dumps(VALID | {"features": []}).encode(),
        json.dumps({"format": 1, "features": {}}).encode(),
        *(
            json.dumps(VALID | {"estimates": spread}).encode()
            for spread in (
                {"counts": [1]},
                {"edges": [2, 1], "counts": [1, 2, 3, 0]},
                {"edges": [1, "a"], "counts": [1, 2, 3, 0]},
                {"edges": [1], "counts": [1, 2]},
                {"edges": [], "counts": [0, 0]},
                {"edges": [], "counts": [-1, 2]},
                {"edges": [], "counts": [1.5, 2]},
                {"values": None, "counts": [1, 2]},
            )
        ),
    ],
    ids=str,
)
def test_damaged_snapshot_is_rejected(content: bytes) -> None:
    assert isinstance(read_snapshot({SNAPSHOT_FILE: json.dumps(VALID).encode()}), Snapshot)
    with pytest.raises(RefusedModel, match=SNAPSHOT_FILE):
        read_snapshot({SNAPSHOT_FILE: content})
