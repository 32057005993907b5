"""Validation of houses: valid ones keep their values, and every violation is listed with its pointer."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.errors import InvalidHouses
from housepredict.domain.features import MAX_TEXT, Feature, FeatureSchema, Kind, check_value
from housepredict.domain.validation import Rule, Violation, plain, pointer_to

AREA = Feature("area", Kind.NUMBER, minimum=0, maximum=10_000)
ROOMS = Feature("rooms", Kind.INTEGER, minimum=0)
POOL = Feature("pool", Kind.BOOLEAN)
ZIP = Feature("zip", Kind.CATEGORY, categories=("98178", "98125"))
STYLE = Feature("style", Kind.CATEGORY, categories=("villa", "flat"), closed=True)
SOLD = Feature("sold", Kind.DATE, required=False)
SCHEMA = FeatureSchema((AREA, ROOMS, POOL, ZIP, STYLE, SOLD), sale_date="sold")
GOOD: dict[str, Any] = {"area": 99.5, "rooms": 4, "pool": True, "zip": "98178", "style": "flat", "sold": "2015-05-27"}

odd_texts = st.text(st.characters(codec=None), max_size=8) | st.sampled_from(
    ["\ud800", "\0", "x" * 500, "NaN", "12", "true", "2015-02-30", "20150527", "2015-W22-3", "٢"]
)
odd_numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), float("inf"), float("nan"), -0.0, 1e999]),
)
scalars = st.none() | st.booleans() | odd_numbers | odd_texts
junk = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3), max_leaves=8
)
names = st.sampled_from([feature.name for feature in SCHEMA.features]) | odd_texts
houses = st.dictionaries(names, junk | st.sampled_from(list(GOOD.values())), max_size=8)


def rules(value: object, feature: Feature) -> list[Rule]:
    return [each.rule for each in FeatureSchema((feature,)).violations({feature.name: value})]


def at(document: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer (RFC 6901), or None."""
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document.get(name)
    return document


@given(st.lists(houses | junk, max_size=4))
def test_random_houses_are_accepted_or_violations_listed(given_houses: list[Any]) -> None:
    broken = [each for row, house in enumerate(given_houses) for each in SCHEMA.violations(house, row)]
    if given_houses and not broken:
        assert not any(SCHEMA.violations(house.values) for house in SCHEMA.houses(given_houses))
        return
    with pytest.raises(InvalidHouses) as caught:
        SCHEMA.houses(given_houses)
    assert [each.pointer for each in caught.value.violations] == [each.pointer for each in broken] or [""]
    for violation in caught.value.violations:
        assert violation.value is at(given_houses, violation.pointer) or violation.rule is Rule.EMPTY
    for violation in caught.value.violations[:20]:
        assert violation.describe() in str(caught.value)


def test_message_of_many_violations_is_truncated() -> None:
    violations = [Violation(f"/{row}/size", Rule.MISSING, "required") for row in range(100_000)]
    error = InvalidHouses(violations)
    assert error.violations == tuple(violations)
    assert str(error).endswith("[19].size: required; and 99,980 more")


good_houses = st.fixed_dictionaries(
    {
        "area": st.floats(0, 10_000) | st.integers(0, 10_000),
        "rooms": st.integers(0, 10**15),
        "pool": st.booleans(),
        "zip": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=MAX_TEXT),
        "style": st.sampled_from(["villa", "flat"]),
    },
    optional={"sold": st.dates().map(date.isoformat)},
)


@given(st.lists(good_houses, min_size=1, max_size=5))
def test_valid_house_keeps_values_and_types(given_houses: list[Any]) -> None:
    checked = SCHEMA.houses(given_houses)
    assert [repr({**house.values}) for house in checked] == [
        repr({feature.name: feature.spelled(each[feature.name]) for feature in SCHEMA.features if feature.name in each})
        for each in given_houses
    ]


@given(st.lists(st.dictionaries(st.sampled_from([*GOOD, "stranger"]), st.just(float("nan"))), min_size=1, max_size=4))
def test_violations_of_all_houses_are_listed(broken: list[dict[str, float]]) -> None:
    with pytest.raises(InvalidHouses) as caught:
        SCHEMA.houses(broken)
    expected = {
        f"/{row}/{name}"
        for row, house in enumerate(broken)
        for name in {*house, *(feature.name for feature in SCHEMA.features if feature.required)}
    }
    assert sorted(each.pointer for each in caught.value.violations) == sorted(expected)


