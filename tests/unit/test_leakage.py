"""Leakage detection: finds columns that reveal the price and accepts good predictors."""

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
    """Return sales whose prices depend on the features and on noise."""
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
def test_good_predictors_are_not_blamed(seed: int) -> None:
    assert leaks(houses(seed)) == {}


@given(seeds, st.sampled_from(["size", "LivingArea", "sq_m", "GrLivArea", "surface", "area_m2"]), st.floats(0, 20_000))
def test_size_is_never_blamed(seed: int, name: str, noise: float) -> None:
    draw = random.Random(seed)
    size = [draw.gauss(2000, 500) for _ in range(200)]
    bedrooms = [draw.randint(1, 5) for _ in size]
    price = [100 * each + 5000 * rooms + draw.gauss(0, noise) for each, rooms in zip(size, bedrooms, strict=True)]
    metres = [each * 0.0929 for each in size]
    assert leaks({name: [*size], "lot_size": [*metres], "bedrooms": [*bedrooms], "price": [*price]}) == {}


@pytest.mark.slow
@pytest.mark.parametrize("rows", [30, 60, 300, 3000])
def test_column_explaining_95_percent_is_not_blamed(rows: int) -> None:
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
def test_transformed_price_is_a_leak(seed: int, name: str, form: Callable[[float], float]) -> None:
    columns = houses(seed)
    columns[name] = [form(each) for each in numbers(columns["price"])]
    reasons = leaks(columns)
    assert reasons.keys() == {name}
    assert "leaks the price: rank correlation " in reasons[name]


def test_leak_reason_states_correlation_and_allow() -> None:
    columns = houses()
    columns["list_value"] = noisy(columns["price"], 0.03)
    figure = rank_correlation(numbers(columns["list_value"]), numbers(columns["price"]))
    assert decisions(columns)["list_value"].why == (
        f"leaks the price: rank correlation {figure:.3f}; add it to `allow` if it is known before the sale"
    )


