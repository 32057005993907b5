"""Roles that default options assign to the columns of well-known sales files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from housepredict.domain.errors import UnusableSales
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.sales import Cell, SalesTable
from housepredict.domain.schema_inference.roles import Decision, assign_roles
from housepredict.domain.training_options import TrainingOptions
from housepredict.entrypoints.answers import RECORD_FIELDS

ROWS = range(60)


def cycle(*values: Cell) -> list[Cell]:
    """Return a column that repeats some values."""
    return [values[row % len(values)] for row in ROWS]


def each(form: str, start: int = 0, step: int = 1) -> list[Cell]:
    """Return a column of distinct values."""
    return [form.format(start + step * row) for row in ROWS]


def decide(columns: Mapping[str, Sequence[Cell]], **options: Any) -> dict[str, Decision]:
    table = SalesTable(columns, "0" * 64)
    return {
        decision.column: decision
        for decision in assign_roles(table, TrainingOptions(**options), RECORD_FIELDS).decisions
    }


def uses(columns: Mapping[str, Sequence[Cell]], **options: Any) -> dict[str, str]:
    """Return the use of each column; for a feature, its kind."""
    return {
        name: str(decision.kind) if decision.use == "feature" else decision.use
        for name, decision in decide(columns, **options).items()
    }


def prices(form: str, start: int = 210_000, step: int = 1_234) -> list[Cell]:
    """Return a column of distinct values that correlates with no other column."""
    return [form.format(start + step * (row * 37 % 60)) for row in ROWS]


PRICES = prices("{}")
AREAS = each("{}.5", 900, 7)
PLAIN: dict[str, list[Cell]] = {"area": AREAS, "rooms": cycle("2", "3", "4"), "price": PRICES}

KING_COUNTY = (
    {
        "id": each("{}", 7_129_300_520, 999),
        "date": cycle("20141013T000000", "20150225T000000"),
        "price": PRICES,
        "bathrooms": cycle("1", "2.25"),
        "waterfront": cycle("0", "1"),
        "yr_built": cycle("1955", "2001"),
        "zipcode": cycle("98178", "98125"),
        "lat": each("47.{}", 5000),
    },
    ["house id", "sale date", "price", "number", "integer", "integer", "category", "number"],
)
AMES = (
    {
        "Order": each("{}", 1),
        "PID": each("{}", 526_301_100, 37),
        "MS SubClass": cycle("20", "60", "120"),
        "Lot Frontage": cycle("80", "NA", "65"),
        "Alley": cycle("NA", "NA", "Pave", "Grvl"),
        "Neighborhood": cycle("NAmes", "OldTown"),
        "Gr Liv Area": each("{}", 900, 7),
        "Mo Sold": cycle("5", "6"),
        "Yr Sold": cycle("2009", "2010"),
        "SalePrice": PRICES,
    },
    ["left out", "house id", "category", "integer", "category", "category", "number", "left out", "left out", "price"],
)
KAGGLE = (
    {
        "Id": each("{}", 1),
        "MSSubClass": cycle("20", "60"),
        "LotArea": each("{}", 8000, 13),
        "Utilities": cycle("AllPub"),
        "PoolQC": cycle("NA"),
        "SalePrice": PRICES,
    },
    ["left out", "category", "number", "left out", "left out", "price"],
)
MELBOURNE = (
    {
        "Suburb": cycle("Abbotsford", "Richmond"),
        "Address": each("{} Turner St"),
        "Rooms": cycle("2", "3"),
        "Price": prices("{}.0", 1_480_000, 500),
        "Date": cycle("3/12/2016", "28/05/2016"),
        "Postcode": cycle("3067.0", "3121.0"),
        "Car": cycle("1.0", "2.0", ""),
        "Lattitude": each("-37.{}", 7000),
    },
    ["category", "left out", "integer", "price", "sale date", "category", "number", "number"],
)
CALIFORNIA = (
    {
        "longitude": each("-122.{}", 10),
        "housing_median_age": cycle("41.0", "21.0"),
        "total_bedrooms": each("{}.0", 129),
        "median_house_value": prices("{}.0", 100_000, 900),
        "ocean_proximity": cycle("NEAR BAY", "INLAND"),
    },
    ["number", "number", "number", "price", "category"],
)
REALTOR = (
    {
        "Unnamed: 0": each("{}", 3, 2),
        "status": cycle("for_sale", "sold"),
        "bed": cycle("3.0", "4.0"),
        "full_address": each("Sector Yahuecas # {}, Adjuntas"),
        "zip_code": cycle("601.0", "10001.0"),
        "house_size": each("{}.0", 920, 3),
        "prev_sold_date": cycle("", "2019-06-28", "2020-01-02"),
        "price": prices("${:,}", 105_000, 900),
        "list_price": each("${:,}", 106_000, 900),
        "price_per_sqft": each("{}.25", 101),
    },
    ["left out", "category", "number", "left out", "category", "number", "date", "price", "left out", "left out"],
)
REDFIN = (
    {
        "SOLD DATE": cycle("June-30-2021", "July-2-2021"),
        "ZIP OR POSTAL CODE": cycle("02138", "98178"),
        "PRICE": PRICES,
        "BEDS": cycle("3", "4"),
        "$/SQUARE FEET": each("{}", 201),
        "MLS#": each("{}", 1_800_000, 17),
        "DAYS ON MARKET": cycle("3", "40"),
    },
    ["sale date", "category", "price", "integer", "left out", "left out", "left out"],
)
PRICE_PAID = (
    {
        "Transaction unique identifier": each("{{{:08X}-1D3C}}", 7000, 31),
        "Price": PRICES,
        "Date of Transfer": cycle("2015-12-11 00:00", "2016-01-08 00:00"),
        "Property Type": cycle("D", "S", "T"),
        "Old/New": cycle("Y", "N"),
        "Street": cycle("HIGH STREET", "MILL LANE"),
        "PPD Category Type": cycle("A"),
    },
    ["left out", "price", "sale date", "category", "category", "category", "left out"],
)
EUROPEAN = (
    {
        "Kaufdatum": cycle("01.02.2020", "28.03.2020"),
        "Wohnfläche": each("{},5", 80),
        "PLZ": cycle("01067", "10115"),
        "Preis": [str(amount).replace(",", ".") for amount in prices("{:,} €", 450_000, 990)],
    },
    ["sale date", "number", "category", "price"],
)


@pytest.mark.parametrize(
    ("file", "options"),
    [
        pytest.param(KING_COUNTY, {}, id="King County"),
        pytest.param(AMES, {}, id="Ames"),
        pytest.param(KAGGLE, {}, id="Kaggle"),
        pytest.param(MELBOURNE, {}, id="Melbourne"),
        pytest.param(CALIFORNIA, {}, id="California"),
        pytest.param(REALTOR, {}, id="realtor"),
        pytest.param(REDFIN, {}, id="Redfin"),
        pytest.param(PRICE_PAID, {}, id="price paid"),
        pytest.param(EUROPEAN, {"price": "Preis"}, id="European"),
    ],
)
def test_public_file_gets_expected_roles(
    file: tuple[dict[str, list[Cell]], list[str]], options: dict[str, Any]
) -> None:
    columns, expected = file
    found = uses(columns, **options)
    assert {name: found[name] for name in columns} == dict(zip(columns, expected, strict=True))


@pytest.mark.parametrize(
    ("name", "column", "why"),
    [
        ("Unnamed: 0", each("{}"), "row numbers"),
        ("", each("{}", 5, 3), "row numbers"),
        ("reference_id", cycle(*range(20)), "an identifier: nearly all values are different"),
        ("remarks", each("Charming house number {}"), "free text: nearly all values are different"),
        ("description", cycle("x" * 300, "y" * 400, "short", "tiny"), "free text: nearly all values are different"),
        ("brochure", cycle("x" * 300), "no readable values"),
        ("country", cycle("US"), "the same value in every sale"),
        ("notes", cycle(None, "NA"), "empty"),
        ("warnings", cycle("1", "2"), "a reserved name; rename the column to use it"),
        ("log_price", each("12.{}"), "a price or derived from the price (by its name), so unknown before the sale"),
        ("asking price", each("12{}00"), "a price or derived from the price (by its name), so unknown before the sale"),
    ],
)
def test_excluded_column_has_reason(name: str, column: list[Cell], why: str) -> None:
    # The identifier before it becomes the house id, so this one does not.
    decision = decide({"parcel_id": each("P{}"), name: column, **PLAIN})[name]
    assert (decision.use, decision.why, decision.kind) == ("left out", why, None)


@pytest.mark.parametrize(
    ("name", "column", "kind"),
    [
        ("age", cycle(*range(50)), "integer"),
        ("year", cycle(1999, 2005), "integer"),
        ("lot_id", cycle(1, 2, 3), "category"),
        ("lot_size", each("{}", 4000, 3), "number"),
        ("house_price_index", cycle(101.5, 102.5), "number"),
        ("previous_price", cycle(100, 200), "integer"),
        ("walk_score", each("0.{}", 100), "number"),
        ("district_code", cycle(1, 2, 3), "category"),
        ("borough", cycle(1, 2, 3), "category"),
        ("has_pool", cycle("true", "false"), "boolean"),
        ("list_date", cycle("2014-01-01", "2014-02-01"), "date"),
        ("house_number", cycle(*range(10, 55)), "integer"),
    ],
)
def test_column_about_the_house_is_feature(name: str, column: list[Cell], kind: str) -> None:
    assert uses({name: column, **PLAIN})[name] == kind


def distinct(form: str, count: int) -> list[Cell]:
    """Return a column with `count` distinct values."""
    return cycle(*(form.format(number) for number in range(count)))


@pytest.mark.parametrize(
    ("name", "feature", "left_out"),
    [
        ("style", distinct("style {}", 30), distinct("style {}", 31)),  # half of the values differ
        ("style", distinct("style {}", 3)[:57] + ["x" * 300] * 3, distinct("style {}", 3)[:56] + ["x" * 300] * 4),
        ("agent_id", distinct("A{}", 12), distinct("A{}", 13)),  # a fifth
        ("count", [f"{10**9 + row % 30}" for row in ROWS], [f"{10**9 + row % 31}" for row in ROWS]),
        ("index", distinct("{}", 59), distinct("9{:02}", 60)),
        ("index", [f"{90 + row}.5" for row in ROWS], [f"{190 - row}" for row in ROWS]),
    ],
    ids=["texts", "long texts", "identifiers", "long numbers", "repeated row numbers", "fractions"],
)  # fmt: skip
def test_column_is_excluded_above_distinct_share(name: str, feature: list[Cell], left_out: list[Cell]) -> None:
    assert decide({name: feature, **PLAIN})[name].use == "feature"
    assert decide({name: left_out, **PLAIN})[name].use == "left out"


@pytest.mark.parametrize("before", ["price", "sale_price"])
def test_price_name_precedence_ignores_column_order(before: str) -> None:
    after = {"price": "sale_price", "sale_price": "SaleAmount"}[before]
    for names in ((before, after), (after, before)):
        assert uses({**dict.fromkeys(names, PRICES), "area": AREAS})[before] == "price"


def test_sale_date_is_recognized_by_name() -> None:
    dates = cycle("2014-01-01", "2014-02-01")
    found = uses({"date_built": dates, "entered": dates, "closing_date": dates, **PLAIN})
    assert [found[name] for name in ("date_built", "entered", "closing_date")] == ["date", "date", "sale date"]


def test_date_missing_in_many_sales_is_feature() -> None:
    assert uses({"sold_on": cycle("2014-01-01", "2014-02-01", ""), **PLAIN})["sold_on"] == "date"


def test_constant_sale_date_is_valuation_date_only() -> None:
    table = SalesTable({"sold": cycle("2014-01-01"), **PLAIN}, "")
    roles = assign_roles(table, TrainingOptions(sale_date="sold"))
    assert roles.sale_date is roles.columns["sold"]
    assert "sold" not in roles.features


def test_varying_sale_date_is_feature() -> None:
    table = SalesTable({"sold": cycle("2014-01-01", "2014-02-01"), **PLAIN}, "")
    assert assign_roles(table, TrainingOptions()).features == ("sold", "area", "rooms")


def test_requested_sale_date_is_read_as_dates() -> None:
    table = SalesTable({"when": cycle(20140502, 20150131), **PLAIN}, "")
    assert assign_roles(table, TrainingOptions()).columns["when"].kind is Kind.INTEGER
    roles = assign_roles(table, TrainingOptions(sale_date="when"))
    assert roles.sale_date is roles.columns["when"]
    assert roles.columns["when"].distinct == {"2014-05-02": 30, "2015-01-31": 30}


@pytest.mark.parametrize("dates", [25, 26])
def test_requested_sale_date_without_dates_is_rejected(dates: int) -> None:
    cells: list[Cell] = ["2014-05-02"] * dates
    cells += ["Q1", "Q2"] * 13 + ["NA", ""] * 5
    columns = {name: [*column, *column][: len(cells)] for name, column in PLAIN.items()}
    columns["sold"] = cells
    if dates == 26:
        assert assign_roles(SalesTable(columns, ""), TrainingOptions(sale_date="sold")).sale_date
        return
    with pytest.raises(UnusableSales) as caught:
        assign_roles(SalesTable(columns, ""), TrainingOptions(sale_date="sold"))
    assert str(caught.value) == (
        "sold: not a column of dates: 26 of 51 cells can't be read, such as 'Q1', 'Q2'; "
        "write dates as YYYY-MM-DD, or use another column as the sale date"
    )


def test_schema_of_sales_sets_kinds() -> None:
    schema = FeatureSchema((Feature("rooms", Kind.CATEGORY, categories=("2", "3", "4")), Feature("area", Kind.NUMBER)))
    roles = assign_roles(SalesTable(PLAIN, "", schema=schema), TrainingOptions())
    assert roles.columns["rooms"].kind is Kind.CATEGORY
    assert {each.column: each.why for each in roles.decisions}["rooms"] == "by the schema; 3 categories"


@pytest.mark.parametrize("price", [None, "Kaufpreis"])
@pytest.mark.parametrize("mark", [".", ","])
def test_price_is_read_as_money_if_requested_or_inferred(price: str | None, mark: str) -> None:
    columns: dict[str, list[Cell]] = {"area": AREAS}
    columns[price or "price"] = [f"{int(str(each)):,}".replace(",", mark) for each in PRICES]
    roles = assign_roles(SalesTable(columns, ""), TrainingOptions(price=price))
    assert roles.price.values == [int(str(each)) for each in PRICES]


@pytest.mark.parametrize("name", ["transaction_id", "MLS number", "agent_id", "sale id", "id"])
def test_house_id_must_identify_the_house(name: str) -> None:
    expected = "house id" if name == "id" else "left out"
    assert uses({name: each("{}", 9_000, 7), **PLAIN})[name] == expected


def test_options_override_inference() -> None:
    columns: dict[str, list[Cell]] = {
        "Id": each("{}", 1),
        "key": each("K{}"),
        "listed": cycle("2013-01-01", "2013-02-01"),
        "zone": cycle("1", "2"),
        "rent": each("{}", 900),
        "price": each("{}", 100),
        "remarks": each("Charming house number {}"),
    }
    found = decide(
        columns,
        price="rent",
        house_id="key",
        sale_date="listed",
        exclude=("Id",),
        kinds={"zone": Kind.INTEGER, "price": Kind.NUMBER, "remarks": Kind.CATEGORY},
    )
    assert {name: (decision.use, decision.kind) for name, decision in found.items()} == {
        "Id": ("left out", None),
        "key": ("house id", Kind.CATEGORY),
        "listed": ("sale date", Kind.DATE),
        "zone": ("feature", Kind.INTEGER),
        "rent": ("price", Kind.NUMBER),
        "price": ("feature", Kind.NUMBER),
        "remarks": ("feature", Kind.CATEGORY),
    }
    assert (found["Id"].why, found["rent"].why) == ("as requested", "as requested")
    assert found["zone"].why == "as requested; 1 to 2"


def test_requested_features_exclude_all_others() -> None:
    columns = {"sold": cycle("2014-01-01", "2014-02-01"), "remarks": each("Charming house number {}"), **PLAIN}
    found = decide(columns, features=("remarks",))
    assert {name for name, decision in found.items() if decision.use == "feature"} == {"remarks"}
    assert (found["sold"].use, found["area"].why) == ("sale date", "not among the requested features")


def test_excluded_date_is_not_sale_date() -> None:
    dates = cycle("2014-01-01", "2014-02-01")
    found = uses({"sold": dates, "entered": dates, **PLAIN}, exclude=("sold",))
    assert (found["sold"], found["entered"]) == ("left out", "sale date")


def test_decision_describes_column() -> None:
    found = decide({**PLAIN, "style": cycle("villa", "flat", None), "pool": cycle("true", "false")})
    assert found["rooms"].why == "whole numbers; 2 to 4"
    assert found["style"].why == "text; 2 categories; 20 missing"
    assert found["pool"].why == "true or false"
    assert found["price"].why == "by its name"


@pytest.mark.parametrize("name", ["price", "Sale Price", "SALE_PRICE", "SalePrice", "Sold-Price", "Price (USD)"])
def test_price_is_recognized_by_name(name: str) -> None:
    assert uses({"area": AREAS, "price per sqft": AREAS, "List Price": PRICES, name: PRICES})[name] == "price"


@pytest.mark.parametrize(
    "columns", [{}, {"cost": PRICES}, {"list price": PRICES}, {"price 2014": PRICES, "price 2015": PRICES}]
)
def test_unrecognized_price_lists_candidates(columns: dict[str, list[Cell]]) -> None:
    with pytest.raises(UnusableSales, match="set `price` to one of") as caught:
        decide(columns)
    assert all(repr(name) in str(caught.value) for name in columns)


@pytest.mark.parametrize(
    "options",
    [
        {"price": "prize"},
        {"sale_date": "prize"},
        {"house_id": "prize"},
        {"features": ("area", "prize")},
        {"exclude": ("prize",)},
        {"kinds": {"prize": Kind.NUMBER}},
        {"closed": ("prize", "prize")},
        {"allow": ("prize",)},
    ],
)
def test_missing_column_gets_suggestion(options: dict[str, Any]) -> None:
    with pytest.raises(UnusableSales) as caught:
        decide(PLAIN, **options)
    expected = "the sales have no column 'prize' (did you mean `price`?); their columns are 'area', 'rooms', 'price'"
    assert str(caught.value) == expected


def test_missing_column_without_match_gets_no_suggestion() -> None:
    with pytest.raises(UnusableSales, match="no column 'xyzzy'; their columns"):
        decide(PLAIN, price="xyzzy")


@pytest.mark.parametrize("name", sorted(RECORD_FIELDS))
def test_reserved_name_cannot_be_feature(name: str) -> None:
    with pytest.raises(UnusableSales, match=f"features: '{name}' is a reserved name"):
        decide({name: AREAS, **PLAIN}, features=(name,))


def test_sales_without_usable_column_are_rejected() -> None:
    with pytest.raises(UnusableSales, match=r"no column can be used.*\(area: the same value in every sale\)"):
        decide({"area": cycle("1"), "price": PRICES})


def test_closed_requires_category() -> None:
    table = SalesTable({"price": ["1", "2"], "size": ["3", "5"]}, "")
    with pytest.raises(UnusableSales, match="set the kind of 'size' to category"):
        assign_roles(table, TrainingOptions(closed=("size",)))


def test_column_options_conflict_with_schema_of_sales() -> None:
    schema = FeatureSchema((Feature("size", Kind.NUMBER),))
    table = SalesTable({"price": ["1", "2"], "size": ["3", "5"]}, "", schema=schema)
    with pytest.raises(UnusableSales, match=r"size: .* come with a schema"):
        assign_roles(table, TrainingOptions(exclude=("size",)))


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (each("{}", 1_111_027_370_000, 7), "an identifier: most values are different, and all have 13 digits"),
        (each("{}.0", 4_000_000_000, 1_234_567), "an identifier: most values are different, and all have 10 digits"),
        (each("-{}", 1_111_027_370_000), "an identifier: most values are different, and all have 13 digits"),
        ([1_111_027_370_000 + 7 * row for row in ROWS], "an identifier: most values are different"),
    ],
    ids=["13 digits", "decimals", "negative", "numbers"],
)
def test_distinct_long_integers_are_identifiers(cells: list[Cell], why: str) -> None:
    decision = decide({**PLAIN, "cid": cells})["cid"]
    assert decision.use == "left out"
    assert decision.why.startswith(why)


@pytest.mark.parametrize(
    "cells",
    [
        each("{}", 111_027_370, 7),
        each("{}.5", 1_111_027_370_000),
        each("{}", 9_999_999_970, 7),
        cycle(*(str(1_111_027_370_000 + code) for code in range(20))),
    ],
    ids=["9 digits", "fractions", "two lengths", "few values"],
)
def test_large_numbers_otherwise_are_features(cells: list[Cell]) -> None:
    assert uses({**PLAIN, "amount": cells})["amount"] in ("number", "integer")


@pytest.mark.parametrize(
    "options", [{"kinds": {"cid": Kind.NUMBER}}, {"allow": ("cid",)}, {"features": ("cid", "area")}], ids=str
)
def test_long_integers_are_feature_on_request(options: dict[str, Any]) -> None:
    assert uses({**PLAIN, "cid": each("{}", 1_111_027_370_000, 7)}, **options)["cid"] == "number"