@pytest.mark.parametrize(
    ("feature", "value", "rule"),
    [
        (AREA, "99", Rule.TYPE),
        (AREA, True, Rule.TYPE),
        (AREA, [99], Rule.TYPE),
        (AREA, {"value": 99}, Rule.TYPE),
        (AREA, float("nan"), Rule.FINITE),
        (AREA, float("-inf"), Rule.FINITE),
        (AREA, 10**400, Rule.BOUNDS),
        (AREA, -(10**400), Rule.BOUNDS),
        (AREA, -0.1, Rule.BOUNDS),
        (AREA, 10_000.5, Rule.BOUNDS),
        (ROOMS, 2.5, Rule.TYPE),
        (POOL, 1, Rule.TYPE),
        (POOL, "true", Rule.TYPE),
        (ZIP, 98178.5, Rule.TYPE),
        (ZIP, float("inf"), Rule.TYPE),
        (ZIP, 1e16, Rule.BOUNDS),
        (ZIP, True, Rule.TYPE),
        (ZIP, ["98178"], Rule.TYPE),
        (ZIP, 10**400, Rule.BOUNDS),
        pytest.param(ZIP, 10**5000, Rule.BOUNDS, id="more digits than Python prints"),
        (ZIP, "x" * (MAX_TEXT + 1), Rule.TEXT),
        (ZIP, "\0", Rule.TEXT),
        (ZIP, "\udc80", Rule.TEXT),
        (STYLE, "castle", Rule.CATEGORY),
        (STYLE, 5, Rule.CATEGORY),
        (SOLD, 20150527, Rule.TYPE),
        (SOLD, "20150527", Rule.DATE),
        (SOLD, "2015-W22-3", Rule.DATE),
        (SOLD, "2015-05-27T00:00:00", Rule.DATE),
        (SOLD, "2015-02-30", Rule.DATE),
        (SOLD, " 2015-05-27", Rule.DATE),
        (SOLD, "\ud800", Rule.DATE),
    ],
)  # fmt: skip
def test_invalid_value_is_rejected(feature: Feature, value: object, rule: Rule) -> None:
    assert rules(value, feature) == [rule]


@pytest.mark.parametrize(
    ("feature", "value"),
    [(AREA, 0), (AREA, 10_000.0), (ROOMS, 3.0), (ZIP, "elsewhere"), (ZIP, ""), (ZIP, "x" * MAX_TEXT)],
)
def test_bounds_are_inclusive_and_open_categories_accept_any(feature: Feature, value: object) -> None:
    assert rules(value, feature) == []


@pytest.mark.parametrize("value", [98178, 98178.0, np.int64(98178), np.float64(98178), "98178"], ids=repr)
def test_whole_number_is_read_as_category_code(value: object) -> None:
    assert SCHEMA.houses([{**GOOD, "zip": value}])[0].values["zip"] == "98178"


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("area", np.float64(99.5), 99.5),
        ("area", np.float32(99.5), 99.5),
        ("area", np.int64(99), 99),
        ("rooms", np.uint8(4), 4),
        ("zip", np.str_("98178"), "98178"),
        ("sold", np.str_("2015-05-27"), "2015-05-27"),
        ("sold", date(2015, 5, 27), "2015-05-27"),
        ("sold", datetime(2015, 5, 27, 23, 59, tzinfo=UTC), "2015-05-27"),
        ("sold", pd.Timestamp("2015-05-27"), "2015-05-27"),
    ],
)
def test_python_values_become_json_values(name: str, value: object, plain: object) -> None:
    checked = SCHEMA.houses([{**GOOD, name: value}])[0].values[name]
    assert checked == plain
    assert type(checked) is type(plain)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        # NumPy's boolean is not a Python bool, and the domain does not import NumPy.
        ("pool", np.bool_(True), "must be true or false, not bool"),
        ("area", np.bool_(True), "must be a number, not bool"),
        ("sold", pd.NaT, "must be a valid date"),
        ("area", None, "required, must not be null"),
        ("area", "99", "must be a number, not text"),
        ("area", [], "must be a number, not a list"),
        ("zip", {}, "must be text or a whole number, not an object"),
        ("zip", 1.5, "must be text or a whole number, not a number"),
        ("sold", False, "must be a date (YYYY-MM-DD), not a boolean"),
    ],
)
def test_message_names_expected_and_actual_type(name: str, value: object, message: str) -> None:
    [violation] = SCHEMA.violations({**GOOD, name: value})
    assert violation.message == message
    assert violation.describe() == f"{name}: {message}"


