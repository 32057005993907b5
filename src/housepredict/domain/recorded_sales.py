"""What a house that was estimated sold for, as somebody told it later."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from uuid import UUID

from attrs import frozen

from housepredict.domain.estimates import Prediction

_AT_ONCE = 1000


@frozen
class RecordedSale:
    """The sale of a house that a prediction was made for.

    `id` is a UUIDv7 of its own: of several sales of a prediction the one with the largest id counts, the others are its
    history. `price` is in the currency of the estimates, a float of whole cents; `recorded_at` is in UTC.
    """

    id: UUID
    prediction: UUID
    price: float
    sold_on: date
    recorded_at: datetime


@frozen
class ReturnedSale:
    """A sale that came back, and the prediction that it is the sale of: None while nobody knows such a prediction.

    Predictions may arrive after their sales: from the spool of a service that was cut off.
    """

    sale: RecordedSale
    prediction: Prediction | None

    @property
    def ratio(self) -> float | None:
        """The sales ratio, estimate / price."""
        return None if self.prediction is None else self.prediction.price / self.sale.price


def with_predictions(
    sales: Sequence[RecordedSale], find: Callable[[Sequence[UUID]], Sequence[Prediction]]
) -> Iterator[ReturnedSale]:
    """Match sales with their predictions, which `find` (see PredictionRepository) reads some at a time."""
    for start in range(0, len(sales), _AT_ONCE):
        some = sales[start : start + _AT_ONCE]
        known = {each.id: each for each in find([sale.prediction for sale in some])}
        yield from (ReturnedSale(sale, known.get(sale.prediction)) for sale in some)
