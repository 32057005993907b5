"""Plot scales, ticks and number formats."""

from __future__ import annotations

import math
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from housepredict.entrypoints.pages.markup import MINUS, alike, difference, number
from housepredict.entrypoints.pages.plots import Scale, day_ticks, log_ticks, ticks

ends = st.tuples(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9)).map(lambda each: (each[0], each[0] + each[1]))
positive_ends = st.tuples(st.floats(1e-3, 1e9), st.floats(1.01, 1e6)).map(lambda each: (each[0], each[0] * each[1]))


@given(positive_ends, st.lists(st.floats(-1e9, 1e9), min_size=1), st.booleans())
def test_scale_is_monotonic_and_clamped(ends: tuple[float, float], values: list[float], logarithmic: bool) -> None:
    scale = Scale(*ends, 50.0, 350.0, logarithmic)
    assert [scale(end) for end in ends] == pytest.approx([50.0, 350.0])
    places = [scale(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(50.0 <= place <= 350.0 + 1e-9 for place in places)
    assert all(scale.shows(value) or scale(value) in (50.0, scale(ends[1])) for value in values)


def test_log_scale_spaces_equal_factors_equally() -> None:
    scale = Scale(1.0, 1000.0, 0.0, 300.0, logarithmic=True)
    assert [round(scale(value), 9) for value in (1, 10, 100)] == [0, 100, 200]


@given(ends, st.integers(6, 9))
def test_ticks_are_round_and_evenly_spaced(ends: tuple[float, float], most: int) -> None:
    low, high = ends
    assume(high - low > 1e-6 * max(abs(low), abs(high)))
    places = ticks(low, high, most)
    assert 2 <= len(places) <= most
    step = places[1] - places[0]
    slack = 1e-6 * step
    assert all(low - slack <= each <= high + slack for each in places)
    assert all(b - a == pytest.approx(step, rel=1e-6) for a, b in pairwise(places))
    assert places[0] - step < low + slack
    assert places[-1] + step > high - slack
    assert round(step / 10 ** math.floor(math.log10(step * 1.001)), 6) in (1, 2, 5)


@given(positive_ends, st.integers(4, 9))
def test_log_ticks_are_few_sorted_and_in_range(ends: tuple[float, float], most: int) -> None:
    places = log_ticks(*ends, most)
    assert 1 <= len(places) <= most
    assert places == sorted(set(places))
    assert all(ends[0] * (1 - 1e-6) <= each <= ends[1] * (1 + 1e-6) for each in places)


def test_price_ticks_are_round_numbers() -> None:
    assert log_ticks(80_000, 6_000_000) == [1e5, 2e5, 5e5, 1e6, 2e6, 5e6]
    assert log_ticks(50, 5e8) == [1e2, 1e4, 1e6, 1e8]
    assert log_ticks(110, 140) == [110, 120, 130, 140]
    assert ticks(-37, 44) == [-20, 0, 20, 40]


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)), st.integers(1, 80_000), st.integers(4, 9))
def test_day_ticks_are_few_sorted_and_in_range(first: date, days: int, most: int) -> None:
    last = first + timedelta(days)
    places = day_ticks(first, last, most)
    assert places == sorted(set(places))
    assert 1 <= len(places) <= most
    assert first <= places[0]
    assert places[-1] <= last
    assert days < 200 or all(each.day == 1 for each in places)


def test_day_ticks_of_a_year_are_quarters() -> None:
    quarters = [date(2014, 7, 1), date(2014, 10, 1), date(2015, 1, 1), date(2015, 4, 1)]
    assert day_ticks(date(2014, 5, 2), date(2015, 5, 27), 5) == quarters


def test_numbers_are_formatted_for_reading() -> None:
    assert [number(1234567), number(-0.5, 1), number(-0.01, 1), number(None)] == [
        "1,234,567",
        f"{MINUS}0.5",
        "0.0",
        "-",
    ]
    assert [difference(8.24), difference(-8.24), difference(-0.01)] == [
        "+8.2%",
        f"{MINUS}8.2%",
        "0.0%",
    ]
    assert [text for _, text in alike([-122.5, -122, 1e3])] == [f"{MINUS}122.5", f"{MINUS}122.0", "1,000.0"]
