"""The sales that a version was evaluated on, one by one: kept with it, for people to look at, and never read to serve.

One file of the artefact, `held-out.json`. The same training makes the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import date
from random import Random
from typing import Any, Final, TypeVar

from attrs import astuple, fields, frozen

from housepredict.domain.coordinates import coordinates
from housepredict.domain.errors import RefusedModel
from housepredict.domain.evaluation import Valued
from housepredict.domain.features import FeatureSchema
from housepredict.domain.formats import require_format
from housepredict.domain.models import Artefact

HELD_OUT_FILE: Final = "held-out.json"
"""The place of these sales in an artefact."""

MOST_KEPT = 5000
"""Of more sales, a sample is kept: some 60 bytes for each."""

_FORMAT = 1
_SEED = 42

T = TypeVar("T")


@frozen
class HeldOutSale:
    """What a house sold for, and what a version said of it.

    `spread` is how uncertain it was (see Calibration), None if it could not tell; the date and the place in degrees
    are None where the sales have none.
    """

    estimate: float
    price: float
    spread: float | None = None
    sold_on: date | None = None
    latitude: float | None = None
    longitude: float | None = None

    @property
    def ratio(self) -> float:
        """The sales ratio."""
        return self.estimate / self.price

    def within(self, factor: float) -> bool:
        """Whether the price lies in the interval that `factor` spreads make (see Calibration.intervals)."""
        return (
            self.spread is not None
            and self.estimate > 0
            and abs(math.log(self.price / self.estimate)) <= factor * self.spread
        )


@frozen
class HeldOut:
    """The sales that are kept, and how many there were to take them from."""

    sales: tuple[HeldOutSale, ...]
    of: int


def sample(rows: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the rows, in order; always the same of the same number."""
    if len(rows) <= most:
        return rows
    return [rows[at] for at in sorted(Random(_SEED).sample(range(len(rows)), most))]


def held_out(rows: Sequence[Valued], schema: FeatureSchema) -> HeldOut:
    """What is kept of the sales that a version was evaluated on."""
    places = coordinates(schema) or ()
    return HeldOut(tuple(_kept(row, places) for row in sample(rows, MOST_KEPT)), len(rows))


def _kept(row: Valued, places: Sequence[str]) -> HeldOutSale:
    values = row.sale.house.values
    known = [float(values[name]) for name in places if name in values]
    return HeldOutSale(
        round(row.estimate, 2),
        row.sale.price,
        None if row.spread is None else float(f"{row.spread:.6g}"),
        row.sale.sold_on,
        *(known if len(known) == 2 else ()),
    )


def to_json(kept: HeldOut) -> bytes:
    """The sales as a file."""
    document = {
        "format": _FORMAT,
        "of": kept.of,
        "columns": _COLUMNS,
        "sales": [astuple(sale) for sale in kept.sales],
    }
    return json.dumps(document, separators=(",", ":"), default=date.isoformat, allow_nan=False).encode()


def of_artefact(artefact: Artefact) -> HeldOut | None:
    """The sales that are kept in an artefact; None in one of before they were. Raises RefusedModel if it is damaged."""
    if HELD_OUT_FILE not in artefact:
        return None
    try:
        document = json.loads(artefact[HELD_OUT_FILE])
        require_format(document["format"], _FORMAT, HELD_OUT_FILE)
        columns = document.get("columns", _COLUMNS)
        return HeldOut(tuple(_read(columns, row) for row in document["sales"]), int(document["of"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RefusedModel(f"{HELD_OUT_FILE} holds no sales: {error}") from error


_COLUMNS: Final = tuple(field.name for field in fields(HeldOutSale))


def _read(columns: Sequence[str], row: Sequence[object]) -> HeldOutSale:
    """Read a row by the names of its columns: those that this release doesn't know are ignored."""
    values = {name: _value(name, value) for name, value in zip(columns, row, strict=True) if name in _COLUMNS}
    sale = HeldOutSale(**values)
    if sale.estimate < 0 or sale.price <= 0:
        raise ValueError(f"a price of {sale.price}, an estimate of {sale.estimate}")
    return sale


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "sold_on":
        return date.fromisoformat(value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} of {number}")
    return number
