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
"""Estimates must be below this price, so that a float holds every cent exactly."""

LEVELS = (80, 90)
"""The levels of intervals, in percent."""

MAX_LOG_FACTOR = 30.0
"""The largest natural logarithm of high / estimate, and of estimate / low, of an interval."""


def round_to_cents(price: float) -> float | None:
    """Convert a model's output to a price: rounded to cents, never negative; None if it is not finite or too large."""
    if not math.isfinite(price):
        return None
    # max(0.0, -0.0) is 0.0; the other order would keep the sign.
    cents = round(max(0.0, price), 2)
    return cents if cents < MAX_PRICE else None


class Interval(NamedTuple):  # Every estimate has two, and a tuple is created in half the time of an attrs class.
    """The bounds that a sale price lies between with a probability of `level` percent, rounded to cents."""

    level: int
    low: float
    high: float

    def holds(self, price: float) -> bool:
        """Whether a sale price is inside. An interval that ends at `MAX_PRICE` is unbounded and holds no price."""
        return self.low <= price <= self.high < MAX_PRICE


@frozen
class Calibration:
    """The distribution of a model's errors, relative to its spread, on sales that it was not fitted to.

    The spread is the model's own estimate of its error for a house. The score of a sale is
    |ln(sale price / estimate)| / spread. (Split conformal prediction with normalized scores: Lei et al., JASA 113
    (2018), section 5.2.)

    Attributes:
        within_80: the score that 80% of the sales don't exceed; None if there were too few sales.
        within_90: the same for 90% of the sales.
        deviation: the standard deviation of ln(sale price / estimate) / spread.
        within_tenths: the scores that 10, 20, … 90% of the sales don't exceed, up to the last with enough sales.
    """

    within_80: float | None
    within_90: float | None
    deviation: float
    within_tenths: tuple[float, ...] = ()

    def intervals(self, price: float, spread: float) -> tuple[Interval, ...]:
        """Compute the intervals around an estimate from its spread (see Calibration)."""
        intervals = []
        for level, within in zip(LEVELS, (self.within_80, self.within_90), strict=True):
            if within is not None:
                factor = math.exp(min(within * spread, MAX_LOG_FACTOR))
                high = min(round(price * factor, 2), MAX_PRICE)
                intervals.append(Interval(level, round(price / factor, 2), high))
        return tuple(intervals)

    def fsd(self, spread: float) -> float:
        """Compute the forecast standard deviation of an estimate, in percent of the price, from its spread."""
        return round(100 * math.expm1(min(self.deviation * spread, MAX_LOG_FACTOR)), 2)


@frozen
class Estimate:
    """An estimate of the price of a house.

    Attributes:
        price: the price in the currency of the training sales, rounded to cents.
        valued_on: the date that the price is for; None for a model without dates.
        intervals: the 80% and the 90% interval; empty for a model without a calibration.
        fsd: the forecast standard deviation, in percent of the price; None without a calibration.
        generation: the generation of the version's promotion (see Pointer); None if it is unknown.
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
    """A stored estimate. `id` is a UUIDv7, so that ids sort by time. `created_at` is in UTC."""

    id: UUID
    created_at: datetime
    estimate: Estimate

    @property
    def price(self) -> float:
        """The price of the estimate."""
        return self.estimate.price


_MAX_AMOUNT = 700.0
"""The largest logarithm in `Contribution.percent`: above about 709, the exponential overflows a float."""


class Unit(StrEnum):
    """The unit of contributions: the price, in the currency of the sales, or its natural logarithm."""

    PRICE = "price"
    LOG_PRICE = "log_price"


@frozen
class Contribution:
    """The contribution to an estimate of a feature, or of several that the model uses as one, in an Explanation."""

    features: tuple[str, ...]
    amount: float

    @property
    def name(self) -> str:
        """The names of the features, for people."""
        return ", ".join(self.features)

    @property
    def percent(self) -> float:
        """The change of the price in percent, if the amount is of its logarithm. Such changes multiply."""
        return 100 * math.expm1(min(self.amount, _MAX_AMOUNT))


@frozen
class Explanation:
    """The contributions of features to an estimate, in the order of the schema: Shapley values (Lundberg and Lee, NIPS
    2017; the adapter documents the expectations).

    `base` is the average output of the model before any feature is known. It and the contributions, all in `unit`, add
    up to the unrounded output for the house.
    """

    unit: Unit
    base: float
    contributions: tuple[Contribution, ...]

    @property
    def base_price(self) -> float:
        """The base as a price, in the currency of the training sales."""
        match self.unit:
            case Unit.PRICE:
                return self.base
            case Unit.LOG_PRICE:
                return math.exp(self.base)
            case _:
                assert_never(self.unit)


@frozen
class ExplainedPrediction(Prediction):
    """A stored prediction with its explanation. The explanation itself is not stored."""

    explanation: Explanation
