"""Leaking pairs of columns: the threshold, and which column of a pair is blamed."""

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
    """Return the blamed columns, after checking that they do not depend on column order."""
    found = pairs(columns, price, measures)
    turned = pairs({name: columns[name] for name in reversed([*columns])}, price, measures)
    assert found.keys() == turned.keys()
    return {*found}


def shuffled_integers(count: int, start: int, step: int = 1, seed: int = 1) -> list[int]:
    """Return `ROWS` shuffled integers with `count` distinct values."""
    values = [start + step * (row % count) for row in range(ROWS)]
    Random(seed).shuffle(values)
    return values


def products(left: Sequence[float], right: Sequence[float]) -> list[float]:
    return [a * b for a, b in zip(left, right, strict=True)]


def waves(left: float, right: float, rest: float) -> tuple[list[float], list[float], list[float]]:
    """Return two columns and a price. The columns explain these shares of the variance of the log price."""
    turns = [2 * math.pi * row / ROWS for row in range(ROWS)]
    a = [math.sqrt(2 * left) * math.cos(turn) for turn in turns]
    b = [math.sqrt(2 * right) * math.sin(turn) for turn in turns]
    c = [math.sqrt(2 * rest) * math.cos(2 * turn) for turn in turns]
    price = [math.exp(12 + sum(parts)) for parts in zip(a, b, c, strict=True)]
    return [*map(math.exp, a)], [*map(math.exp, b)], price


@pytest.mark.parametrize(("together", "found"), [(0.9951, True), (0.9949, False)])
def test_pair_threshold_is_correlation_0995(together: float, found: bool) -> None:
    left, right, price = waves(0.5 * together**2, 0.5 * together**2, 1 - together**2)
    assert pairs({"left": left, "right": right}, price) == (
        {"right": f"its product with left has a correlation of {together:.3f} with the price"} if found else {}
    )
    inverse = [1 / each for each in right]
    assert pairs({"left": left, "right": inverse}, price) == (
        {"right": f"its ratio to left has a correlation of {together:.3f} with the price"} if found else {}
    )


@pytest.mark.parametrize(("unexplained", "found"), [(0.018, True), (0.0165, True), (0.0155, False), (0.013, False)])
def test_column_that_explains_price_alone_makes_no_pair(unexplained: float, found: bool) -> None:
    left, right, price = waves(1 - unexplained, unexplained - 0.004, 0.004)
    assert bool(pairs({"left": left, "right": right}, price)) is found
    assert bool(pairs({"right": right, "left": left}, price)) is found


def test_column_that_explains_whole_price_makes_no_pair() -> None:
    left, right, price = waves(1, 1e-9, 0)
    assert pairs({"left": left, "right": right}, price) == {}


@pytest.mark.parametrize(("known", "found"), [(30, True), (29, False)])
def test_pair_needs_thirty_common_sales(known: int, found: bool) -> None:
    area, rate = shuffled_integers(250, 500, seed=1), shuffled_integers(250, 100, seed=2)
    price = products(area, rate)
    partly: list[Cell] = [each if row < known else None for row, each in enumerate(rate)]
    assert bool(pairs({"area": area, "rate": partly}, price)) is found


@pytest.mark.parametrize("nothing", [0, -1])
def test_sales_with_nonpositive_values_are_skipped(nothing: int) -> None:
    area, rate = shuffled_integers(250, 500, seed=1), shuffled_integers(250, 10_000, seed=2)
    price = products(area, rate)
    vacant: list[Cell] = [nothing if row % 7 == 0 else each for row, each in enumerate(area)]
    assert blamed({"area": vacant, "rate": rate}, price) == {"rate"}


@pytest.mark.parametrize(("kinds", "found"), [(3, True), (2, False)])
def test_two_valued_column_makes_no_pair(kinds: int, found: bool) -> None:
    area, rate = shuffled_integers(kinds, 700, step=400), shuffled_integers(250, 100, seed=2)
    assert blamed({"area": area, "rate": rate}, products(area, rate)) == ({"rate"} if found else set())


def test_closest_of_overlapping_pairs_is_reported() -> None:
    draw = Random(3)
    area, rate = shuffled_integers(250, 500, seed=1), [each + 0.5 for each in shuffled_integers(250, 100, seed=2)]
    close: list[Cell] = [round(each * math.exp(draw.gauss(0, 0.02)), 2) for each in area]
    columns: dict[str, Sequence[Cell]] = {"rooms": shuffled_integers(7, 1), "close": close, "area": area, "rate": rate}
    found = {"rate": "its product with area has a correlation of 1.000 with the price"}
    assert pairs(columns, products(area, rate)) == found
    assert pairs({name: columns[name] for name in reversed(columns)}, products(area, rate)) == found


