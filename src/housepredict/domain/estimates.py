"""Estimates, their intervals and their explanations."""

from __future__ import annotations

import math
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, assert_never
from uuid import UUID

from attrs import frozen

from housepredict.domain.features import House
from housepredict.domain.warnings import EstimateWarning

MAX_PRICE = 1e13
"""Limit for estimates: each estimate is below it. Floats below this limit are precise to the cent."""

LEVELS = (80, 90)
"""The levels of the intervals, in percent."""

MAX_LOG_FACTOR = 30.0
"""Upper bound on ln(high / estimate) and ln(estimate / low) for any interval."""


def round_to_cents(price: float) -> float | None:
    """Round a model's output to cents. Negative prices become 0.

    Returns:
        The rounded price, or None if the output is infinite, NaN, or not below MAX_PRICE.
    """
    if not math.isfinite(price):
        return None
    # max(0.0, -0.0) is 0.0, but max(-0.0, 0.0) is -0.0.
    cents = round(max(0.0, price), 2)
    return cents if cents < MAX_PRICE else None


class Interval(NamedTuple):  # Every estimate has two intervals, and tuples are created twice as fast as attrs classes.
    """A price range that contains the sale price with a probability of `level` percent. Bounds are rounded to cents."""

    level: int
    low: float
    high: float

    def holds(self, price: float) -> bool:
        """Return whether the interval contains a sale price.

        Always False if `high` is MAX_PRICE. Such an interval was cut off there, so it says nothing about high prices.
        """
        return self.low <= price <= self.high < MAX_PRICE


@frozen
class Calibration:
    """The distribution of a model's errors on sales that the model was not fitted to. Intervals are derived from it.

    Errors are measured as scores: the score of a sale is |ln(sale price / estimate)| / spread. The spread is the error
    that the model expects for the house, or 1 if the model doesn't estimate its errors. (This is split conformal
    prediction with normalized scores: Lei et al., JASA 113 (2018), section 5.2.)

    Attributes:
        within_80: the score that 80% of the sales don't exceed, or None if there were too few sales to determine it.
        within_90: the score that 90% of the sales don't exceed, or None if there were too few sales to determine it.
        deviation: the standard deviation of ln(sale price / estimate) / spread.
        within_tenths: the scores that 10%, 20%, … 90% of the sales don't exceed. High percentages are omitted if there
            were too few sales to determine their scores.
    """

    within_80: float | None
    within_90: float | None
    deviation: float
    within_tenths: tuple[float, ...] = ()

    def intervals(self, price: float, spread: float) -> tuple[Interval, ...]:
        """Compute the 80% and 90% intervals for an estimate. An interval is omitted if its score is None.

        Args:
            price: the estimate.
            spread: the spread of the estimate (see Calibration).
        """
        intervals = []
        for level, within in zip(LEVELS, (self.within_80, self.within_90), strict=True):
            if within is not None:
                factor = math.exp(min(within * spread, MAX_LOG_FACTOR))
                high = min(round(price * factor, 2), MAX_PRICE)
                intervals.append(Interval(level, round(price / factor, 2), high))
        return tuple(intervals)

    def fsd(self, spread: float) -> float:
        """Compute the forecast standard deviation of an estimate with this spread, in percent of the price."""
        return round(100 * math.expm1(min(self.deviation * spread, MAX_LOG_FACTOR)), 2)


@frozen
class Estimate:
    """A price estimate for a house.

    Attributes:
        price: the price in the currency of the training sales, rounded to cents.
        valued_on: the date that the price is for, or None if the model does not use dates.
        model_version: the name of the model version.
        intervals: the 80% and 90% intervals. Empty if the model has no calibration.
        fsd: the forecast standard deviation, in percent of the price. None if the model has no calibration.
        generation: the generation number of the model version's promotion (see Pointer), or None if it is unknown.
    """

    house: House
    price: float
    model_version: str
    valued_on: date | None = None
    warnings: tuple[EstimateWarning, ...] = ()
    intervals: tuple[Interval, ...] = ()
    fsd: float | None = None
    generation: int | None = None


@frozen
class Prediction:
    """A stored estimate. `id` is a UUIDv7, so ids sort by time. `created_at` is in UTC."""

    id: UUID
    created_at: datetime
    estimate: Estimate

    @property
    def price(self) -> float:
        """The estimated price."""
        return self.estimate.price


_MAX_AMOUNT = 700.0
"""`Contribution.percent` treats larger amounts as this amount. exp(x) overflows a float if x is above about 709."""


class Unit(StrEnum):
    """The unit of contributions: either the price in the currency of the training sales, or its natural logarithm."""

    PRICE = "price"
    LOG_PRICE = "log_price"


@frozen
class Contribution:
    """The contribution of a feature to an estimate. Features that the model combines share one contribution.

    Attributes:
        features: the names of the features.
        amount: the contribution, in the unit of the explanation.
    """

    features: tuple[str, ...]
    amount: float

    @property
    def name(self) -> str:
        """The feature names, separated by commas, for display."""
        return ", ".join(self.features)

    @property
    def percent(self) -> float:
        """The contribution's effect on the price, in percent. Valid only if the explanation's unit is the log price."""
        return 100 * math.expm1(min(self.amount, _MAX_AMOUNT))


@frozen
class Explanation:
    """An explanation of an estimate: the Shapley values of its features (Lundberg and Lee, NIPS 2017).

    Each Explainer documents how it computes the values. The sum of the base and all contributions is the model's
    unrounded output.

    Attributes:
        unit: the unit of the base and the contributions.
        base: the model's average output. It is the starting point for a house about which nothing is known yet.
        contributions: the contributions, in the order of the schema.
    """

    unit: Unit
    base: float
    contributions: tuple[Contribution, ...]

    @property
    def base_price(self) -> float:
        """The base as a price in the currency of the training sales."""
        match self.unit:
            case Unit.PRICE:
                return self.base
            case Unit.LOG_PRICE:
                return math.exp(self.base)
            case _:
                assert_never(self.unit)


@frozen
class ExplainedPrediction(Prediction):
    """A stored prediction with an explanation. The explanation itself is not stored."""

    explanation: Explanation
