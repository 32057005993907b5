"""The held-out sales that are stored with a model version."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation.held_out import (
    HELD_OUT_FILE,
    MAX_HELD_OUT,
    HeldOut,
    HeldOutSale,
    Valued,
    held_out,
    read_held_out,
    sample,
    write_held_out,
)
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.sales import Sale

PLACED = FeatureSchema(tuple(Feature(name, Kind.NUMBER, required=False) for name in ("size", "lat", "long")))
_DEGREES = st.none() | st.floats(-180, 180)
held_out_sales = st.builds(
    HeldOutSale,
    st.floats(0, 1e13),
    st.floats(1, 1e13),
    st.none() | st.floats(1e-6, 1e6),
    st.none() | st.dates(),
    _DEGREES,
    _DEGREES,
)


def valued(estimate: float = 100.0, spread: float | None = None, **values: float) -> Valued:
    return Valued(Sale(House(values), 110.0, "a house", date(2025, 6, 1)), estimate, spread=spread)


@given(st.lists(held_out_sales, max_size=5).map(tuple), st.integers(0, 10**9))
def test_held_out_sales_round_trip(sales: tuple[HeldOutSale, ...], of: int) -> None:
    stored = HeldOut(sales, of)
    assert read_held_out({HELD_OUT_FILE: write_held_out(stored), "serving.npz": b""}) == stored


def test_held_out_sales_are_none_in_older_artifacts() -> None:
    assert read_held_out({"serving.npz": b""}) is None


def test_held_out_sale_has_price_spread_date_and_place() -> None:
    stored = held_out([valued(100.004, 0.123456789, size=90.0, lat=47, long=-122.5)], PLACED)
    assert stored == HeldOut((HeldOutSale(100.0, 110.0, 0.123457, date(2025, 6, 1), 47.0, -122.5),), 1)


@pytest.mark.parametrize("values", [{}, {"lat": 47.0}, {"long": 7.0}, {"size": 90.0}], ids=str)
def test_held_out_sale_with_one_coordinate_has_no_place(values: dict[str, float]) -> None:
    [sale] = held_out([valued(**values)], PLACED).sales
    assert (sale.latitude, sale.longitude) == (None, None)


def test_held_out_sales_are_sampled_with_their_total() -> None:
    stored = held_out([valued(float(at)) for at in range(MAX_HELD_OUT + 7)], FeatureSchema(()))
    assert (len(stored.sales), stored.of) == (MAX_HELD_OUT, MAX_HELD_OUT + 7)
    assert len(write_held_out(stored)) < 100 * MAX_HELD_OUT


@given(st.lists(st.integers(), unique=True), st.integers(0, 30))
def test_sample_is_ordered_and_deterministic(rows: list[int], most: int) -> None:
    chosen = list(sample(rows, most))
    assert len(chosen) == min(len(rows), most)
    assert chosen == [row for row in rows if row in chosen] == list(sample(rows, most))


@given(price=st.floats(1e3, 1e7), estimate=st.floats(1e3, 1e7), spread=st.floats(0.01, 3), within=st.floats(0.01, 3))
def test_within_matches_the_interval(price: float, estimate: float, spread: float, within: float) -> None:
    [interval] = Calibration(within, None, deviation=1.0).intervals(estimate, spread)
    assume(min(abs(price - interval.low), abs(price - interval.high)) > 0.01)  # bounds are whole cents
    assert HeldOutSale(estimate, price, spread).within(within) is (interval.low <= price <= interval.high)


@pytest.mark.parametrize(
    "sale", [HeldOutSale(100.0, 100.0), HeldOutSale(0.0, 100.0, 1.0)], ids=["no spread", "zero estimate"]
)
def test_within_is_false_without_an_interval(sale: HeldOutSale) -> None:
    assert not sale.within(9.0)


VALID: dict[str, Any] = {"format": 1, "of": 1, "sales": [[1.0, 2.0, None, None, None, None]]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        json.dumps(VALID | {"format": 2}).encode(),
        json.dumps({"format": 1, "of": 1}).encode(),
        json.dumps(VALID | {"of": None}).encode(),
        *(
            json.dumps(VALID | {"sales": [row]}).encode()
            for row in (
                [1.0, 2.0],
                ["a", 2.0, None, None, None, None],
                [1.0, None, None, None, None, None],
                [-1.0, 2.0, None, None, None, None],
                [1.0, 0.0, None, None, None, None],
                [1.0, float("inf"), None, None, None, None],
                [1.0, 2.0, None, "today", None, None],
                [1.0, 2.0, None, None, float("nan"), None],
            )
        ),
    ],
    ids=str,
)
def test_damaged_held_out_file_is_rejected(content: bytes) -> None:
    assert read_held_out({HELD_OUT_FILE: json.dumps(VALID).encode()})
    with pytest.raises(RefusedModel, match=HELD_OUT_FILE):
        read_held_out({HELD_OUT_FILE: content})
