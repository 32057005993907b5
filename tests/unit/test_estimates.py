"""Prices are rounded to cents, or None."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.estimates import MAX_PRICE, Calibration, Estimate, Prediction, round_to_cents
from housepredict.domain.features import House


@given(st.floats(max_value=MAX_PRICE, exclude_max=True, allow_infinity=False, allow_nan=False))
def test_price_is_rounded_to_cents_and_never_negative(price: float) -> None:
    cents = round_to_cents(price)
    if cents is None:  # the last half cent rounds up to the limit
        assert price > MAX_PRICE - 0.01
    else:
        assert math.copysign(1, cents) == 1
        assert cents == float(f"{max(price, 0):.2f}")
        assert round_to_cents(cents) == cents


@given(st.floats(min_value=MAX_PRICE) | st.sampled_from([math.nan, math.inf, -math.inf, math.nextafter(MAX_PRICE, 0)]))
def test_infinite_or_too_large_price_is_none(price: float) -> None:
    assert round_to_cents(price) is None


def test_price_of_minus_zero_is_zero() -> None:
    assert str(round_to_cents(-0.0)) == "0.0"


def test_prediction_has_the_price_of_its_estimate() -> None:
    estimate = Estimate(House({"size": 1}), 1234.5, "one")
    assert Prediction(UUID(int=1), datetime(2024, 1, 1, tzinfo=UTC), estimate).price == 1234.5


def test_max_price_has_exact_cents() -> None:
    assert MAX_PRICE - 0.01 != MAX_PRICE
    assert round_to_cents(MAX_PRICE - 0.01) == pytest.approx(MAX_PRICE - 0.01, abs=0.001)


@given(price=st.integers(0, 10**12).map(lambda cents: cents / 100), spread=st.floats(0, 1e6))
def test_interval_contains_estimate_and_narrower_interval(price: float, spread: float) -> None:
    calibration = Calibration(within_80=1.3, within_90=1.7, deviation=1.0)
    inner, outer = calibration.intervals(price, spread)
    assert (inner.level, outer.level) == (80, 90)
    assert 0 <= outer.low <= inner.low <= price <= inner.high <= outer.high <= MAX_PRICE
    assert calibration.fsd(spread) >= 0


def test_interval_is_scaled_by_calibration() -> None:
    calibration = Calibration(within_80=None, within_90=2.0, deviation=1.5)
    [interval] = calibration.intervals(100_000.0, 0.1)
    assert (interval.level, interval.low, interval.high) == (90, 81873.08, 122140.28)
    assert calibration.fsd(0.1) == 16.18
