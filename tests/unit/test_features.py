"""A schema warns of values unlike the training sales, and determines the valuation date."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value
from housepredict.domain.warnings import find_warnings

SCHEMA = FeatureSchema(
    (
        Feature("area", Kind.NUMBER, observed=(50, 200.5), usual=(60, 180), required=False),
        Feature("sold", Kind.DATE, observed=("2014-05-02", "2015-05-27"), required=False),
        Feature("zip", Kind.CATEGORY, categories=("98178", "98039"), rare=("98039",), required=False),
        Feature("pool", Kind.BOOLEAN, required=False),
        Feature("untold", Kind.NUMBER, required=False),
    ),
    sale_date="sold",
    valuation_date=date(2015, 5, 27),
)


def codes(values: dict[str, Value]) -> list[tuple[str, str | None]]:
    return [(warning.code, warning.feature) for warning in find_warnings(SCHEMA, House(values))]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"area": 60, "sold": "2015-05-27", "zip": "98178", "pool": True, "untold": -1e9}, []),
        ({"area": 180}, []),
        ({"sold": "2016-05-26"}, []),
        ({"area": 59.9}, [("rare_value", "area")]),
        ({"area": 200.5}, [("rare_value", "area")]),
        ({"zip": "98039"}, [("rare_category", "zip")]),
        ({"sold": "2016-05-27"}, [("long_after_sales", "sold")]),
        ({"area": 49.9}, [("outside_observed_range", "area")]),
        ({"area": 201}, [("outside_observed_range", "area")]),
        ({"sold": "2014-05-01"}, [("outside_observed_range", "sold")]),
        ({"zip": "elsewhere"}, [("unseen_category", "zip")]),
        (
            {"area": 0, "sold": "2030-01-01", "zip": ""},
            [("outside_observed_range", "area"), ("long_after_sales", "sold"), ("unseen_category", "zip")],
        ),
    ],
)
def test_unusual_values_get_warnings(values: dict[str, Value], expected: list[tuple[str, str]]) -> None:
    assert codes(values) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_gets_a_warning_outside_the_usual_range(area: float) -> None:
    assert bool(codes({"area": area})) == (not 60 <= area <= 180)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"area": 999}, "area: 999 is outside the range of the training sales, 50 to 200.5"),
        ({"area": 190}, "area: 190 is rare in the training sales; most are between 60 and 180"),
        ({"zip": "98039"}, "zip: '98039' is rare in the training sales"),
        ({"sold": "2016-05-27"}, "sold: 2016-05-27 is more than a year after the last training sale, 2015-05-27"),
    ],
)
def test_warning_names_value_and_training_range(values: dict[str, Value], message: str) -> None:
    assert [warning.message for warning in find_warnings(SCHEMA, House(values))] == [message]


def test_latest_possible_date_gets_no_warning() -> None:
    sold = Feature("sold", Kind.DATE, observed=("2014-05-02", "9999-12-31"), required=False)
    assert find_warnings(FeatureSchema((sold,), sale_date="sold"), House({"sold": "9999-12-31"})) == ()


def test_valuation_date_is_sale_date_or_schema_default() -> None:
    assert SCHEMA.valued_on(House({"sold": "2014-12-24"})) == date(2014, 12, 24)
    assert SCHEMA.valued_on(House({"area": 99})) == date(2015, 5, 27)


def test_valuation_date_is_none_without_dates() -> None:
    assert FeatureSchema(SCHEMA.features[:1]).valued_on(House({"area": 99})) is None


def test_houses_are_hashable_and_equal_by_value() -> None:
    assert len({House({"area": 1}), House({"area": 1}), House({"area": 2})}) == 2
