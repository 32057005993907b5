"""The JSON Schema of a house accepts the same houses as validation."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker

from housepredict.domain.features import MAX_MAGNITUDE, MAX_TEXT, Feature, FeatureSchema, Kind
from housepredict.domain.validation import Rule
from housepredict.entrypoints.http.openapi_document import house_schema
from housepredict.entrypoints.http.requests import decode
from housepredict.entrypoints.http.responses import example

_DATES = FormatChecker(["date"])
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_CATEGORIES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
    | st.integers(-(10**16), 10**16).map(str)
    | st.sampled_from(["98178", "007", "-0", "0", "-5", "1.5", "1000000000000000", "-1000000000000000"]),
    max_size=4,
    unique=True,
).map(tuple)
_BOUNDS = st.none() | st.floats(-1e16, 1e16) | st.integers(-5, 5).map(float)


@st.composite
def schemas(draw: st.DrawFn) -> FeatureSchema:
    names = draw(st.lists(_TEXTS, min_size=1, max_size=4, unique=True))
    return FeatureSchema(tuple(draw(features(name, draw(st.sampled_from(Kind)))) for name in names))


def features(name: str, kind: Kind) -> st.SearchStrategy[Feature]:
    options: dict[str, Any] = {}
    if kind in (Kind.NUMBER, Kind.INTEGER):
        options = {"minimum": _BOUNDS, "maximum": _BOUNDS}
    if kind is Kind.CATEGORY:
        options = {"categories": _CATEGORIES, "closed": st.booleans()}
    return st.builds(Feature, st.just(name), st.just(kind), required=st.booleans(), **options)


def values(feature: Feature) -> st.SearchStrategy[Any]:
    """Values that a client may send for a feature, often valid or nearly valid."""
    near = [each for bound in (feature.minimum, feature.maximum) if bound is not None for each in (bound, bound + 0.5)]
    codes = [int(each) for each in feature.categories if each.removeprefix("-").isdecimal() and each.isascii()]
    dates = st.dates(min_value=date(1, 1, 1)).map(date.isoformat)
    return st.one_of(
        st.sampled_from([*near, *codes, *map(float, codes), *feature.categories, None, True, False, 0, 3.0, 2.5]),
        st.sampled_from([MAX_MAGNITUDE, -MAX_MAGNITUDE, 1e15 + 0.5, 10**15 + 1, 10**400, "", "0", [], {}]),
        st.sampled_from(
            ["x" * MAX_TEXT, "x" * (MAX_TEXT + 1), "a\0", "a\n", "2015-02-30", "2015-05-27\n", "0000-01-01"]
        ),
        st.sampled_from(
            ["20150527", "2015-W22-3", "2015-05-27T00:00:00", "\u0662015-05-27", "2016-02-29", "2015-02-29"]
        ),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(-10, 10),
        _TEXTS,
        dates,
    )


@st.composite
def houses(draw: st.DrawFn, schema: FeatureSchema) -> dict[str, Any]:
    house = {each.name: draw(values(each)) for each in schema.features if draw(st.integers(0, 9))}
    return house | (draw(st.dictionaries(_TEXTS, st.integers(), max_size=1)) if not draw(st.integers(0, 4)) else {})


def accepts(schema: FeatureSchema, house: object) -> bool:
    written = house_schema(schema, {})
    Draft202012Validator.check_schema(written)
    return bool(Draft202012Validator(written, format_checker=_DATES).is_valid(house))


@given(st.data())
def test_house_schema_agrees_with_validation(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    body = json.dumps(data.draw(houses(schema)))
    valid = not schema.violations(decode(body.encode()))
    event(f"valid: {valid}")
    assert accepts(schema, json.loads(body)) == valid


@pytest.mark.parametrize("kind", Kind)
@given(st.data())
def test_value_schema_agrees_with_validation(kind: Kind, data: st.DataObject) -> None:
    feature = data.draw(features("it", kind))
    schema = FeatureSchema((feature,))
    body = json.dumps({"it": data.draw(values(feature))})
    assert accepts(schema, json.loads(body)) == (not schema.violations(decode(body.encode())))


@pytest.mark.parametrize("value", [[], "house", 1, None, [{}]], ids=repr)
def test_house_schema_accepts_only_objects(value: object) -> None:
    assert not accepts(FeatureSchema(()), value)


LAB = FeatureSchema((Feature("size", Kind.NUMBER, "sq ft", minimum=0.0, observed=(300.5, 3500)),))


@pytest.mark.parametrize(
    ("body", "rule"),
    [(b'{"size": 1, "size": 2}', Rule.DUPLICATE), (b'{"it": "\\ud800"}', Rule.TEXT)],
    ids=["duplicate name", "lone surrogate"],
)
def test_house_schema_cannot_express_byte_level_rules(body: bytes, rule: Rule) -> None:
    schema = FeatureSchema((Feature("it", Kind.CATEGORY),)) if rule is Rule.TEXT else LAB
    assert [each.rule for each in schema.violations(decode(body))] == [rule]
    assert accepts(schema, json.loads(body))


def test_house_schema_describes_units_and_training_range() -> None:
    size = house_schema(LAB, example(LAB))["properties"]["size"]
    assert size["x-unit"] == "sq ft"
    assert size["description"].startswith("In sq ft. Training sales: 300.5 to 3500.")
    assert (size["minimum"], size["maximum"]) == (0, MAX_MAGNITUDE)


def test_house_schema_names_valuation_date() -> None:
    sold = Feature("sold", Kind.DATE, required=False)
    schema = FeatureSchema((sold,), sale_date="sold", valuation_date=date(2015, 5, 27))
    about = house_schema(schema, {})["properties"]["sold"]["description"]
    assert about == "The date for which to estimate the price. Defaults to 2015-05-27."


def test_open_categories_are_described_but_not_enforced() -> None:
    area = Feature("area", Kind.CATEGORY, categories=tuple(f"area {each}" for each in range(25)))
    schema = FeatureSchema((area,))
    about = house_schema(schema, {})["properties"]["area"]["description"]
    assert "area 19, and 5 more. Other values are estimated with a warning." in about
    assert accepts(schema, {"area": "elsewhere"})
