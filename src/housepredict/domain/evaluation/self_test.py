"""The self-test, which a model version must pass before it goes into service."""

from __future__ import annotations

from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import round_to_cents
from housepredict.domain.ports import Predictor


def require_self_test(predictor: Predictor) -> None:
    """Raise RefusedModel if a version's estimates for its self-test houses differ from the expected prices."""
    tests = predictor.version.self_test
    try:
        prices = predictor.predict([test.house for test in tests]).prices
    except (ArithmeticError, ValueError) as error:
        raise RefusedModel(
            f"Model version {predictor.version.name} cannot estimate the houses of its self-test: {error}"
        ) from error
    for test, price in zip(tests, prices, strict=True):
        actual, expected = round_to_cents(price), round_to_cents(test.price)
        # The tolerance allows for rounding to cents, and for differences in exp() between processors.
        if actual is None or expected is None or abs(actual - expected) > max(0.011, 1e-9 * expected):
            raise RefusedModel(
                f"Model version {predictor.version.name} fails its self-test: the estimate is {price}, not {test.price}"
            )
