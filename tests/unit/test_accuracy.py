"""The measures are the valuation field's: checked against its own package, plain formulas and the laws they obey."""

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


def close(found: float | None, expected: float, tolerance: float = 1e-9) -> bool:
    return found is not None and math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)


@given(pairs)
def test_cod_prd_and_prb_are_those_of_the_fields_own_package(drawn: Pairs) -> None:
    estimates, sold = drawn
    assume(max(sold) > 1.01 * min(sold))
    found = accuracy(estimates, sold)
    assert close(found.cod, assesspy.cod(estimates, sold))
    assert close(found.prd, assesspy.prd(estimates, sold))
    value = [estimate / found.median_ratio + price for estimate, price in zip(estimates, sold, strict=True)]
    if max(value) > 1.01 * min(value):  # a slope over almost nothing is the noise of the arithmetic
        assert close(found.prb, assesspy.prb(estimates, sold), 1e-6)


@given(pairs)
def test_the_other_measures_are_their_formulas(drawn: Pairs) -> None:
    estimates, sold = map(np.array, drawn)
    found, ratios, errors = accuracy(*drawn), estimates / sold, estimates - sold
    assert found.n == len(sold)
    assert close(found.median_ratio, float(np.median(ratios)))
    assert close(found.mdape, 100 * float(np.median(abs(ratios - 1))))
    assert close(found.mae, float(abs(errors).mean()))
    assert close(found.mse, float((errors**2).mean()))
    assert close(found.rmse, float((errors**2).mean() ** 0.5))
    assert close(found.fsd, 100 * float((errors / sold).std(ddof=1)), 1e-6)
    if np.ptp(sold) > 1:
        assert close(found.r2, 1 - float((errors**2).sum() / ((sold - sold.mean()) ** 2).sum()), 1e-6)


@given(pairs)
def test_more_estimates_lie_within_a_wider_limit(drawn: Pairs) -> None:
    found = accuracy(*drawn)
    assert 0 <= found.ppe5 <= found.ppe10 <= found.ppe20 <= 100


@given(pairs, st.sampled_from([0.001, 0.5, 100.0]))
def test_another_currency_changes_no_measure_of_ratios(drawn: Pairs, rate: float) -> None:
    found = accuracy(*drawn)
    converted = accuracy(*([amount * rate for amount in amounts] for amounts in drawn))
    for name in ("median_ratio", "mdape", "cod", "prd"):
        assert close(getattr(converted, name), getattr(found, name))
    assert close(converted.mae, found.mae * rate)


@given(pairs, st.randoms())
def test_the_order_of_the_sales_does_not_matter(drawn: Pairs, random: object) -> None:
    shuffled = list(zip(*drawn, strict=True))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    estimates, sold = ([*column] for column in zip(*shuffled, strict=True))
    found, again = accuracy(*drawn), accuracy(estimates, sold)
    for name in (*RATIO_MEASURES, "mae", "mse"):
        assert close(getattr(again, name), getattr(found, name))


@given(st.lists(prices, min_size=2, max_size=40, unique=True))
def test_perfect_estimates_have_no_error(sold: list[float]) -> None:
    found = accuracy(sold, sold)
    assert asdict(found) == {
        **dict.fromkeys(("mdape", "mae", "mse", "rmse", "fsd", "cod", "prb"), 0.0),
        **dict.fromkeys(("median_ratio", "r2", "prd"), 1.0),
        **dict.fromkeys(("ppe5", "ppe10", "ppe20"), 100.0),
        "n": len(sold),
    }


def test_an_estimate_that_is_off_by_exactly_the_limit_lies_within_it() -> None:
    found = accuracy([110_000.0, 90_000.0, 95_000.0, 120_000.0], [100_000.0] * 4)
    assert (found.ppe5, found.ppe10, found.ppe20) == (25.0, 75.0, 100.0)


def test_estimates_that_are_too_low_for_dear_houses_show_in_prd_and_prb() -> None:
    sold = [100_000.0 * step for step in range(1, 11)]
    found = accuracy([price**0.9 for price in sold], sold)
    assert found.prd is not None
    assert found.prd > 1.03
    assert found.prb is not None
    assert found.prb < -0.05


@pytest.mark.parametrize(
    ("estimates", "sold", "undefined"),
    [
        ([90_000.0], [100_000.0], {"r2", "fsd", "prb"}),
        ([0.0, 0.0], [100_000.0, 200_000.0], {"cod", "prd", "prb"}),
        ([0.0, 0.0, 9e4], [1e5, 2e5, 1e5], {"cod", "prb"}),
        ([100_000.0, 100_000.0], [100_000.0, 100_000.0], {"r2", "prb"}),
    ],
)
def test_what_is_not_defined_is_none(estimates: list[float], sold: list[float], undefined: set[str]) -> None:
    found = accuracy(estimates, sold)
    assert {name for name, value in asdict(found).items() if value is None} == undefined
    assert isinstance(found, Accuracy)


@pytest.mark.parametrize(
    ("estimates", "sold"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0]), ([-1.0], [1.0]), ([1.0, 1.0], [1.0, -1.0])]
)
def test_what_cannot_be_measured_is_refused(estimates: Sequence[float], sold: Sequence[float]) -> None:
    with pytest.raises(ValueError, match=r"must (not )?(be|have)"):
        accuracy(estimates, sold)
