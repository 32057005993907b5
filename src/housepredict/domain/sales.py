"""What a house that was estimated sold for, as somebody told it later."""

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
    """A house, and what it sold for. `house_key` names the house across its resales."""

    house: House
    price: float
    house_key: str
    sold_on: date | None = None


@frozen
class SalesTable:
    """A file of sales as it was read.

    `columns` are equally long; `rejected` counts by reason the rows that could not be read at all. `digest` is the
    SHA-256 of the file in hexadecimal. A source that knows its features brings their `schema`, one with a split of its
    own `held_out`, a flag for each row, and one that knows its houses `house_keys`; for all others these are inferred.
    `recorded` is how many rows are sales that came back, None for a source that has none of these. `read_on` is the
    latest date that a sale can have; None where that doesn't matter. `notes` say what was decided to read it.
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
    """Whether the sales of a house are kept for evaluation.

    It depends on the house alone: whichever file it stands in, and whichever model is trained, the answer is the
    same, so no model has learned from the sales that another is compared on.
    """
    digest = hashlib.sha256(house_key.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def key_of(properties: Mapping[str, Value]) -> str:
    """The key of a house whose file names no identifier: what the file says of the house itself."""
    return json.dumps(properties, sort_keys=True)


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
class RealizedSale:
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
) -> Iterator[RealizedSale]:
    """Match sales with their predictions, which `find` (see PredictionRepository) reads some at a time."""
    for start in range(0, len(sales), _AT_ONCE):
        some = sales[start : start + _AT_ONCE]
        known = {each.id: each for each in find([sale.prediction for sale in some])}
        yield from (RealizedSale(sale, known.get(sale.prediction)) for sale in some)
