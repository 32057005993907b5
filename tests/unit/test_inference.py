"""Schema inference and train/test split: every row is accounted for and no house is on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.errors import UnusableSales
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.sales import Cell, Sale, SalesTable
from housepredict.domain.schema_inference.inference import MIN_SALES, PreparedSales, prepare
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.warnings import find_warnings

ROWS = 80
COLUMNS: dict[str, list[Cell]] = {
    "parcel_id": [f"P{row // 2}" for row in range(2 * ROWS)],  # each house is sold twice
    "sold": [f"2014-{1 + row % 12:02}-15" for row in range(2 * ROWS)],
    "price": [f"${200_000 + 1_111 * (row * 37 % 160):,}" for row in range(2 * ROWS)],
    "sqft_living": [900 + 7 * row for row in range(2 * ROWS)],
    "style": [("villa", "flat", "flat")[row % 3] for row in range(2 * ROWS)],
    "lat": [47 + row / 1000 for row in range(2 * ROWS)],
}


def prepared(columns: Mapping[str, Sequence[Cell]] = COLUMNS, **options: Any) -> PreparedSales:
    return prepare(SalesTable(columns, "0" * 64), TrainingOptions(**options))


def keys(sales: Sequence[Sale]) -> set[str]:
    return {sale.house_key for sale in sales}


prices = st.sampled_from(["250000", "$1,200", "0", "-5", "n/a", "", "soon", "1e14"])
days = st.sampled_from(["2014-05-02"] * 30 + ["2015-01-01"] * 30 + ["", "someday"])


@given(st.lists(st.tuples(prices, days), min_size=200, max_size=250), st.integers(0, 3))
def test_each_row_is_trained_on_held_out_or_rejected(rows: list[tuple[str, str]], unread: int) -> None:
    columns: dict[str, list[Cell]] = {
        "price": [price for price, _ in rows],
        "sold": [day for _, day in rows],
        "area": [float(row) / 3 for row in range(len(rows))],
    }
    try:
        prepared_sales = prepare(
            SalesTable(columns, "", {"a row is broken": unread}), TrainingOptions(sale_date="sold")
        )
    except UnusableSales:
        assert sum(price in ("250000", "$1,200") and day[:2] == "20" for price, day in rows) < MIN_SALES
    else:
        assert (
            len(prepared_sales.training) + len(prepared_sales.held_out) + sum(prepared_sales.rejected.values())
            == len(rows) + unread
        )


def test_rejected_rows_and_unreadable_cells_are_counted() -> None:
    columns = {name: list(cells) for name, cells in COLUMNS.items()}
    columns["price"][:6] = ["", "soon", "0", "-1", "1e13", "1e14"]
    columns["sold"][6:8] = [None, "someday"]
    columns["sqft_living"][8] = "big"
    prepared_sales = prepare(SalesTable(columns, "", {"a row has too many cells": 3}), TrainingOptions())
    assert prepared_sales.rejected == {
        "a row has too many cells": 3,
        "price: missing or not a number": 2,
        "price: must be above zero": 2,
        "price: must be below 1e+13": 2,
        "sold: missing or not a date": 2,
    }
    assert prepared_sales.unreadable == {"price": 1, "sold": 1, "sqft_living": 1}
    [feature] = [each for each in prepared_sales.schema.features if each.name == "sqft_living"]
    assert not feature.required


@given(st.lists(st.integers(1, 9), min_size=3, max_size=20), st.integers(0, 19), st.integers(150, 1200))
def test_usual_range_excludes_few_sales(occurrences: list[int], commonest: int, often: int) -> None:
    occurrences[commonest % len(occurrences)] = often
    rooms = [number for number, count in enumerate(occurrences) for _ in range(count)]
    columns: dict[str, list[Cell]] = {
        "price": [200_000 + row * 7919 % 100_003 for row in range(len(rooms))],
        "rooms": list(rooms),
        "style": [f"style {number}" for number in rooms],
    }
    few = min(5, len(rooms) // 200)
    of = {feature.name: feature for feature in prepared(columns).schema.features}
    low, high = cast("tuple[int, int]", of["rooms"].usual or of["rooms"].observed)
    assert sum(number < low for number in rooms) < max(few, 1) <= sum(number <= low for number in rooms)
    assert sum(number > high for number in rooms) < max(few, 1) <= sum(number >= high for number in rooms)
    assert set(of["style"].rare) == {f"style {number}" for number, count in enumerate(occurrences) if count < few}


def test_few_sales_have_no_rare_values() -> None:
    assert all(feature.usual is None and not feature.rare for feature in prepared().schema.features)


def test_sales_of_one_house_are_never_split() -> None:
    prepared_sales = prepared()
    assert len(keys(prepared_sales.training)) + len(keys(prepared_sales.held_out)) == ROWS
    assert not keys(prepared_sales.training) & keys(prepared_sales.held_out)


def test_house_without_identifier_is_keyed_by_its_features() -> None:
    columns = {name: [cell for cell in cells for _ in range(2)] for name, cells in COLUMNS.items()}
    columns["sold"] = [f"2014-{1 + row % 12:02}-15" for row in range(len(columns["sold"]))]
    prepared_sales = prepared(columns, exclude=("parcel_id",), house_id="style", features=("sqft_living", "lat"))
    assert keys([*prepared_sales.training, *prepared_sales.held_out]) == {"villa", "flat"}
    del columns["parcel_id"]
    prepared_sales = prepared(columns)
    assert len(keys(prepared_sales.training)) + len(keys(prepared_sales.held_out)) == 2 * ROWS


@pytest.mark.parametrize(
    "options",
    [
        {"exclude": ("style", "sold")},
        {"features": ("lat",)},
        {"kinds": {"sqft_living": Kind.CATEGORY, "lat": Kind.CATEGORY}},
        {"sale_date": "sold", "price": "price"},
    ],
)
def test_split_does_not_depend_on_columns_used(options: dict[str, Any]) -> None:
    columns = {name: cells for name, cells in COLUMNS.items() if name != "parcel_id"}
    assert keys(prepared(columns, **options).held_out) == keys(prepared(columns).held_out)


@given(st.permutations(range(2 * ROWS)))
def test_split_and_schema_do_not_depend_on_row_order(order: Sequence[int]) -> None:
    prepared_sales = prepared({name: [cells[row] for row in order] for name, cells in COLUMNS.items()})
    assert keys(prepared_sales.held_out) == keys(prepared().held_out)
    assert prepared_sales.schema == prepared().schema


def test_split_is_stable_as_file_grows() -> None:
    longer: dict[str, list[Cell]] = {name: [*cells, *cells] for name, cells in COLUMNS.items()}
    longer["parcel_id"] = [f"P{row // 2}" for row in range(4 * ROWS)]
    assert keys(prepared().held_out) <= keys(prepared(longer).held_out)


def test_identifier_is_the_same_with_decimals() -> None:
    codes = [7_129_300_520 + 37 * row for row in range(2 * ROWS)]
    written = ([f"{code}" for code in codes], [f"{code}.0" for code in codes], [float(code) for code in codes], codes)
    splits = [keys(prepared({**COLUMNS, "parcel_id": cells}).held_out) for cells in written]
    assert splits[0]
    assert all(split == splits[0] for split in splits)


def test_sale_without_identifier_is_used() -> None:
    prepared_sales = prepared({**COLUMNS, "parcel_id": [None, *COLUMNS["parcel_id"][1:]]})
    assert len(prepared_sales.training) + len(prepared_sales.held_out) == 2 * ROWS


def test_valuation_date_is_latest_usable_sale() -> None:
    columns = {name: list(cells) for name, cells in COLUMNS.items()}
    columns["sold"][0], columns["price"][0] = "2030-01-01", ""
    columns["sold"][1] = "2015-05-27"
    schema = prepared(columns).schema
    assert (schema.sale_date, schema.valuation_date) == ("sold", date(2015, 5, 27))
    assert [each.required for each in schema.features] == [False, True, True, True]


def test_sales_without_dates_have_no_valuation_date() -> None:
    prepared_sales = prepared(exclude=("sold",))
    assert (prepared_sales.schema.sale_date, prepared_sales.schema.valuation_date) == (None, None)
    assert prepared_sales.training[0].sold_on is None


def test_constant_sale_date_sets_valuation_date_only() -> None:
    prepared_sales = prepared({**COLUMNS, "sold": ["2014-01-01"] * 2 * ROWS}, sale_date="sold")
    assert (prepared_sales.schema.sale_date, prepared_sales.schema.valuation_date) == (None, date(2014, 1, 1))
    assert prepared_sales.training[0].sold_on == date(2014, 1, 1)


def test_schema_describes_training_sales() -> None:
    schema = prepared(closed=("style",)).schema
    assert schema.features == (
        Feature("sold", Kind.DATE, required=False, observed=("2014-01-15", "2014-12-15")),
        Feature("sqft_living", Kind.NUMBER, "sq ft", minimum=0.0, observed=(900, 2013)),
        Feature("style", Kind.CATEGORY, categories=("flat", "villa"), closed=True),
        Feature("lat", Kind.NUMBER, minimum=-90.0, maximum=90.0, observed=(47.0, 47.159)),
    )


def test_inferred_schema_accepts_its_sales() -> None:
    prepared_sales = prepared()
    for sale in [*prepared_sales.training, *prepared_sales.held_out]:
        assert prepared_sales.schema.violations(sale.house.values) == []
        assert find_warnings(prepared_sales.schema, sale.house) == ()


@pytest.mark.parametrize(
    ("name", "low", "bounds", "unit"),
    [
        ("HouseAge", 0, (0.0, None), "years"),
        ("house_age", -1, (None, None), "years"),
        ("percentage", 0, (None, None), None),
        ("Longtitude", -80, (-180.0, 180.0), None),
        ("latitude", 1000, (None, None), None),
        ("GrLivArea", 500, (0.0, None), None),
        ("living area (m²)", 50, (0.0, None), "m²"),
        ("AreaSqM", 50, (0.0, None), "m²"),
        ("square_meters", 50, (0.0, None), "m²"),
        ("Sq. Ft.", 50, (0.0, None), "sq ft"),
        ("LotSqft", 50, (0.0, None), "sq ft"),
        ("elevation", 50, (None, None), None),
    ],
)
def test_column_name_implies_unit_and_bounds(
    name: str, low: float, bounds: tuple[float | None, float | None], unit: str | None
) -> None:
    values: list[Cell] = [low + row % 40 + 0.5 for row in range(2 * ROWS)]
    [feature] = prepared({"price": COLUMNS["price"], name: values, "parcel_id": COLUMNS["parcel_id"]}).schema.features
    assert ((feature.minimum, feature.maximum), feature.unit) == (bounds, unit)


def test_feature_without_usable_values_has_no_range() -> None:
    columns = {name: list(cells) for name, cells in COLUMNS.items()}
    columns["pool_area"] = [10.5, 20.5, *[None] * (2 * ROWS - 2)]
    columns["price"][:2] = ["", ""]
    [feature] = [each for each in prepared(columns).schema.features if each.name == "pool_area"]
    assert (feature.observed, feature.minimum, feature.required) == (None, None, False)


def test_schema_and_split_of_source_are_used() -> None:
    schema = FeatureSchema((Feature("size", Kind.NUMBER, required=False),))
    held_out = [row % 3 == 0 for row in range(40)]
    table = SalesTable({"size": list(range(40)), "price": [1000 + row for row in range(40)]}, "", {}, schema, held_out)
    prepared_sales = prepare(table, TrainingOptions())
    assert prepared_sales.schema is schema
    assert [sale.price - 1000 for sale in prepared_sales.held_out] == [row for row in range(40) if held_out[row]]
    assert prepared_sales.training[0].house == House({"size": 1})


def test_too_few_sales_error_counts_rejected_rows() -> None:
    columns = {name: [*cells[:MIN_SALES]] for name, cells in COLUMNS.items()}
    assert len(prepared(columns).training) < MIN_SALES
    columns["price"][0] = "soon"
    with pytest.raises(UnusableSales) as caught:
        prepared(columns)
    assert str(caught.value) == (
        "only 29 usable sales, at least 30 are needed; 1 row rejected: price: missing or not a number"
    )


def test_sales_of_single_house_cannot_be_split() -> None:
    columns = {name: COLUMNS[name] for name in ("price", "sold")}
    with pytest.raises(UnusableSales, match="too few different houses"):
        prepared(columns)


def test_table_without_rows_is_rejected() -> None:
    with pytest.raises(UnusableSales, match="no column can be used"):
        prepared({"price": [], "area": []})