def test_none_is_called_null_in_messages() -> None:
    assert check_value(AREA, None) == (Rule.TYPE, "must be a number, not null")


class Repeating(dict[str, object]):
    repeated = ("area", "a/b")


def test_repeated_names_are_rejected() -> None:
    with pytest.raises(InvalidHouses) as caught:
        SCHEMA.houses([GOOD, Repeating(GOOD)])
    assert [(each.pointer, each.rule, each.value) for each in caught.value.violations] == [
        ("/1/area", Rule.DUPLICATE, 99.5),
        ("/1/a~1b", Rule.DUPLICATE, None),
    ]


@pytest.mark.parametrize("value", [None, 3, "house", ["area", 99], [["area", 99]], GOOD.items()])
def test_house_must_be_an_object(value: object) -> None:
    with pytest.raises(InvalidHouses) as caught:
        SCHEMA.houses([GOOD, value])
    assert caught.value.violations == (
        Violation("/1", Rule.TYPE, "must be an object that maps feature names to values", value),
    )


def test_single_house_pointers_have_no_position() -> None:
    assert SCHEMA.house(GOOD).values == GOOD
    with pytest.raises(InvalidHouses) as caught:
        SCHEMA.house({**GOOD, "rooms": -1})
    assert [each.pointer for each in caught.value.violations] == ["/rooms"]


def test_empty_batch_is_rejected() -> None:
    with pytest.raises(InvalidHouses) as caught:
        SCHEMA.houses([])
    assert [(each.pointer, each.rule) for each in caught.value.violations] == [("", Rule.EMPTY)]
    assert str(caught.value) == "must contain at least one house"


@pytest.mark.parametrize("missing", [{}, {"sold": None}])
def test_null_equals_missing_optional_feature(missing: dict[str, object]) -> None:
    given_house = {name: value for name, value in GOOD.items() if name != "sold"} | missing
    assert "sold" not in SCHEMA.houses([given_house])[0].values


@given(st.lists(st.text(), max_size=4))
def test_pointer_can_be_parsed_back(path: list[str]) -> None:
    pointer = pointer_to(*path)
    assert [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]] == path


def test_pointers_are_escaped_per_rfc_6901() -> None:
    assert pointer_to(3, "a/b", "m~n", "~1", "") == "/3/a~1b/m~0n/~01/"
    assert pointer_to() == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(1, 2), 0.5),
        (Fraction(10**400), math.inf),
        (Decimal("1E400"), math.inf),
        (Decimal("2.5"), 2.5),
        (Decimal("sNaN"), None),
        (float("nan"), None),
        (pd.NaT, None),
        (pd.NA, None),
        (np.datetime64("2025-06-01T12", "ns"), datetime(2025, 6, 1, 12)),  # as NumPy has it
        (np.str_("98101"), "98101"),
        (np.bool_(True), True),
        ([1], [1]),
        (2**70, 2**70),
    ],
)
def test_plain_converts_to_json_values(value: object, expected: object) -> None:
    found = plain(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("value", [Fraction(10**400), Decimal("-Infinity"), np.float32("inf")])
def test_number_that_is_not_finite_is_rejected(value: object) -> None:
    broken = check_value(Feature("area", Kind.NUMBER), plain(value))
    assert broken is not None
    assert broken[0] is Rule.FINITE


def test_date_as_category_becomes_text() -> None:
    schema = FeatureSchema((Feature("listed", Kind.CATEGORY),))
    for day in (date(2025, 6, 1), datetime(2025, 6, 1, 12, tzinfo=UTC), "2025-06-01"):
        assert schema.house({"listed": day}).values == {"listed": "2025-06-01"}
