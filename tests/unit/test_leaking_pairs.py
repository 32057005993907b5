"""Which of two columns is blamed where their product or ratio gives the price away, and how close it has to come."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random

import pytest

from housepredict.domain.sales import Cell
from housepredict.domain.schema_inference.columns import read_column
from housepredict.domain.schema_inference.leakage import find_leaking_pairs

ROWS = 300


def pairs(
    columns: Mapping[str, Sequence[Cell]], price: Sequence[float], measures: Collection[str] = ()
) -> dict[str, str]:
    read = [read_column(name, cells) for name, cells in columns.items()]
    return find_leaking_pairs(read_column("price", [*price]), read, range(len(price)), measures)


def blamed(columns: Mapping[str, Sequence[Cell]], price: Sequence[float], measures: Collection[str] = ()) -> set[str]:
    """The columns to blame, which do not depend on their order."""
    found = pairs(columns, price, measures)
    turned = pairs({name: columns[name] for name in reversed([*columns])}, price, measures)
    assert found.keys() == turned.keys()
    return {*found}


def whole(count: int, start: int, step: int = 1, seed: int = 1) -> list[int]:
    """Whole numbers of so many values."""
    values = [start + step * (row % count) for row in range(ROWS)]
    Random(seed).shuffle(values)
    return values


def products(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [a * b for a, b in zip(left, right, strict=True)]


def waves(left: float, right: float, rest: float) -> tuple[list[float], list[float], list[float]]:
    """Two columns and a price, of whose logarithm each explains such a share and the two together the sum."""
    turns = [2 * math.pi * row / ROWS for row in range(ROWS)]
    a = [math.sqrt(2 * left) * math.cos(turn) for turn in turns]
    b = [math.sqrt(2 * right) * math.sin(turn) for turn in turns]
    c = [math.sqrt(2 * rest) * math.cos(2 * turn) for turn in turns]
    price = [math.exp(12 + sum(parts)) for parts in zip(a, b, c, strict=True)]
    return [*map(math.exp, a)], [*map(math.exp, b)], price


@pytest.mark.parametrize(("together", "found"), [(0.9951, True), (0.9949, False)])
def test_a_product_or_ratio_has_to_correlate_by_995_parts_in_1000(together: float, found: bool) -> None:
    left, right, price = waves(0.5 * together**2, 0.5 * together**2, 1 - together**2)
    assert pairs({"left": left, "right": right}, price) == (
        {"right": f"its product with left has a correlation of {together:.3f} with the price"} if found else {}
    )
    inverse = [1 / each for each in right]
    assert pairs({"left": left, "right": inverse}, price) == (
        {"right": f"its ratio to left has a correlation of {together:.3f} with the price"} if found else {}
    )


@pytest.mark.parametrize(("unexplained", "found"), [(0.018, True), (0.0165, True), (0.0155, False), (0.013, False)])
def test_a_column_that_explains_nearly_as_much_alone_is_no_part_of_a_pair(unexplained: float, found: bool) -> None:
    left, right, price = waves(1 - unexplained, unexplained - 0.004, 0.004)
    assert bool(pairs({"left": left, "right": right}, price)) is found
    assert bool(pairs({"right": right, "left": left}, price)) is found


def test_columns_that_explain_all_of_the_price_alone_are_no_pair() -> None:
    left, right, price = waves(1, 1e-9, 0)
    assert pairs({"left": left, "right": right}, price) == {}


@pytest.mark.parametrize(("known", "found"), [(30, True), (29, False)])
def test_thirty_sales_have_to_have_both_columns(known: int, found: bool) -> None:
    area, rate = whole(250, 500, seed=1), whole(250, 100, seed=2)
    price = products(area, rate)
    partly: list[Cell] = [each if row < known else None for row, each in enumerate(rate)]
    assert bool(pairs({"area": area, "rate": partly}, price)) is found


@pytest.mark.parametrize("nothing", [0, -1])
def test_sales_in_which_a_column_is_not_above_zero_do_not_count(nothing: int) -> None:
    area, rate = whole(250, 500, seed=1), whole(250, 10_000, seed=2)
    price = products(area, rate)
    vacant: list[Cell] = [nothing if row % 7 == 0 else each for row, each in enumerate(area)]
    assert blamed({"area": vacant, "rate": rate}, price) == {"rate"}


@pytest.mark.parametrize(("kinds", "found"), [(3, True), (2, False)])
def test_a_column_of_two_values_makes_no_pair(kinds: int, found: bool) -> None:
    area, rate = whole(kinds, 700, step=400), whole(250, 100, seed=2)
    assert blamed({"area": area, "rate": rate}, products(area, rate)) == ({"rate"} if found else set())


def test_of_pairs_that_share_a_column_the_closest_is_named() -> None:
    draw = Random(3)
    area, rate = whole(250, 500, seed=1), [each + 0.5 for each in whole(250, 100, seed=2)]
    close: list[Cell] = [round(each * math.exp(draw.gauss(0, 0.02)), 2) for each in area]
    columns: dict[str, Sequence[Cell]] = {"rooms": whole(7, 1), "close": close, "area": area, "rate": rate}
    found = {"rate": "its product with area has a correlation of 1.000 with the price"}
    assert pairs(columns, products(area, rate)) == found
    assert pairs({name: columns[name] for name in reversed(columns)}, products(area, rate)) == found


@pytest.mark.parametrize("known", [ROWS, ROWS // 3])
@pytest.mark.parametrize("currency", [1, 1.4])
@pytest.mark.parametrize("number", [int, float])  # 115, or 115.0 as some programs write it
@pytest.mark.parametrize("form", ["product", "ratio", "inverse"])
def test_what_rounding_makes_of_the_price_and_the_other_is_blamed(
    form: str, number: Callable[[float], float], currency: float, known: int
) -> None:
    draw = Random(3)
    area = [round(draw.uniform(500, 4000), 2) for _ in range(ROWS)]
    price = [round(each * draw.uniform(100, 130)) for each in area]
    made = [
        {"product": amount / each, "ratio": 1e7 * each / amount, "inverse": 1e11 / amount / each}[form] * currency
        for amount, each in zip(price, area, strict=True)
    ]
    areas: list[Cell] = [each if row < known else None for row, each in enumerate(area)]
    # by the values that differ and by how they are written, it would be the area
    assert blamed({"area": areas, "made": [number(round(each)) for each in made]}, price) == {"made"}


@pytest.mark.parametrize(
    ("lowest", "highest", "area_digits", "rate"),
    [
        (0.05, 0.4, 4, (100, 130)),  # in acres
        (200, 480, 0, (110, 240)),
    ],
)
def test_what_is_off_by_more_than_rounding_was_not_computed(
    lowest: float, highest: float, area_digits: int, rate: tuple[float, float]
) -> None:
    draw = Random(3)
    area = [round(draw.uniform(lowest, highest), area_digits) for _ in range(ROWS)]
    price = [each * draw.uniform(*rate) for each in area]
    made = [round(amount / each) for amount, each in zip(price, area, strict=True)]
    assert blamed({"area": area, "made": made}, price) == {"made"}


def test_numbers_with_an_exponent_have_many_decimals() -> None:
    draw = Random(3)
    area = [float(f"{10 ** draw.uniform(-9, -4):.2e}") for _ in range(ROWS)]
    price = [each * draw.uniform(2000, 4000) for each in area]
    made = [round(amount / each) for amount, each in zip(price, area, strict=True)]
    assert blamed({"area": area, "made": made}, price) == {"made"}


def test_a_factor_close_to_a_power_of_ten_is_one() -> None:
    draw = Random(724)  # sales of which the median is so far off that the area would fit as well
    area = [draw.randint(200, 1600) for _ in range(30)]
    price = [round(each * draw.uniform(100, 200), -3) for each in area]
    index = [round(1e6 * each / amount) for amount, each in zip(price, area, strict=True)]
    assert blamed({"area": area, "index": index}, price) == {"index"}


def test_a_small_difference_in_exactness_decides_nothing() -> None:
    area, rate = [100.25 + each for each in whole(300, 0, seed=1)], whole(300, 101, seed=2)
    price = [amount + 5 * (row % 10 == 0) for row, amount in enumerate(products(area, rate))]
    # in a tenth of the sales the area is not what the price and the rate make, and yet it has decimals
    assert blamed({"area": area, "rate": rate}, price) == {"area"}


def test_exactness_is_relative_to_large_numbers() -> None:
    draw = Random(3)
    area = [draw.uniform(5e6, 4e7) for _ in range(ROWS)]
    rate = [draw.uniform(0.001, 0.003) for _ in range(ROWS)]
    price = products(area, rate)
    # either is exact, and nothing else tells them apart: it is the latter
    assert {*pairs({"area": area, "rate": rate}, price)} == {"rate"}
    assert {*pairs({"rate": rate, "area": area}, price)} == {"area"}


@pytest.mark.parametrize(("values", "guilty"), [(240, "few"), (242, "long"), (300, "long")])
def test_of_two_exact_columns_the_one_that_repeats_a_fifth_less_is_blamed(values: int, guilty: str) -> None:
    few = whole(300, 101, seed=1)
    long = whole(values, 10_001, seed=2)  # more digits, which matters if both repeat as much
    assert blamed({"few": few, "long": long}, products(few, long)) == {guilty}


def test_repetition_counts_in_the_sales_that_have_the_column() -> None:
    seldom, often = whole(300, 101, seed=1), whole(200, 10_001, seed=2)
    partly: list[Cell] = [each if row % 2 else None for row, each in enumerate(seldom)]
    # 150 values in 150 sales, and 200 in 300
    assert blamed({"seldom": partly, "often": often}, products(seldom, often)) == {"seldom"}


@pytest.mark.parametrize(
    ("one", "other", "guilty"),
    [
        ((101, 1), (10_001, 1), "other"),
        ((1001, 1), (100_000, 1000), "one"),  # the zeros are no digits
        ((10.5, 1), (10_001, 1), "one"),  # decimals tell more than digits
        ((1.125, 0.25), (100.5, 1), "one"),
        ((1e-6, 1e-8), (100.5, 1), "other"),
    ],
    ids=["more digits", "zeros at the end", "decimals", "digits behind the point", "zeros at the start"],
)
def test_of_two_exact_columns_that_repeat_as_much_the_longer_one_is_blamed(
    one: tuple[float, float], other: tuple[float, float], guilty: str
) -> None:
    columns = {
        name: [round(start + step * each, 9) for each in whole(300, 0, seed=seed)]
        for seed, (name, (start, step)) in enumerate({"one": one, "other": other}.items())
    }
    assert blamed(columns, products(columns["one"], columns["other"])) == {guilty}


@pytest.mark.parametrize(
    ("measures", "guilty"),
    [((), "second"), (("first",), "second"), (("second",), "first"), (("first", "second"), "second")],
)
def test_of_two_that_are_written_alike_the_one_that_is_no_measure_is_blamed_or_the_latter(
    measures: tuple[str, ...], guilty: str
) -> None:
    columns = {"first": whole(300, 101, seed=1), "second": whole(300, 101, seed=2)}
    assert {*pairs(columns, products(*columns.values()), measures)} == {guilty}
