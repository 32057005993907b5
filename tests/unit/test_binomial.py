"""The exact binomial test, compared with SciPy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from housepredict.domain.evaluation.coverage import binomial_p_value

probabilities = st.sampled_from([0.5, 0.8, 0.9]) | st.floats(0.001, 0.999)
outcomes = st.integers(1, 2000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


@given(outcomes, probabilities)
def test_p_value_equals_scipys(outcome: tuple[int, int], probability: float) -> None:
    p_value = binomial_p_value(*outcome, probability)
    assert p_value == pytest.approx(binomtest(*outcome, probability).pvalue, rel=1e-6, abs=1e-200)


@given(st.integers(1, 100_000), probabilities)
def test_p_value_of_the_mode_is_one(trials: int, probability: float) -> None:
    mode = min(int((trials + 1) * probability), trials)
    assert binomial_p_value(mode, trials, probability) == pytest.approx(1, rel=1e-6)


@given(st.integers(0, 500), st.integers(500, 1000), probabilities)
def test_p_value_is_symmetric_in_successes_and_failures(successes: int, trials: int, probability: float) -> None:
    mirrored = binomial_p_value(trials - successes, trials, 1 - probability)
    assert binomial_p_value(successes, trials, probability) == pytest.approx(mirrored, rel=1e-6, abs=1e-200)


@pytest.mark.parametrize(
    ("successes", "trials", "probability"), [(-1, 5, 0.5), (6, 5, 0.5), (0, 0, 0.5), (1, 5, 0.0), (1, 5, 1.0)]
)
def test_p_value_of_impossible_arguments_is_rejected(successes: int, trials: int, probability: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        binomial_p_value(successes, trials, probability)
