"""Sales as tests draw them, and the order in which they are given back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from attrs import evolve
from hypothesis import strategies as st

from housepredict.domain.deliveries import Delivery
from housepredict.domain.estimates import MAX_PRICE
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.recorded_sales import RecordedSale
from housepredict.testing.drawing import Drawing
from housepredict.testing.drawn_predictions import AFTER_ALL, times

_ids = IdSequence()
_drawing = Drawing({datetime: times})
DIGESTS = ("0" * 64, "f" * 64)
"""Of two different bodies."""

prices = st.integers(1, int(MAX_PRICE) - 1).map(float) | st.integers(1, int(MAX_PRICE) * 100 - 1).map(
    lambda cents: cents / 100
)
"""Every price that validation lets through."""


def new_ids(count: int) -> Sequence[UUID]:
    """Ids above all that were given before."""
    return _ids.take(count, datetime.now(UTC))


@st.composite
def batches(draw: st.DrawFn, of: Sequence[UUID] | None = None, min_size: int = 0) -> list[RecordedSale]:
    """New sales in any order, some of the same prediction; of new predictions if none are given."""
    predictions = st.sampled_from(of or new_ids(3))
    sales = _drawing.builds(RecordedSale, id=st.just(AFTER_ALL), prediction=predictions, price=prices)
    drawn = draw(st.lists(sales, min_size=min_size, max_size=5))
    ids = draw(st.permutations(new_ids(len(drawn))))
    return [evolve(each, id=id_) for id_, each in zip(ids, drawn, strict=True)]


def some_sales(count: int, **values: object) -> list[RecordedSale]:
    """Sales of as many predictions."""
    sale = RecordedSale(new_ids(1)[0], new_ids(1)[0], 254206.02, date(2025, 6, 3), datetime(2025, 7, 1, tzinfo=UTC))
    found = [evolve(sale, id=each, prediction=new_ids(1)[0]) for each in new_ids(count)]
    return [evolve(each, **values) for each in found]  # type: ignore[arg-type]  # fields of a sale


def new_delivery(digest: str = DIGESTS[0]) -> Delivery:
    """One whose key was not seen before."""
    return Delivery(f"key {new_ids(1)[0]}", digest)


def by_id(sales: Sequence[RecordedSale]) -> list[RecordedSale]:
    """The order in which they were recorded."""
    return sorted(sales, key=lambda each: each.id)


def counting(sales: Sequence[RecordedSale]) -> list[RecordedSale]:
    """Those that count, in the order in which a repository gives them."""
    last = {each.prediction: each for each in by_id(sales)}
    return sorted(last.values(), key=lambda each: (each.sold_on, each.id), reverse=True)
