"""Columns that give the price away are found by what they do, and those that explain it well are left alone."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.adapters.files.sales_file import SalesFile
from housepredict.domain.errors import UnusableSales
from housepredict.domain.sales import Cell, SalesTable
from housepredict.domain.schema_inference.columns import read_column
from housepredict.domain.schema_inference.inference import prepare
from housepredict.domain.schema_inference.leakage import find_leaks, rank_correlation
from housepredict.domain.schema_inference.roles import Decision, assign_roles
from housepredict.domain.training_options import TrainingOptions

seeds = st.integers(0, 10_000)
names = st.sampled_from(["x1", "living_area", "rate", "price_per_sqft", "Wohnfläche", "size", "q"])
Columns = dict[str, list[Cell]]


def houses(seed: int = 1, rows: int = 300) -> Columns:
    """Sales whose prices follow from what is said of the houses, and from much that is not."""
    draw = random.Random(seed)
    area = [draw.randint(500, 4000) for _ in range(rows)]
    rooms = [max(1, round(each / 500 + draw.gauss(0, 1))) for each in area]
    price = [round(150 * each * math.exp(draw.gauss(0, 0.25))) for each in area]
    return {
        "area": [*area],
        "rooms": [*rooms],
        "lat": [round(47 + draw.random(), 4) for _ in area],
        "style": [draw.choice(["villa", "flat", "cabin"]) for _ in area],
        "price": [*price],
    }


def numbers(cells: Sequence[Cell]) -> list[float]:
    return [float(cell) for cell in cells if isinstance(cell, int | float)]


def leaks(columns: Mapping[str, Sequence[Cell]], price: str = "price") -> dict[str, str]:
    read = {name: read_column(name, cells) for name, cells in columns.items()}
    return find_leaks(read.pop(price), [*read.values()])


def decisions(columns: Mapping[str, Sequence[Cell]], **options: Any) -> dict[str, Decision]:
    roles = assign_roles(SalesTable(columns, ""), TrainingOptions(**options))
    return {each.column: each for each in roles.decisions}


def noisy(values: Sequence[Cell], spread: float, seed: int = 7) -> list[Cell]:
    draw = random.Random(seed)
    return [round(each * math.exp(draw.gauss(0, spread)), 2) for each in numbers(values)]


@given(seeds)
def test_what_explains_the_price_well_is_not_blamed(seed: int) -> None:
    assert leaks(houses(seed)) == {}


@given(seeds, st.sampled_from(["size", "LivingArea", "sq_m", "GrLivArea", "surface", "area_m2"]), st.floats(0, 20_000))
def test_the_size_is_not_blamed_however_well_it_explains_the_price(seed: int, name: str, noise: float) -> None:
    draw = random.Random(seed)
    size = [draw.gauss(2000, 500) for _ in range(200)]
    bedrooms = [draw.randint(1, 5) for _ in size]
    price = [100 * each + 5000 * rooms + draw.gauss(0, noise) for each, rooms in zip(size, bedrooms, strict=True)]
    metres = [each * 0.0929 for each in size]
    assert leaks({name: [*size], "lot_size": [*metres], "bedrooms": [*bedrooms], "price": [*price]}) == {}


@pytest.mark.slow
@pytest.mark.parametrize("rows", [30, 60, 300, 3000])
def test_a_column_of_any_name_that_explains_nineteen_parts_in_twenty_is_not_blamed(rows: int) -> None:
    blamed = 0
    for seed in range(20):
        draw = random.Random(seed)
        known = [draw.gauss(0, 1) for _ in range(rows)]
        price = [300_000 + 40_000 * (each + draw.gauss(0, math.sqrt(1 / 19))) for each in known]
        blamed += bool(leaks({"fabric": [*known], "price": [*price]}))
    assert blamed == 0


@given(
    seeds,
    st.sampled_from(["x", "list value", "asking", "size_value"]),
    st.sampled_from([lambda price: price / 1000, math.log, lambda price: price - 5, lambda price: -(price**0.5)]),
)
def test_another_form_of_the_price_gives_it_away(seed: int, name: str, form: Callable[[float], float]) -> None:
    columns = houses(seed)
    columns[name] = [form(each) for each in numbers(columns["price"])]
    found = leaks(columns)
    assert found.keys() == {name}
    assert "leaks the price: rank correlation " in found[name]


def test_the_reason_has_the_figure_and_the_way_out() -> None:
    columns = houses()
    columns["list_value"] = noisy(columns["price"], 0.03)
    figure = rank_correlation(numbers(columns["list_value"]), numbers(columns["price"]))
    assert decisions(columns)["list_value"].why == (
        f"leaks the price: rank correlation {figure:.3f}; add it to `allow` if it is known before the sale"
    )


@given(
    seeds, names, names, st.sampled_from([0, 1, 2, 9]), st.sampled_from(["product", "ratio", "inverse"]), st.booleans()
)
def test_what_is_computed_of_the_price_and_an_area_is_blamed_whatever_its_name(
    seed: int, derived: str, area: str, digits: int, form: str, derived_first: bool
) -> None:
    columns = houses(seed)
    prices, areas = numbers(columns.pop("price")), numbers(columns.pop("area"))
    made = {
        "product": [round(price / each, digits) for price, each in zip(prices, areas, strict=True)],
        "ratio": [round(price * each, digits) for price, each in zip(prices, areas, strict=True)],
        "inverse": [round(each / price, digits + 6) for price, each in zip(prices, areas, strict=True)],
    }[form]
    derived, area = f"{derived}_made", f"{area}_given"
    pair: dict[str, list[Cell]] = {derived: [*made], area: [*areas]}
    order = [derived, area] if derived_first else [area, derived]
    found = leaks({**{name: pair[name] for name in order}, **columns, "amount": [*prices]}, "amount")
    assert found.keys() == {derived}
    assert ("product with" if form == "product" else "ratio to") + f" {area} has " in found[derived]


def test_of_two_that_are_written_alike_the_one_that_measures_nothing_is_blamed() -> None:
    draw = random.Random(3)
    area = [draw.uniform(500, 4000) for _ in range(300)]
    rate = [draw.uniform(100, 300) for _ in area]
    price: list[Cell] = [each * by for each, by in zip(area, rate, strict=True)]
    assert leaks({"rate": [*rate], "area": [*area], "price": price}).keys() == {"rate"}
    assert leaks({"area": [*area], "rate": [*rate], "price": price}).keys() == {"rate"}


def test_of_two_that_are_written_alike_the_one_that_repeats_is_not_blamed() -> None:
    draw = random.Random(3)
    sold = [draw.choice([1203.41, 1587.77, 2250.13, 2811.59]) for _ in range(300)]
    price = [round(each * draw.uniform(101, 299)) for each in sold]
    made = [round(each / area, 3) for each, area in zip(price, sold, strict=True)]
    assert leaks({"lot_size": [*made], "x": [*sold], "price": [*price]}).keys() == {"lot_size"}


@given(seeds, st.floats(0, 5000))
def test_two_measures_of_a_size_that_explains_it_all_are_not_a_pair(seed: int, noise: float) -> None:
    draw = random.Random(seed)
    size = [draw.uniform(1000, 3000) for _ in range(200)]
    price: list[Cell] = [100 * each + draw.gauss(0, noise) for each in size]
    metres: list[Cell] = [each * 0.0929 for each in size]
    assert leaks({"size": [*size], "area_m2": metres, "age": [draw.randint(1, 9) for _ in size], "price": price}) == {}


def test_two_columns_that_make_most_of_the_price_are_none_either() -> None:
    columns = houses()
    pairs = zip(numbers(columns["price"]), numbers(columns["area"]), strict=True)
    exact: list[Cell] = [round(price / area) for price, area in pairs]
    assert leaks({**columns, "quality": noisy(exact, 0.02)}).keys() == {"quality"}
    assert leaks({**columns, "quality": noisy(exact, 0.08)}) == {}


def test_a_pair_is_found_where_values_are_missing() -> None:
    columns = houses(rows=900)
    pairs = zip(numbers(columns["price"]), numbers(columns["area"]), strict=True)
    columns["q"] = [round(price / area) if row % 5 == 0 else None for row, (price, area) in enumerate(pairs)]
    columns["area"] = [area if row % 10 == 0 else None for row, area in enumerate(columns["area"])]
    assert leaks(columns).keys() == {"q"}


@pytest.mark.parametrize(
    "name", ["assessed_value", "AppraisedValue", "taxable value", "Market Value", "zestimate", "AVM", "EstimatedValue",
             "land_value", "improvement_value", "total value", "lot assessment"],
)  # fmt: skip
def test_a_value_that_somebody_set_is_left_out_if_it_follows_the_price(name: str) -> None:
    columns = houses()
    close, far = ({**columns, name: noisy(columns["price"], spread)} for spread in (0.15, 0.4))
    decision = decisions(close)[name]
    assert decision.use == "left out"
    assert decision.why.startswith("an assessed value (by its name), possibly set after the sale: ")
    assert "add it to `allow`" in decision.why
    assert decisions(far)[name].use == "feature"
    assert decisions({**columns, "tax_amount": close[name]})["tax_amount"].use == "feature"


@given(seeds, st.booleans())
def test_brackets_of_the_price_give_it_away(seed: int, dates: bool) -> None:
    columns = houses(seed)
    order = sorted(numbers(columns["price"]))
    tenths = [10 * order.index(each) // len(order) for each in numbers(columns["price"])]
    labels = random.Random(seed).sample(range(10, 28), 10)
    columns["group"] = [f"2014-01-{labels[each]}" if dates else f"group {labels[each]}" for each in tenths]
    assert leaks(columns).keys() == {"group"}
    assert "its 10 values explain " in leaks(columns)["group"]


@pytest.mark.parametrize(
    "name", ["DAYS ON MARKET", "dom", "CDOM", "buyer_agent_commission", "closing costs", "SellerConcessions"]
)
def test_what_is_known_only_after_the_sale_is_left_out_by_its_name(name: str) -> None:
    columns: Columns = {**houses(), name: [row % 17 for row in range(300)]}
    decision = decisions(columns)[name]
    assert (decision.use, decision.why.startswith("known only after the sale")) == ("left out", True)
    assert decisions(columns, allow=(name,))[name].use == "feature"
    assert decisions({**columns, "random": columns[name]})["random"].use == "feature"


@pytest.mark.parametrize("options", [{"allow": ("quote",)}, {"features": ("quote", "area")}])
def test_who_names_a_column_may_have_it(options: dict[str, Any]) -> None:
    columns = houses()
    columns["quote"] = noisy(columns["price"], 0.01)
    assert decisions(columns)["quote"].use == "left out"
    assert decisions(columns, **options)["quote"].use == "feature"


def test_a_price_by_its_name_can_be_allowed() -> None:
    columns = {**houses(), "list_price": houses(2)["price"]}
    assert decisions(columns)["list_price"].use == "left out"
    assert decisions(columns, allow=("list_price",))["list_price"].use == "feature"


def test_who_allows_a_rate_does_not_lose_the_area_for_it() -> None:
    columns = houses()
    pairs = zip(numbers(columns["price"]), numbers(columns["area"]), strict=True)
    columns["q"] = [round(price / area) for price, area in pairs]
    found = decisions(columns, allow=("q",))
    assert {found["q"].use, found["area"].use} == {"feature"}


@pytest.mark.parametrize(
    "options", [{}, {"allow": ("quote",)}, {"features": ("quote", "area")}, {"exclude": ("quote", "area")}]
)
def test_what_tells_houses_apart_is_no_leak_whatever_the_options(options: dict[str, Any]) -> None:
    columns = houses()
    columns["quote"] = noisy(columns["price"], 0.01)
    roles = assign_roles(SalesTable(columns, ""), TrainingOptions(**options))
    assert [each.name for each in roles.identity] == ["area", "rooms", "lat", "style"]


@given(st.permutations(range(100)))
@settings(max_examples=20)
def test_the_order_of_the_rows_does_not_matter(order: list[int]) -> None:
    columns = houses(rows=100)
    columns["quote"] = noisy(columns["price"], 0.02)
    columns["q"] = [
        round(price / area) for price, area in zip(numbers(columns["price"]), numbers(columns["area"]), strict=True)
    ]
    found = leaks(columns)
    assert found.keys() == {"quote", "q"}
    assert leaks({name: [cells[row] for row in order] for name, cells in columns.items()}).keys() == found.keys()


@pytest.mark.parametrize(("known", "blamed"), [(30, {"quote"}), (29, set())])
def test_thirty_sales_are_enough_to_blame_a_column_and_fewer_are_not(known: int, blamed: set[str]) -> None:
    columns = houses(rows=40)
    columns["quote"] = [*columns["price"]]
    unpriced: list[Cell] = ["", "0", "-1", *[""] * 37]
    assert leaks({**columns, "price": [*columns["price"][:known], *unpriced[: 40 - known]]}).keys() == blamed
    assert leaks({**columns, "quote": [*columns["price"][:known], *[None] * (40 - known)]}).keys() == blamed


@pytest.mark.parametrize(("rows", "distance"), [(30, 40), (40, 110), (100, 2226)])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_rank_correlation_of_few_sales_has_to_be_higher(rows: int, distance: int, direction: int) -> None:
    for most, blamed in ((distance, {"quote"}), (distance + 2, set())):
        ranks = swapped_ranks(rows, most)
        columns = {"quote": [direction * rank for rank in ranks], "price": [1000 + rank for rank in range(rows)]}
        assert leaks(columns).keys() == blamed


def swapped_ranks(count: int, distance: int) -> list[int]:
    """The ranks from 0 to count - 1, some of them swapped; the squares of their shifts add up to this distance."""
    ranks, free = list(range(count)), set(range(count))
    while distance:
        step = math.isqrt(distance // 2)
        place = next(place for place in sorted(free) if place + step in free)
        free -= {place, place + step}
        ranks[place], ranks[place + step] = place + step, place
        distance -= 2 * step**2
    return ranks


@pytest.mark.parametrize(("groups", "blamed"), [(5, set()), (6, {"group"}), (30, {"group"}), (31, set())])
def test_groups_of_the_price_are_blamed_if_they_are_fine_but_not_too_fine(groups: int, blamed: set[str]) -> None:
    names = random.Random(1).sample(range(groups), groups)
    columns: Columns = {
        "group": [f"group {names[row * groups // 300]}" for row in range(300)],
        "price": [100_000 + row for row in range(300)],
    }
    assert leaks(columns).keys() == blamed


def test_prices_in_millions_are_prices() -> None:
    columns = houses(rows=60)
    columns["price"] = [price / 1e6 for price in numbers(columns["price"])]
    assert max(numbers(columns["price"])) < 1
    assert leaks({**columns, "quote": noisy(columns["price"], 0.001)}).keys() == {"quote"}


def test_a_column_from_zero_to_one_is_ranked_as_it_is() -> None:
    columns = houses(rows=40)
    price = numbers(columns["price"])
    columns["index"] = [(each - min(price)) / (max(price) - min(price)) for each in price]
    assert leaks(columns).keys() == {"index"}


def test_if_nothing_else_is_left_the_reasons_are_given() -> None:
    columns = houses()
    with pytest.raises(UnusableSales, match=r"no column can be used.*quote: leaks the price.*add it to `allow`"):
        decisions({"quote": columns["price"], "price": columns["price"]})


@pytest.mark.parametrize("file", ["examples/king_county_sales.csv.gz", "examples/saratoga_sales.csv"])
def test_nothing_is_blamed_in_real_sales(file: str) -> None:
    found = prepare(SalesFile(file).read(), TrainingOptions()).decisions
    assert len(found) > 7
    assert [each for each in found if each.use == "left out"] == []


@pytest.mark.slow
def test_a_large_file_takes_about_a_second() -> None:
    draw = random.Random(1)
    columns: Columns = {f"x{each}": [draw.random() for _ in range(20_000)] for each in range(79)}
    columns["price"] = [draw.lognormvariate(12, 0.5) for _ in range(20_000)]
    columns["quote"] = [*columns["price"]]
    read = {name: read_column(name, cells) for name, cells in columns.items()}
    begun = process_time()
    assert find_leaks(read.pop("price"), [*read.values()]).keys() == {"quote"}
    assert process_time() - begun < 5  # a slow machine's second


def test_a_rate_in_another_currency_and_two_rates_of_one_area_are_blamed() -> None:
    draw = random.Random(3)
    area = [draw.randint(400, 4000) for _ in range(300)]
    price = [round(each * draw.uniform(50, 400)) for each in area]
    foreign = [round(value / each / 2.37, 4) for value, each in zip(price, area, strict=True)]
    per_yard = [round(9 * value / each, 2) for value, each in zip(price, area, strict=True)]
    columns: Columns = {"area": [*area], "foreign": [*foreign], "per_yard": [*per_yard], "price": [*price]}
    assert leaks({name: columns[name] for name in ("area", "foreign", "price")}).keys() == {"foreign"}
    assert leaks(columns).keys() == {"foreign", "per_yard"}
    columns["metres"] = [round(0.0929 * each, 1) for each in area]
    assert leaks(columns).keys() == {"foreign", "per_yard"}


@pytest.mark.slow
def test_leaks_are_found_however_the_rows_of_a_large_file_are_ordered() -> None:
    columns = houses(rows=4000)
    columns["bracket"] = [int(price) // 40_000 for price in numbers(columns["price"])]
    # every other row is of the cheaper half: rows taken at even distances in the file's order would miss the others
    order = sorted(range(4000), key=lambda row: numbers(columns["price"])[row])
    mixed = [row for pair in zip(order[:2000], order[2000:], strict=True) for row in pair]
    ordered = leaks({name: [cells[row] for row in order] for name, cells in columns.items()})
    assert ordered.keys() == {"bracket"}
    assert leaks({name: [cells[row] for row in mixed] for name, cells in columns.items()}) == ordered