@given(
    seeds, names, names, st.sampled_from([0, 1, 2, 9]), st.sampled_from(["product", "ratio", "inverse"]), st.booleans()
)
def test_column_derived_from_price_and_area_is_blamed(
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
    reasons = leaks({**{name: pair[name] for name in order}, **columns, "amount": [*prices]}, "amount")
    assert reasons.keys() == {derived}
    assert ("product with" if form == "product" else "ratio to") + f" {area} has " in reasons[derived]


def test_rate_is_blamed_rather_than_area() -> None:
    draw = random.Random(3)
    area = [draw.uniform(500, 4000) for _ in range(300)]
    rate = [draw.uniform(100, 300) for _ in area]
    price: list[Cell] = [each * by for each, by in zip(area, rate, strict=True)]
    assert leaks({"rate": [*rate], "area": [*area], "price": price}).keys() == {"rate"}
    assert leaks({"area": [*area], "rate": [*rate], "price": price}).keys() == {"rate"}


def test_repeating_column_is_not_blamed() -> None:
    draw = random.Random(3)
    sold = [draw.choice([1203.41, 1587.77, 2250.13, 2811.59]) for _ in range(300)]
    price = [round(each * draw.uniform(101, 299)) for each in sold]
    made = [round(each / area, 3) for each, area in zip(price, sold, strict=True)]
    assert leaks({"lot_size": [*made], "x": [*sold], "price": [*price]}).keys() == {"lot_size"}


@given(seeds, st.floats(0, 5000))
def test_two_measures_of_size_make_no_pair(seed: int, noise: float) -> None:
    draw = random.Random(seed)
    size = [draw.uniform(1000, 3000) for _ in range(200)]
    price: list[Cell] = [100 * each + draw.gauss(0, noise) for each in size]
    metres: list[Cell] = [each * 0.0929 for each in size]
    assert leaks({"size": [*size], "area_m2": metres, "age": [draw.randint(1, 9) for _ in size], "price": price}) == {}


def test_noisy_pair_is_not_blamed() -> None:
    columns = houses()
    pairs = zip(numbers(columns["price"]), numbers(columns["area"]), strict=True)
    exact: list[Cell] = [round(price / area) for price, area in pairs]
    assert leaks({**columns, "quality": noisy(exact, 0.02)}).keys() == {"quality"}
    assert leaks({**columns, "quality": noisy(exact, 0.08)}) == {}


def test_pair_with_missing_values_is_found() -> None:
    columns = houses(rows=900)
    pairs = zip(numbers(columns["price"]), numbers(columns["area"]), strict=True)
    columns["q"] = [round(price / area) if row % 5 == 0 else None for row, (price, area) in enumerate(pairs)]
    columns["area"] = [area if row % 10 == 0 else None for row, area in enumerate(columns["area"])]
    assert leaks(columns).keys() == {"q"}


@pytest.mark.parametrize(
    "name", ["assessed_value", "AppraisedValue", "taxable value", "Market Value", "zestimate", "AVM", "EstimatedValue",
             "land_value", "improvement_value", "total value", "lot assessment"],
)  # fmt: skip
def test_assessed_value_is_excluded_if_close_to_price(name: str) -> None:
    columns = houses()
    close, far = ({**columns, name: noisy(columns["price"], spread)} for spread in (0.15, 0.4))
    decision = decisions(close)[name]
    assert decision.use == "left out"
    assert decision.why.startswith("an assessed value (by its name), possibly set after the sale: ")
    assert "add it to `allow`" in decision.why
    assert decisions(far)[name].use == "feature"
    assert decisions({**columns, "tax_amount": close[name]})["tax_amount"].use == "feature"


@given(seeds, st.booleans())
def test_price_brackets_are_a_leak(seed: int, dates: bool) -> None:
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
def test_post_sale_column_is_excluded_by_name(name: str) -> None:
    columns: Columns = {**houses(), name: [row % 17 for row in range(300)]}
    decision = decisions(columns)[name]
    assert (decision.use, decision.why.startswith("known only after the sale")) == ("left out", True)
    assert decisions(columns, allow=(name,))[name].use == "feature"
    assert decisions({**columns, "random": columns[name]})["random"].use == "feature"


@pytest.mark.parametrize("options", [{"allow": ("quote",)}, {"features": ("quote", "area")}])
def test_named_leak_is_used(options: dict[str, Any]) -> None:
    columns = houses()
    columns["quote"] = noisy(columns["price"], 0.01)
    assert decisions(columns)["quote"].use == "left out"
    assert decisions(columns, **options)["quote"].use == "feature"


def test_list_price_can_be_allowed() -> None:
    columns = {**houses(), "list_price": houses(2)["price"]}
    assert decisions(columns)["list_price"].use == "left out"
    assert decisions(columns, allow=("list_price",))["list_price"].use == "feature"


def test_allowed_rate_does_not_exclude_area() -> None:
    columns = houses()
    pairs = zip(numbers(columns["price"]), numbers(columns["area"]), strict=True)
    columns["q"] = [round(price / area) for price, area in pairs]
    by_column = decisions(columns, allow=("q",))
    assert {by_column["q"].use, by_column["area"].use} == {"feature"}


@pytest.mark.parametrize(
    "options", [{}, {"allow": ("quote",)}, {"features": ("quote", "area")}, {"exclude": ("quote", "area")}]
)
def test_leak_is_never_part_of_house_identity(options: dict[str, Any]) -> None:
    columns = houses()
    columns["quote"] = noisy(columns["price"], 0.01)
    roles = assign_roles(SalesTable(columns, ""), TrainingOptions(**options))
    assert [each.name for each in roles.identity] == ["area", "rooms", "lat", "style"]


@given(st.permutations(range(100)))
@settings(max_examples=20)
def test_leaks_do_not_depend_on_row_order(order: list[int]) -> None:
    columns = houses(rows=100)
    columns["quote"] = noisy(columns["price"], 0.02)
    columns["q"] = [
        round(price / area) for price, area in zip(numbers(columns["price"]), numbers(columns["area"]), strict=True)
    ]
    reasons = leaks(columns)
    assert reasons.keys() == {"quote", "q"}
    assert leaks({name: [cells[row] for row in order] for name, cells in columns.items()}).keys() == reasons.keys()


@pytest.mark.parametrize(("known", "blamed"), [(30, {"quote"}), (29, set())])
def test_leak_needs_thirty_sales(known: int, blamed: set[str]) -> None:
    columns = houses(rows=40)
    columns["quote"] = [*columns["price"]]
    unpriced: list[Cell] = ["", "0", "-1", *[""] * 37]
    assert leaks({**columns, "price": [*columns["price"][:known], *unpriced[: 40 - known]]}).keys() == blamed
    assert leaks({**columns, "quote": [*columns["price"][:known], *[None] * (40 - known)]}).keys() == blamed


@pytest.mark.parametrize(("rows", "distance"), [(30, 40), (40, 110), (100, 2226)])
@pytest.mark.parametrize("direction", [1, -1])
def test_leak_threshold_is_higher_for_few_sales(rows: int, distance: int, direction: int) -> None:
    for most, blamed in ((distance, {"quote"}), (distance + 2, set())):
        ranks = swapped_ranks(rows, most)
        columns = {"quote": [direction * rank for rank in ranks], "price": [1000 + rank for rank in range(rows)]}
        assert leaks(columns).keys() == blamed


def swapped_ranks(count: int, distance: int) -> list[int]:
    """Return the ranks 0 to count - 1, some swapped so that the squared shifts add up to `distance`."""
    ranks, free = list(range(count)), set(range(count))
    while distance:
        step = math.isqrt(distance // 2)
        place = next(place for place in sorted(free) if place + step in free)
        free -= {place, place + step}
        ranks[place], ranks[place + step] = place + step, place
        distance -= 2 * step**2
    return ranks


@pytest.mark.parametrize(("groups", "blamed"), [(5, set()), (6, {"group"}), (30, {"group"}), (31, set())])
def test_price_groups_are_blamed_from_6_to_30(groups: int, blamed: set[str]) -> None:
    names = random.Random(1).sample(range(groups), groups)
    columns: Columns = {
        "group": [f"group {names[row * groups // 300]}" for row in range(300)],
        "price": [100_000 + row for row in range(300)],
    }
    assert leaks(columns).keys() == blamed


def test_leaks_are_found_for_prices_in_millions() -> None:
    columns = houses(rows=60)
    columns["price"] = [price / 1e6 for price in numbers(columns["price"])]
    assert max(numbers(columns["price"])) < 1
    assert leaks({**columns, "quote": noisy(columns["price"], 0.001)}).keys() == {"quote"}


def test_column_from_zero_to_one_is_ranked() -> None:
    columns = houses(rows=40)
    price = numbers(columns["price"])
    columns["index"] = [(each - min(price)) / (max(price) - min(price)) for each in price]
    assert leaks(columns).keys() == {"index"}


def test_no_usable_column_error_lists_reasons() -> None:
    columns = houses()
    with pytest.raises(UnusableSales, match=r"no column can be used.*quote: leaks the price.*add it to `allow`"):
        decisions({"quote": columns["price"], "price": columns["price"]})


@pytest.mark.parametrize("file", ["examples/king_county_sales.csv.gz", "examples/saratoga_sales.csv"])
def test_real_sales_have_no_leaks(file: str) -> None:
    decided = prepare(SalesFile(file).read(), TrainingOptions()).decisions
    assert len(decided) > 7
    assert [each for each in decided if each.use == "left out"] == []


@pytest.mark.slow
def test_leak_search_of_large_file_is_fast() -> None:
    draw = random.Random(1)
    columns: Columns = {f"x{each}": [draw.random() for _ in range(20_000)] for each in range(79)}
    columns["price"] = [draw.lognormvariate(12, 0.5) for _ in range(20_000)]
    columns["quote"] = [*columns["price"]]
    read = {name: read_column(name, cells) for name, cells in columns.items()}
    begun = process_time()
    assert find_leaks(read.pop("price"), [*read.values()]).keys() == {"quote"}
    assert process_time() - begun < 5  # seconds, with room for a slow machine


def test_foreign_and_repeated_rates_are_blamed() -> None:
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
def test_leaks_in_large_file_ignore_row_order() -> None:
    columns = houses(rows=4000)
    columns["bracket"] = [int(price) // 40_000 for price in numbers(columns["price"])]
    # Every other row is in the cheaper half, so sampling at even distances would miss the other half.
    order = sorted(range(4000), key=lambda row: numbers(columns["price"])[row])
    mixed = [row for pair in zip(order[:2000], order[2000:], strict=True) for row in pair]
    ordered = leaks({name: [cells[row] for row in order] for name, cells in columns.items()})
    assert ordered.keys() == {"bracket"}
    assert leaks({name: [cells[row] for row in mixed] for name, cells in columns.items()}) == ordered
