"""Accuracy measures, tested against assesspy, plain formulas and invariants."""

from __future__ import annotations

import math
from collections.abc import Sequence

import assesspy
import numpy as np
import pytest
from attrs import asdict
from hypothesis import assume, given
from hypothesis import strategies as st

from housepredict.domain.evaluation.measures import Accuracy, accuracy

prices = st.floats(10_000, 5_000_000)
pairs = st.lists(st.tuples(st.floats(0.4, 2.5), prices), min_size=3, max_size=40).map(
    lambda drawn: ([ratio * price for ratio, price in drawn], [price for _, price in drawn])
)
Pairs = tuple[list[float], list[float]]
RATIO_MEASURES = ("median_ratio", "mdape", "ppe5", "ppe10", "ppe20", "fsd", "cod", "prd")


def close(measured: float | None, expected: float, tolerance: float = 1e-9) -> bool:
    return measured is not None and math.isclose(measured, expected, rel_tol=tolerance, abs_tol=tolerance)


@given(pairs)
def test_cod_prd_and_prb_match_assesspy(drawn: Pairs) -> None:
    estimates, sold = drawn
    assume(max(sold) > 1.01 * min(sold))
    measured = accuracy(estimates, sold)
    assert close(measured.cod, assesspy.cod(estimates, sold))
    assert close(measured.prd, assesspy.prd(estimates, sold))
    value = [estimate / measured.median_ratio + price for estimate, price in zip(estimates, sold, strict=True)]
    if max(value) > 1.01 * min(value):  # over a tiny range, the slope is rounding noise
        assert close(measured.prb, assesspy.prb(estimates, sold), 1e-6)


@given(pairs)
def test_other_measures_match_their_formulas(drawn: Pairs) -> None:
    estimates, sold = map(np.array, drawn)
    measured, ratios, errors = accuracy(*drawn), estimates / sold, estimates - sold
    assert measured.n == len(sold)
    assert close(measured.median_ratio, float(np.median(ratios)))
    assert close(measured.mdape, 100 * float(np.median(abs(ratios - 1))))
    assert close(measured.mae, float(abs(errors).mean()))
    assert close(measured.mse, float((errors**2).mean()))
    assert close(measured.rmse, float((errors**2).mean() ** 0.5))
    assert close(measured.fsd, 100 * float((errors / sold).std(ddof=1)), 1e-6)
    if np.ptp(sold) > 1:
        assert close(measured.r2, 1 - float((errors**2).sum() / ((sold - sold.mean()) ** 2).sum()), 1e-6)


@given(pairs)
def test_ppe_grows_with_its_limit(drawn: Pairs) -> None:
    measured = accuracy(*drawn)
    assert 0 <= measured.ppe5 <= measured.ppe10 <= measured.ppe20 <= 100


@given(pairs, st.sampled_from([0.001, 0.5, 100.0]))
def test_ratio_measures_are_independent_of_currency(drawn: Pairs, rate: float) -> None:
    measured = accuracy(*drawn)
    converted = accuracy(*([amount * rate for amount in amounts] for amounts in drawn))
    for name in ("median_ratio", "mdape", "cod", "prd"):
        assert close(getattr(converted, name), getattr(measured, name))
    assert close(converted.mae, measured.mae * rate)


@given(pairs, st.randoms())
def test_measures_are_independent_of_sale_order(drawn: Pairs, random: object) -> None:
    shuffled = list(zip(*drawn, strict=True))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    estimates, sold = ([*column] for column in zip(*shuffled, strict=True))
    measured, again = accuracy(*drawn), accuracy(estimates, sold)
    for name in (*RATIO_MEASURES, "mae", "mse"):
        assert close(getattr(again, name), getattr(measured, name))


@given(st.lists(prices, min_size=2, max_size=40, unique=True))
def test_perfect_estimates_have_zero_error(sold: list[float]) -> None:
    measured = accuracy(sold, sold)
    assert asdict(measured) == {
        **dict.fromkeys(("mdape", "mae", "mse", "rmse", "fsd", "cod", "prb"), 0.0),
        **dict.fromkeys(("median_ratio", "r2", "prd"), 1.0),
        **dict.fromkeys(("ppe5", "ppe10", "ppe20"), 100.0),
        "n": len(sold),
    }


def test_ppe_includes_errors_equal_to_its_limit() -> None:
    measured = accuracy([110_000.0, 90_000.0, 95_000.0, 120_000.0], [100_000.0] * 4)
    assert (measured.ppe5, measured.ppe10, measured.ppe20) == (25.0, 75.0, 100.0)


def test_prd_and_prb_show_undervalued_expensive_houses() -> None:
    sold = [100_000.0 * step for step in range(1, 11)]
    measured = accuracy([price**0.9 for price in sold], sold)
    assert measured.prd is not None
    assert measured.prd > 1.03
    assert measured.prb is not None
    assert measured.prb < -0.05


@pytest.mark.parametrize(
    ("estimates", "sold", "undefined"),
    [
        ([90_000.0], [100_000.0], {"r2", "fsd", "prb"}),
        ([0.0, 0.0], [100_000.0, 200_000.0], {"cod", "prd", "prb"}),
        ([0.0, 0.0, 9e4], [1e5, 2e5, 1e5], {"cod", "prb"}),
        ([100_000.0, 100_000.0], [100_000.0, 100_000.0], {"r2", "prb"}),
    ],
)
def test_undefined_measures_are_none(estimates: list[float], sold: list[float], undefined: set[str]) -> None:
    measured = accuracy(estimates, sold)
    assert {name for name, value in asdict(measured).items() if value is None} == undefined
    assert isinstance(measured, Accuracy)


@pytest.mark.parametrize(
    ("estimates", "sold"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([-1.0], [1.0]), ([1.0, 1.0], [1.0, -1.0])]
)
def test_invalid_estimates_or_prices_are_rejected(estimates: Sequence[float], sold: Sequence[float]) -> None:
    with pytest.raises(ValueError, match=r"must (not )?(be|have)"):
        accuracy(estimates, sold)
