"""Features that hold the coordinates of a house."""

from __future__ import annotations

import pytest

from housepredict.domain.features import Feature, FeatureSchema, Kind, coordinates


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (("lat", "long"), ("lat", "long")),
        (("lng", "size", "Latitude"), ("Latitude", "lng")),
        (("site_lat", "site lon"), ("site_lat", "site lon")),
        (("lat",), None),
        (("lat", "long", "school_lat"), None),
        (("flat", "longing"), None),
        ((), None),
    ],
    ids=str,
)
def test_coordinates_are_the_only_matching_pair(names: tuple[str, ...], pair: tuple[str, str] | None) -> None:
    assert coordinates(FeatureSchema(tuple(Feature(name, Kind.NUMBER) for name in names))) == pair


def test_category_is_not_a_coordinate() -> None:
    assert coordinates(FeatureSchema((Feature("lat", Kind.NUMBER), Feature("long", Kind.CATEGORY)))) is None
