"""A sales file and recorded sales in one table: matching houses and removing repeated sales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.memory import InMemoryPredictions, InMemorySales
from housepredict.domain.combined_sales import AMBIGUOUS, REPEATED, UNKNOWN, CombinedSales
from housepredict.domain.errors import UnusableSales
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import Feature, FeatureSchema, House, Kind, Value
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.sales import Cell, RecordedSale, SalesTable, is_held_out
from housepredict.domain.schema_inference.inference import prepare
from housepredict.domain.training_options import TrainingOptions
from tests.training import NOON, FrozenClock, ListedSales

_ids = IdSequence()
MAY = date(2025, 5, 1)
OPTIONS = TrainingOptions()
SCHEMA = FeatureSchema(
    (
        Feature("size", Kind.NUMBER),
        Feature("area", Kind.CATEGORY, required=False),
        Feature("sold", Kind.DATE, required=False),
    ),
    sale_date="sold",
)

# a recorded sale: features of the house, price and date
Recorded = tuple[Mapping[str, Any], float, date]


def file(**columns: Sequence[Cell]) -> SalesTable:
    """Return forty sales with text cells, as read from a CSV file."""
    rows = 40
    return SalesTable(
        {
            "parcel_id": [f"{7000 + 13 * row}" for row in range(rows)],
            "sold": [f"{1 + row % 12}/{1 + row % 28}/2024" for row in range(rows)],
            "price": [f"${100 + row},000" for row in range(rows)],
            "size": [f"{900 + 10 * row}.0" for row in range(rows)],
            "rooms": [f"{1 + row % 6}" for row in range(rows)],
            "area": [("", "north", "south")[row % 3] for row in range(rows)],
            **columns,
        },
        "d" * 64,
        {"ragged": 2},
    )


def without(table: SalesTable, *names: str) -> SalesTable:
    return evolve(table, columns={name: cells for name, cells in table.columns.items() if name not in names})


def combined(
    *returned: Recorded, table: SalesTable | None = None, options: TrainingOptions = OPTIONS, schema: Any = SCHEMA
) -> SalesTable:
    predictions, sales = InMemoryPredictions(), InMemorySales()
    for (values, price, day), identifier, sale in zip(
        returned, _ids.take(len(returned), NOON), _ids.take(len(returned), NOON), strict=True
    ):
        predictions.append([Prediction(identifier, NOON, Estimate(House(values), 1.0, "a version"))])
        sales.append([RecordedSale(sale, identifier, price, day, NOON)])
    source = ListedSales("/sales.csv", sales=table) if table else None
    return CombinedSales(source, schema, sales, predictions, options, FrozenClock()).read()


def added_rows(table: SalesTable, rows: int = 40) -> list[dict[str, Cell]]:
    """Return the non-empty cells of the rows after those of the file."""
    every = [dict(zip(table.columns, cells, strict=True)) for cells in zip(*table.columns.values(), strict=True)]
    return [{name: cell for name, cell in row.items() if cell is not None} for row in every[rows:]]


class TestRows:
    def test_recorded_sale_has_the_columns_of_the_file(self) -> None:
        table = combined(({"size": 2000, "rooms": 3, "sold": "2020-01-01"}, 5e5, MAY), table=file())
        assert added_rows(table) == [{"price": 5e5, "sold": MAY, "size": 2000, "rooms": 3}]
        assert (table.recorded, len(table), table.rejected) == (1, 41, {"ragged": 2})
        assert {len(cells) for cells in table.columns.values()} == {41}

    def test_recorded_sales_are_trained_on_or_held_out(self) -> None:
        returned = [({"size": 2000 + number, "rooms": 3}, 5e5 + number, MAY) for number in range(30)]
        sales = prepare(combined(*returned, table=file()), OPTIONS)
        every = [*sales.training, *sales.held_out]
        assert len(every) == 70
        assert sum(1 for sale in every if sale.sold_on == MAY) == 30
        assert len({sale.house_key for sale in every}) == 70
        assert sales.schema.valuation_date == MAY
        assert {each.column: each.use for each in sales.decisions} == {
            each.column: each.use for each in prepare(file(), OPTIONS).decisions
        }

    def test_row_number_column_is_still_left_out(self) -> None:
        for name in ("column 1", "number"):
            table = file(**{name: [str(row) for row in range(40)]})
            sales = prepare(combined(({"size": 2000, "rooms": 3}, 5e5, MAY), table=table), OPTIONS)
            assert {each.column: each.use for each in sales.decisions}[name] == "left out"

    def test_sale_year_and_month_are_set_from_date(self) -> None:
        months: dict[str, Sequence[Cell]] = {
            "Yr Sold": [2020 + row % 5 for row in range(40)],
            "Mo Sold": [1 + row % 12 for row in range(40)],
        }
        table = combined(({"size": 2000, "rooms": 3}, 5e5, date(2025, 5, 17)), table=without(file(**months), "sold"))
        assert added_rows(table) == [{"price": 5e5, "size": 2000, "rooms": 3, "Yr Sold": 2025, "Mo Sold": 5}]
        assert prepare(table, OPTIONS).schema.valuation_date == MAY

    def test_dates_are_independent_of_file_format(self) -> None:
        renovated = [f"{1 + row % 12}/15/{1990 + row % 30}" for row in range(40)]
        house = {"size": 2000, "rooms": 3, "renovated": "2001-03-04"}
        table = combined((house, 5e5, MAY), table=file(renovated=renovated))
        assert added_rows(table)[0]["renovated"] == date(2001, 3, 4)
        [back] = [each for each in _all_sales(table) if each.sold_on == MAY]
        assert back.house.values["renovated"] == "2001-03-04"

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({"size": 2000}, "recorded sale: its house has no rooms"),
            ({"living_area": 2000, "rooms": 3}, "recorded sale: its house has no size"),
            ({"size": "large", "rooms": 3}, "recorded sale: size of its house can't be read as number"),
            ({"size": 2000, "rooms": True}, "recorded sale: rooms of its house can't be read as integer"),
        ],
    )
    def test_house_without_features_is_rejected_with_reason(self, values: Mapping[str, Any], reason: str) -> None:
        table = combined((values, 5e5, MAY), table=file())
        assert (len(table), table.recorded, table.rejected) == (40, 0, {"ragged": 2, reason: 1})

    def test_house_needs_one_optional_feature(self) -> None:
        gaps = file(
            size=["" if row == 1 else f"{900 + 10 * row}" for row in range(40)], rooms=[None, *["1", "2", "3"] * 13]
        )
        assert combined(({"area": "none"}, 5e5, MAY), table=gaps).rejected == {
            "ragged": 2,
            "recorded sale: its house has none of the features": 1,
        }
        assert combined(({"area": "south"}, 5e5, MAY), table=gaps).recorded == 1

    def test_sale_of_unknown_prediction_is_rejected(self) -> None:
        sales = InMemorySales()
        [lost, identifier] = _ids.take(2, NOON)
        sales.append([RecordedSale(identifier, lost, 5e5, MAY, NOON)])
        listed = ListedSales("/sales.csv", sales=file())
        source = CombinedSales(listed, SCHEMA, sales, InMemoryPredictions(), OPTIONS, FrozenClock())
        assert source.location == "/sales.csv"
        assert source.read().rejected == {"ragged": 2, UNKNOWN: 1}

    def test_digest_covers_file_and_recorded_sales(self) -> None:
        one: Recorded = ({"size": 2000, "rooms": 3}, 5e5, MAY)
        tables = [
            combined(table=file()),
            combined(one, table=file()),
            combined(one, (one[0], 6e5, MAY), table=file()),
            combined((one[0], 5e5, MAY + timedelta(1)), table=file()),
            combined(({**one[0], "rooms": 4}, 5e5, MAY), table=file()),
            combined(one, table=evolve(file(), digest="e" * 64)),
        ]
        assert len({each.digest for each in tables}) == len(tables)
        assert (
            combined(one, table=file()).digest
            == combined(({"size": 2000.0, "rooms": 3}, 5e5, MAY), table=file()).digest
        )


class TestHouses:
    @pytest.mark.parametrize("size", [1000, 1000.0])
    def test_house_of_the_file_is_matched_by_features(self, size: float) -> None:
        table = combined(({"size": size, "rooms": 5, "area": "north"}, 5e5, MAY), table=file())
        assert added_rows(table)[0]["parcel_id"] == "7130"
        assert table.house_keys
        assert table.house_keys[-1] == table.house_keys[10] == "7130"

    @pytest.mark.parametrize("rooms", ["5", 5, 5.0], ids=repr)
    def test_house_match_ignores_number_format(self, rooms: Value) -> None:
        table = combined(({"size": "1000", "rooms": rooms, "area": "north"}, 5e5, MAY), table=file())
        assert table.house_keys
        assert table.house_keys[-1] == table.house_keys[10]

    def test_house_key_without_identifier_has_file_values(self) -> None:
        extra = file(heating=["gas" if row % 2 else "oil" for row in range(40)])
        table = combined(
            ({"size": 1000, "rooms": 5, "area": "north"}, 5e5, MAY),
            table=without(extra, "parcel_id"),
            options=TrainingOptions(exclude=("heating",)),
        )
        assert table.house_keys
        assert table.house_keys[-1] == table.house_keys[10]
        assert '"heating": "oil"' in table.house_keys[-1]

    def test_same_sale_counts_once(self) -> None:
        house = {"size": 1000, "rooms": 5, "area": "north"}
        in_the_file = (house, 110_000.0, date(2024, 11, 11))
        table = combined(in_the_file, (house, 110_000.0, MAY), (house, 120_000.0, date(2024, 11, 11)), table=file())
        assert (table.recorded, table.rejected) == (2, {"ragged": 2, REPEATED: 1})

    def test_same_sale_of_two_predictions_counts_once(self) -> None:
        returned = [({"size": size, "rooms": 5}, 5e5, MAY) for size in (1000, 1000.0)]
        table = combined(*returned, table=file())
        assert (table.recorded, table.rejected[REPEATED]) == (1, 1)

    def test_sales_without_dates_are_matched_by_price(self) -> None:
        house = {"size": 1000, "rooms": 5, "area": "north"}
        table = combined((house, 110_000.0, MAY), (house, 110_001.0, MAY), table=without(file(), "sold"))
        assert (table.recorded, table.rejected[REPEATED]) == (1, 1)

    def test_sales_with_months_are_matched_by_month(self) -> None:
        months: dict[str, Sequence[Cell]] = {
            "Yr Sold": [2020 + row % 5 for row in range(40)],
            "Mo Sold": [1 + row % 12 for row in range(40)],
        }
        house = {"size": 1000, "rooms": 5, "area": "north"}
        of_the_file = (house, 110_000.0, date(2020, 11, 30))
        table = combined(of_the_file, (house, 110_000.0, MAY), table=without(file(**months), "sold"))
        assert (table.recorded, table.rejected[REPEATED]) == (1, 1)

    def test_ambiguous_house_across_the_split_is_rejected(self) -> None:
        held_out = [str(number) for number in range(100) if is_held_out(str(number))]
        training = [str(number) for number in range(100) if not is_held_out(str(number))]
        twins = file(
            parcel_id=[*held_out[:10], *training[:30]],
            size=["1000"] * 20 + ["2000"] * 20,
            rooms=["3"] * 40,
            area=["a"] * 40,
        )
        table = combined(({"size": 1000}, 5e5, MAY), ({"size": 2000}, 5e5, MAY), table=twins)
        assert (table.recorded, table.rejected[AMBIGUOUS]) == (1, 1)


class TestWithoutFile:
    def test_recorded_sales_are_the_whole_table(self) -> None:
        houses: list[dict[str, Any]] = [{"size": 1000 + 10 * number, "sold": "2020-01-01"} for number in range(40)]
        table = combined(*((house, 1e5 + 100 * house["size"], MAY) for house in houses))
        assert (table.recorded, len(table)) == (40, 40)
        assert list(table.columns) == ["price", "sold", "size", "area"]
        assert set(table.columns["sold"]) == {MAY}
        assert [each.name for each in prepare(table, OPTIONS).schema.features] == ["size"]

    def test_schema_without_date_gets_sale_date(self) -> None:
        table = combined(
            ({"size": 1000}, 5e5, MAY),
            options=TrainingOptions(price="amount"),
            schema=FeatureSchema(SCHEMA.features[:1]),
        )
        assert added_rows(table, 0) == [{"amount": 5e5, "sale_date": MAY, "size": 1000}]

    def test_no_sales_are_rejected(self) -> None:
        with pytest.raises(UnusableSales, match="no recorded sale"):
            combined()
        with pytest.raises(UnusableSales, match="1 row rejected: recorded sale: its house has no size"):
            combined(({"area": "north"}, 5e5, MAY))


_HOUSES = st.fixed_dictionaries(
    {"size": st.sampled_from([900, 900.0, 910.0, 920, 930, 1111]), "rooms": st.integers(1, 4)},
    optional={"area": st.sampled_from(["north", "south"])},
)
_RECORDED = st.tuples(_HOUSES, st.sampled_from([1e5, 101_000.0, 2e5]), st.sampled_from([MAY, date(2024, 1, 1)]))


@st.composite
def files(draw: st.DrawFn) -> SalesTable:
    """Draw files of 40 sales with few different houses, with and without an identifier and a date."""

    def column(values: Sequence[str]) -> st.SearchStrategy[list[str]]:
        """Draw all the values, so that the column varies, then more of them in any order."""
        rest = 40 - len(values)
        return st.lists(st.sampled_from(values), min_size=rest, max_size=rest).map(lambda drawn: [*values, *drawn])

    table = file(
        parcel_id=draw(column([str(number) for number in range(30)])),
        size=draw(column(["900", "910", "920.0", "930"])),
        rooms=draw(column(["1", "2", "3.0"])),
        area=draw(column(["north", "south", ""])),
        heating=draw(column(["gas", "oil"])),
    )
    return without(table, *draw(st.lists(st.sampled_from(["parcel_id", "sold", "heating"]), unique=True)))


def _all_sales(table: SalesTable, options: TrainingOptions = OPTIONS) -> list[Any]:
    sales = prepare(table, options)
    return [*sales.training, *sales.held_out]


def has_leak(table: SalesTable, rows: int, options: TrainingOptions) -> bool:
    """Return whether a recorded sale is on another side than a row of the file with the same features."""
    sales = prepare(table, options)
    keys = table.house_keys or ()
    sides: dict[tuple[Any, ...], set[bool]] = {}
    recorded: list[tuple[tuple[Any, ...], bool]] = []
    by_key = {sale.house_key: False for sale in sales.training} | {sale.house_key: True for sale in sales.held_out}
    names = [each.name for each in sales.schema.features if each.name != sales.schema.sale_date]
    for row, key in enumerate(keys):
        house = tuple(_value(table.columns[name][row]) for name in names)
        if row < rows:
            sides.setdefault(house, set()).add(by_key[key])
        else:
            recorded.append((house, by_key[key]))
    return any(side not in sides.get(house, {side}) or len(sides.get(house, ())) > 1 for house, side in recorded)


def _value(cell: Cell) -> object:
    try:
        return float(str(cell))
    except ValueError:
        return cell or None


WITHOUT_HEATING = TrainingOptions(exclude=("heating",))


def options_for(table: SalesTable) -> TrainingOptions:
    return WITHOUT_HEATING if "heating" in table.columns else OPTIONS


@given(files(), st.lists(_RECORDED, max_size=12))
def test_recorded_sale_is_on_same_side_as_its_house(table: SalesTable, returned: list[Recorded]) -> None:
    options = options_for(table)
    whole = combined(*returned, table=table, options=options)
    assert not has_leak(whole, len(table), options)


@given(files(), st.lists(_RECORDED, max_size=12))
def test_held_out_rows_are_independent_of_recorded_sales(table: SalesTable, returned: list[Recorded]) -> None:
    options = options_for(table)
    whole, alone = combined(*returned, table=table, options=options), prepare(table, options)
    keys = (whole.house_keys or ())[: len(table)]
    assert {key for key in keys if is_held_out(key)} == {sale.house_key for sale in alone.held_out}
    assert {key for key in keys if not is_held_out(key)} == {sale.house_key for sale in alone.training}


@given(files(), st.lists(_RECORDED, max_size=12))
def test_recorded_sale_is_added_or_counted_as_rejected(table: SalesTable, returned: list[Recorded]) -> None:
    whole = combined(*returned, table=table, options=options_for(table))
    rejected = {reason: count for reason, count in whole.rejected.items() if reason != "ragged"}
    assert whole.recorded == len(whole) - len(table)
    assert (whole.recorded or 0) + sum(rejected.values()) == len(returned)
    assert set(rejected) <= {AMBIGUOUS, REPEATED}


def test_houses_with_unique_keys_leak() -> None:
    """`has_leak` detects a leak."""
    houses = [{"size": 900 + 10 * row, "rooms": 1 + row % 6, "area": "north"} for row in range(1, 40, 3)]
    whole = combined(*((house, 5e5, MAY) for house in houses), table=file())
    assert whole.recorded == len(houses)
    assert not has_leak(whole, 40, OPTIONS)
    leaking = evolve(whole, house_keys=[*(whole.house_keys or ())[:40], *(f"own {row}" for row in range(len(houses)))])
    assert has_leak(leaking, 40, OPTIONS)
