"""What moved an estimate, feature by feature."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import assert_never

from attrs import frozen

from housepredict.domain.estimates import Prediction

_BEYOND = 700.0
"""No price changes by this much, and a float could not hold its inverse."""


class Unit(StrEnum):
    """What contributions are amounts of: the price, in the currency of the sales, or its natural logarithm."""

    PRICE = "price"
    LOG_PRICE = "log_price"


@frozen
class Contribution:
    """What knowing these features adds to an estimate: one feature, or several that the model looks at as one."""

    features: tuple[str, ...]
    amount: float

    @property
    def name(self) -> str:
        """The features, for people."""
        return ", ".join(self.features)

    @property
    def percent(self) -> float:
        """What an amount of a logarithm makes of a price, in percent of it; such percentages multiply."""
        return 100 * math.expm1(min(self.amount, _BEYOND))


@frozen
class Explanation:
    """What moved an estimate: `base` is what the model says of a house that it knows nothing of, and the contributions,
    in the order of the schema, add up from there to what it says of this one, neither rounded nor cut off.

    They are Shapley values (Lundberg and Lee, NIPS 2017; see the adapter for whose expectations). All of it is in
    `unit`.
    """

    unit: Unit
    base: float
    contributions: tuple[Contribution, ...]

    @property
    def base_price(self) -> float:
        """The base as a price, in the currency of the sales."""
        match self.unit:
            case Unit.PRICE:
                return self.base
            case Unit.LOG_PRICE:
                return math.exp(self.base)
            case _:
                assert_never(self.unit)


@frozen
class ExplainedPrediction(Prediction):
    """A prediction as it was recorded, and what moved it, which was not: its version can tell again."""

    explanation: Explanation
