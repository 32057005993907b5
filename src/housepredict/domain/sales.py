"""Houses that were sold: what a model learns from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date

from attrs import field, frozen

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