@pytest.mark.parametrize("known", [ROWS, ROWS // 3])
@pytest.mark.parametrize("currency", [1, 1.4])
@pytest.mark.parametrize("number", [int, float])  # some programs write 115 as 115.0
@pytest.mark.parametrize("form", ["product", "ratio", "inverse"])
def test_rounded_derived_column_is_blamed(
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
    # Distinct values and number formats alone would point to the area.
    assert blamed({"area": areas, "made": [number(round(each)) for each in made]}, price) == {"made"}


@pytest.mark.parametrize(
    ("lowest", "highest", "area_digits", "rate"),
    [
        (0.05, 0.4, 4, (100, 130)),  # area in acres
        (200, 480, 0, (110, 240)),
    ],
)
def test_column_beyond_rounding_error_is_not_derived(
    lowest: float, highest: float, area_digits: int, rate: tuple[float, float]
) -> None:
    draw = Random(3)
    area = [round(draw.uniform(lowest, highest), area_digits) for _ in range(ROWS)]
    price = [each * draw.uniform(*rate) for each in area]
    made = [round(amount / each) for amount, each in zip(price, area, strict=True)]
    assert blamed({"area": area, "made": made}, price) == {"made"}


def test_exponent_notation_counts_as_decimals() -> None:
    draw = Random(3)
    area = [float(f"{10 ** draw.uniform(-9, -4):.2e}") for _ in range(ROWS)]
    price = [each * draw.uniform(2000, 4000) for each in area]
    made = [round(amount / each) for amount, each in zip(price, area, strict=True)]
    assert blamed({"area": area, "made": made}, price) == {"made"}


def test_factor_near_power_of_ten_is_snapped() -> None:
    draw = Random(724)  # with this seed, the median is so far off that the area fits, too
    area = [draw.randint(200, 1600) for _ in range(30)]
    price = [round(each * draw.uniform(100, 200), -3) for each in area]
    index = [round(1e6 * each / amount) for amount, each in zip(price, area, strict=True)]
    assert blamed({"area": area, "index": index}, price) == {"index"}


def test_small_difference_in_exactness_is_ignored() -> None:
    area, rate = [100.25 + each for each in shuffled_integers(300, 0, seed=1)], shuffled_integers(300, 101, seed=2)
    price = [amount + 5 * (row % 10 == 0) for row, amount in enumerate(products(area, rate))]
    # In a tenth of the sales, the area is not exactly price / rate, but the area has more decimals.
    assert blamed({"area": area, "rate": rate}, price) == {"area"}


def test_exactness_is_relative_for_large_numbers() -> None:
    draw = Random(3)
    area = [draw.uniform(5e6, 4e7) for _ in range(ROWS)]
    rate = [draw.uniform(0.001, 0.003) for _ in range(ROWS)]
    price = products(area, rate)
    # Both are exact and equally written, so the later column is blamed.
    assert {*pairs({"area": area, "rate": rate}, price)} == {"rate"}
    assert {*pairs({"rate": rate, "area": area}, price)} == {"area"}


@pytest.mark.parametrize(("values", "guilty"), [(240, "few"), (242, "long"), (300, "long")])
def test_exact_column_with_fewer_repeats_is_blamed(values: int, guilty: str) -> None:
    few = shuffled_integers(300, 101, seed=1)
    long = shuffled_integers(values, 10_001, seed=2)  # more digits decide if both repeat as often
    assert blamed({"few": few, "long": long}, products(few, long)) == {guilty}


def test_repetition_is_counted_over_known_values() -> None:
    seldom, often = shuffled_integers(300, 101, seed=1), shuffled_integers(200, 10_001, seed=2)
    partly: list[Cell] = [each if row % 2 else None for row, each in enumerate(seldom)]
    # 150 values in 150 sales, against 200 in 300
    assert blamed({"seldom": partly, "often": often}, products(seldom, often)) == {"seldom"}


@pytest.mark.parametrize(
    ("one", "other", "guilty"),
    [
        ((101, 1), (10_001, 1), "other"),
        ((1001, 1), (100_000, 1000), "one"),  # trailing zeros are not digits
        ((10.5, 1), (10_001, 1), "one"),  # decimals count more than digits
        ((1.125, 0.25), (100.5, 1), "one"),
        ((1e-6, 1e-8), (100.5, 1), "other"),
    ],
    ids=["more digits", "zeros at the end", "decimals", "digits behind the point", "zeros at the start"],
)
def test_exact_column_with_more_digits_is_blamed(
    one: tuple[float, float], other: tuple[float, float], guilty: str
) -> None:
    columns = {
        name: [round(start + step * each, 9) for each in shuffled_integers(300, 0, seed=seed)]
        for seed, (name, (start, step)) in enumerate({"one": one, "other": other}.items())
    }
    assert blamed(columns, products(columns["one"], columns["other"])) == {guilty}


@pytest.mark.parametrize(
    ("measures", "guilty"),
    [((), "second"), (("first",), "second"), (("second",), "first"), (("first", "second"), "second")],
)
def test_column_that_is_not_a_measure_is_blamed(measures: tuple[str, ...], guilty: str) -> None:
    columns = {"first": shuffled_integers(300, 101, seed=1), "second": shuffled_integers(300, 101, seed=2)}
    assert {*pairs(columns, products(*columns.values()), measures)} == {guilty}
