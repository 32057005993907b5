"""What a house would sell for, and the record of having said so."""

from __future__ import annotations

import math
from datetime import date, datetime
from uuid import UUID

from attrs import frozen

from housepredict.domain.features import Caveat, House

MAX_PRICE = 1e13
"""Estimates end below this price: up to there a float holds every cent exactly."""


def whole_cents(price: float) -> float | None:
    """A model's output as a price: rounded to the cent, never negative; None where it is no price at all."""
    if not math.isfinite(price):
        return None
    # in this order, so that -0.0 becomes 0.0
    cents = round(max(0.0, price), 2)
    return cents if cents < MAX_PRICE else None


@frozen
class Estimate:
    """What a model says a house would sell for.

    `price` is in the currency of the sales that the model learned from, a float of whole cents. `valued_on` is the
    date that the price holds for, None for a model that knows no dates.
    """

    house: House
    price: float
    model_version: str
    valued_on: date | None = None
    caveats: tuple[Caveat, ...] = ()


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
