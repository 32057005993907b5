"""Training sales, and realized sales that were recorded for predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from uuid import UUID

from attrs import field, frozen

from housepredict.domain.estimates import Prediction
from housepredict.domain.features import FeatureSchema, House, Value

HELD_OUT_SHARE = 0.2
"""Share of houses whose sales are held out for evaluation."""

Cell = str | int | float | bool | date | None
"""A cell of a sales table. Its type is str if the sales are in a CSV file, because such files have no types."""


@frozen
class Sale:
    """A sale of a house.

    Attributes:
        price: the sale price.
        house_key: the key of the house. All sales of the same house have the same key.
        sold_on: the sale date, or None if it is unknown.
    """

    house: House
    price: float
    house_key: str
    sold_on: date | None = None


@frozen
class SalesTable:
    """A table of sales, as read from its source.

    Attributes:
        columns: the cells of each column, by column name.
        digest: the SHA-256 of the source, in hexadecimal.
        rejected: the number of sales in the source that were rejected and are not in the table, by reason.
        schema: the features. If None, they are inferred from the columns.
        held_out: whether each row is held out. If None, this is derived from the house keys.
        house_keys: the house key of each row. If None, the keys are derived from the columns.
        recorded: the number of recorded sales in the table, or None if recorded sales were not requested.
        read_on: the latest valid sale date. If None, all sale dates are valid.
        notes: how the source was read, such as the detected encoding.
    """

    columns: Mapping[str, Sequence[Cell]] = field(repr=False)
    digest: str
    rejected: Mapping[str, int] = field(factory=dict)
    schema: FeatureSchema | None = None
    held_out: Sequence[bool] | None = field(default=None, repr=False)
    house_keys: Sequence[str] | None = field(default=None, repr=False)
    recorded: int | None = None
    read_on: date | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))


def is_held_out(house_key: str) -> bool:
    """Return whether the sales of a house are held out.

    The result depends only on the house key, so a house is held out either in all sales files or in none. Therefore,
    models trained on different files can be compared on the same held-out sales.
    """
    digest = hashlib.sha256(house_key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def create_house_key(properties: Mapping[str, Value]) -> str:
    """Create the key of a house that has no identifier. Houses with the same properties get the same key."""
    return json.dumps(properties, sort_keys=True)


_BATCH_SIZE = 1000


@frozen
class RecordedSale:
    """The sale of a house, reported by a client for the house's prediction.

    If several sales are recorded for the same prediction, the one with the largest id counts. The others were
    corrected by later ones.

    Attributes:
        id: the id of the sale, a UUIDv7.
        prediction: the id of the prediction.
        price: the sale price in the currency of the estimates, rounded to cents.
        recorded_at: the time of recording, in UTC.
    """

    id: UUID
    prediction: UUID
    price: float
    sold_on: date
    recorded_at: datetime


@frozen
class RealizedSale:
    """A recorded sale and the prediction that it was recorded for, so that the two prices can be compared.

    Attributes:
        sale: the recorded sale.
        prediction: the prediction, or None if it is not in the database. It may still be in a spool.
    """

    sale: RecordedSale
    prediction: Prediction | None

    @property
    def ratio(self) -> float | None:
        """The sales ratio (estimate / sale price), or None if the prediction is unknown."""
        return None if self.prediction is None else self.prediction.price / self.sale.price


def with_predictions(
    sales: Sequence[RecordedSale], find: Callable[[Sequence[UUID]], Sequence[Prediction]]
) -> Iterator[RealizedSale]:
    """Yield each sale with its prediction. Predictions are looked up in batches.

    Args:
        sales: the recorded sales.
        find: a function that returns the predictions with the given ids, such as PredictionRepository.find.
    """
    for start in range(0, len(sales), _BATCH_SIZE):
        batch = sales[start : start + _BATCH_SIZE]
        known = {prediction.id: prediction for prediction in find([sale.prediction for sale in batch])}
        yield from (RealizedSale(sale, known.get(sale.prediction)) for sale in batch)
