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
"""Estimates end below this price: up to there a float holds every cent exactly."""

LEVELS = (80, 90)
"""The levels of intervals, in percent."""

MAX_LOG_FACTOR = 30.0
"""Intervals are at most a factor of e^30 wide either way."""


def whole_cents(price: float) -> float | None:
    """A model's output as a price: rounded to the cent, never negative; None if it is not finite or too large."""
    if not math.isfinite(price):
        return None
    # in this order, so that -0.0 becomes 0.0
    cents = round(max(0.0, price), 2)
    return cents if cents < MAX_PRICE else None


class Interval(NamedTuple):  # of which every estimate has two: a tuple is made in half the time
    """The prices that a house sells between with a probability of `level` percent, as floats of whole cents."""

    level: int
    low: float
    high: float

    def holds(self, price: float) -> bool:
        """Whether a sale price lies inside. An interval up to `MAX_PRICE` has no end, and holds none."""
        return self.low <= price <= self.high < MAX_PRICE


@frozen
class Calibration:
    """The distribution of errors on sales that the model was not fitted to, relative to its spread for each house.

    `within_80` and `within_90` are the values that |ln(sale price / estimate)| / spread did not exceed for that share
    of the sales, None for too few; `deviation` is the standard deviation of ln(sale price / estimate) / spread.
    `within_tenths` are as the first two, for 10, 20, … 90% of the sales, as far as there were enough.
    (Split conformal prediction with normalized scores: Lei et al., JASA 113 (2018), section 5.2.)
    """

    within_80: float | None
    within_90: float | None
    deviation: float
    within_tenths: tuple[float, ...] = ()

    def intervals(self, price: float, spread: float) -> tuple[Interval, ...]:
        """The intervals around an estimate."""
        intervals = []
        for level, within in zip(LEVELS, (self.within_80, self.within_90), strict=True):
            if within is not None:
                factor = math.exp(min(within * spread, MAX_LOG_FACTOR))
                high = min(round(price * factor, 2), MAX_PRICE)
                intervals.append(Interval(level, round(price / factor, 2), high))
        return tuple(intervals)

    def fsd(self, spread: float) -> float:
        """The forecast standard deviation of an estimate, in percent of the price."""
        return round(100 * math.expm1(min(self.deviation * spread, MAX_LOG_FACTOR)), 2)


@frozen
class Estimate:
    """An estimate of the price of a house.

    `price` is in the currency of the training sales, a float of whole cents. `valued_on` is the date that the price is
    for, None for a model without dates. A model without a calibration has no `intervals` and no `fsd`, the forecast
    standard deviation in percent. `generation` is that of the promotion of the model version (see Pointer), None if it
    is unknown.
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
        """The estimate's price."""
        return self.estimate.price


_BEYOND = 700.0
"""No price changes by this much, and a float could not hold its inverse."""


class Unit(StrEnum):
    """The unit of contributions: the price, in the currency of the sales, or its natural logarithm."""

    PRICE = "price"
    LOG_PRICE = "log_price"


@frozen
class Contribution:
    """The contribution of a feature to an estimate, or of several that the model uses as one."""

    features: tuple[str, ...]
    amount: float

    @property
    def name(self) -> str:
        """The features, for people."""
        return ", ".join(self.features)

    @property
    def percent(self) -> float:
        """The change of the price by an amount of its logarithm, in percent; such percentages multiply."""
        return 100 * math.expm1(min(self.amount, _BEYOND))


@frozen
class Explanation:
    """The contributions to an estimate, in the order of the schema and in `unit`. From `base`, the average before any
    feature is known, they add up to the model's output, neither rounded nor cut off.

    They are Shapley values (Lundberg and Lee, NIPS 2017; see the adapter for the expectations).
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
    """A stored prediction with its explanation, which is computed and not stored."""

    explanation: Explanation
