"""What moved an estimate, feature by feature."""

from __future__ import annotations

import math
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple, assert_never
from uuid import UUID

from attrs import frozen

from housepredict.domain.features import EstimateWarning, House

MAX_PRICE = 1e13
"""Estimates end below this price: up to there a float holds every cent exactly."""

LEVELS = (80, 90)
"""The levels of intervals, in percent."""

MAX_LOG_FACTOR = 30.0
"""Intervals are not wider than a factor of e^30 either way: a model that is less sure than that knows nothing."""


def whole_cents(price: float) -> float | None:
    """A model's output as a price: rounded to the cent, never negative; None where it is no price at all."""
    if not math.isfinite(price):
        return None
    # in this order, so that -0.0 becomes 0.0
    cents = round(max(0.0, price), 2)
    return cents if cents < MAX_PRICE else None


class Interval(NamedTuple):  # of which every estimate has two: a tuple is made in half the time
    """Between which prices a house sells with a probability of `level` percent; bounds are floats of whole cents."""

    level: int
    low: float
    high: float

    def holds(self, price: float) -> bool:
        """Whether a sale price lies inside. An interval that ends at `MAX_PRICE` has no end, and holds none."""
        return self.low <= price <= self.high < MAX_PRICE


@frozen
class Calibration:
    """How far sale prices were from estimates of houses that the model had not learned from.

    The model has a spread for each house: how uncertain it is beside other houses. `within_80` and `within_90` are what
    |ln(sale price / estimate)| / spread did not exceed for that share of the sales, None where there were too few to
    say; `deviation` is the standard deviation of ln(sale price / estimate) / spread. `within_tenths` are as the first
    two, for 10, 20, … 90 % of the sales, as far as there were enough.
    (Split conformal prediction with normalised scores: Lei et al., JASA 113 (2018), section 5.2.)
    """

    within_80: float | None
    within_90: float | None
    deviation: float
    within_tenths: tuple[float, ...] = ()

    def intervals(self, price: float, spread: float) -> tuple[Interval, ...]:
        """The intervals around an estimate."""
        found = []
        for level, within in zip(LEVELS, (self.within_80, self.within_90), strict=True):
            if within is not None:
                factor = math.exp(min(within * spread, MAX_LOG_FACTOR))
                high = min(round(price * factor, 2), MAX_PRICE)
                found.append(Interval(level, round(price / factor, 2), high))
        return tuple(found)

    def fsd(self, spread: float) -> float:
        """The forecast standard deviation of an estimate, in percent of the price."""
        return round(100 * math.expm1(min(self.deviation * spread, MAX_LOG_FACTOR)), 2)


@frozen
class Estimate:
    """What a model says a house would sell for.

    `price` is in the currency of the sales that the model learned from, a float of whole cents. `valued_on` is the
    date that the price holds for, None for a model that knows no dates. `intervals` and `fsd`, the forecast standard
    deviation in percent, say how sure the model is; a model that cannot tell has none. `generation` is that of the
    promotion which put the model version in service (see Pointer), None where it is not known.
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
    """An estimate that was recorded. `id` is a UUIDv7: ids sort by the time they were given. `created_at` is in UTC."""

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
