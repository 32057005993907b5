"""Sales: those that models are trained on, and those recorded for predictions."""

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

Cell = str | int | float | bool | date | None
"""One cell of a table of sales: text as a CSV file has it, or a typed value where the file has types."""


@frozen
class Sale:
    """A house and its sale price. `house_key` is the same for all sales of the house."""

    house: House
    price: float
    house_key: str
    sold_on: date | None = None


@frozen
class SalesTable:
    """A table of sales as it was read.

    `columns` are equally long; `rejected` counts unreadable rows by reason. `digest` is the SHA-256 of the file in
    hexadecimal. A source may bring the `schema`, the split as `held_out`, a flag for each row, and the `house_keys`;
    otherwise they are inferred. `recorded` is the number of recorded sales, None for a source without any. `read_on` is
    the latest date that a sale can have; None if that doesn't matter. `notes` say how the file was read.
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
    """Whether the sales of a house are held out. It depends on the house alone, not on the file or the training, so no
    model was trained on the sales that another is compared on.
    """
    digest = hashlib.sha256(house_key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def key_of(properties: Mapping[str, Value]) -> str:
    """The key of a house without an identifier: its properties."""
    return json.dumps(properties, sort_keys=True)


_AT_ONCE = 1000


@frozen
class RecordedSale:
    """A realized sale of a house with a prediction.

    `id` is a UUIDv7: of several sales of a prediction the one with the largest id counts, the others are its history.
    `price` is in the currency of the estimates, a float of whole cents; `recorded_at` is in UTC.
    """

    id: UUID
    prediction: UUID
    price: float
    sold_on: date
    recorded_at: datetime


@frozen
class RealizedSale:
    """A recorded sale and its prediction, None while it is unknown: predictions may arrive from a spool after their
    sales.
    """

    sale: RecordedSale
    prediction: Prediction | None

    @property
    def ratio(self) -> float | None:
        """The sales ratio, estimate / price."""
        return None if self.prediction is None else self.prediction.price / self.sale.price


def with_predictions(
    sales: Sequence[RecordedSale], find: Callable[[Sequence[UUID]], Sequence[Prediction]]
) -> Iterator[RealizedSale]:
    """Match sales with their predictions, which `find` (see PredictionRepository) reads in batches."""
    for start in range(0, len(sales), _AT_ONCE):
        batch = sales[start : start + _AT_ONCE]
        known = {prediction.id: prediction for prediction in find([sale.prediction for sale in batch])}
        yield from (RealizedSale(sale, known.get(sale.prediction)) for sale in batch)
