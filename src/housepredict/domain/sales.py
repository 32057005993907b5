"""Sales to train models on, and realized sales that are recorded for predictions."""

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
"""The share of the houses whose sales are held out."""

Cell = str | int | float | bool | date | None
"""A cell of a table of sales: text from a CSV file, or a typed value from a file with types."""


@frozen
class Sale:
    """A house and its sale price. All sales of a house have the same `house_key`."""

    house: House
    price: float
    house_key: str
    sold_on: date | None = None


@frozen
class SalesTable:
    """A table of sales, as read from its source.

    Attributes:
        digest: the SHA-256 of the source, in hexadecimal.
        rejected: the number of unreadable rows by reason.
        schema: the features; None infers them.
        held_out: for each row, whether it is held out; None derives it from the key of the house.
        house_keys: for each row, the key of its house; None derives it from the columns.
        recorded: the number of recorded sales in the table; None if recorded sales were not requested.
        read_on: the latest accepted sale date; None accepts any date.
        notes: how the source was read, such as its encoding.
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
    """Whether the sales of a house are held out.

    This depends on the house alone. So no model is trained on sales that it is later compared on, even if files differ.
    """
    digest = hashlib.sha256(house_key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def create_house_key(properties: Mapping[str, Value]) -> str:
    """Create the key of a house without an identifier from its properties."""
    return json.dumps(properties, sort_keys=True)


_BATCH_SIZE = 1000


@frozen
class RecordedSale:
    """A realized sale that is recorded for a prediction.

    `id` is a UUIDv7. Of several sales of one prediction, the one with the largest id counts; the others are its
    history. `price` is in the currency of the estimates, rounded to cents. `recorded_at` is in UTC.
    """

    id: UUID
    prediction: UUID
    price: float
    sold_on: date
    recorded_at: datetime


@frozen
class RealizedSale:
    """A recorded sale and its prediction. The prediction is None while it is unknown: it may still be in a spool."""

    sale: RecordedSale
    prediction: Prediction | None

    @property
    def ratio(self) -> float | None:
        """The sales ratio, estimate / price; None if the prediction is unknown."""
        return None if self.prediction is None else self.prediction.price / self.sale.price


def with_predictions(
    sales: Sequence[RecordedSale], find: Callable[[Sequence[UUID]], Sequence[Prediction]]
) -> Iterator[RealizedSale]:
    """Match sales with their predictions. `find` reads these in batches (see PredictionRepository.find)."""
    for start in range(0, len(sales), _BATCH_SIZE):
        batch = sales[start : start + _BATCH_SIZE]
        known = {prediction.id: prediction for prediction in find([sale.prediction for sale in batch])}
        yield from (RealizedSale(sale, known.get(sale.prediction)) for sale in batch)
