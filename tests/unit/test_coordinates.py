"""Which features say where a house stands."""

from __future__ import annotations

import pytest

from housepredict.domain.features import Feature, FeatureSchema, Kind, coordinates


@pytest.mark.parametrize(
    ("names", "found"),
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
def test_a_place_is_the_one_pair_of_coordinates(names: tuple[str, ...], found: tuple[str, str] | None) -> None:
    assert coordinates(FeatureSchema(tuple(Feature(name, Kind.NUMBER) for name in names))) == found


def test_categories_are_no_coordinates() -> None:
    assert coordinates(FeatureSchema((Feature("lat", Kind.NUMBER), Feature("long", Kind.CATEGORY)))) is None
