"""The self-test of a model version, before it serves."""

from __future__ import annotations

from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import whole_cents
from housepredict.domain.ports import Predictor


def require_self_test(predictor: Predictor) -> None:
    """Check that the houses of the version's self-test get their prices. Raises RefusedModel."""
    tests = predictor.version.self_test
    try:
        prices = predictor.predict([test.house for test in tests]).prices
    except (ArithmeticError, ValueError) as error:
        raise RefusedModel(
            f"Model version {predictor.version.name} cannot value the houses of its self-test: {error}"
        ) from error
    for test, price in zip(tests, prices, strict=True):
        actual, expected = whole_cents(price), whole_cents(test.price)
        # prices are rounded to cents, and the last bit of an exponential differs between processors
        if actual is None or expected is None or abs(actual - expected) > max(0.011, 1e-9 * expected):
            raise RefusedModel(
                f"Model version {predictor.version.name} fails its self-test: it says {price} where {test.price} is due"
            )
