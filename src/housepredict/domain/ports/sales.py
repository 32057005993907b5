"""Where the sales that come back are remembered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Protocol
from uuid import UUID

from housepredict.domain.deliveries import Delivery
from housepredict.domain.recorded_sales import RecordedSale


class SaleRepository(Protocol):
    """Remembers what houses sold for that were estimated, and every correction. Raises RepositoryUnavailable when it
    cannot.
    """

    def append(self, sales: Sequence[RecordedSale], delivery: Delivery | None = None) -> Sequence[RecordedSale]:
        """Record a batch durably, all or nothing, and give it back in the order of its ids, which are new.

        What came with a delivery whose key is known is not recorded again: what the first one recorded is given back.
        Raises RepeatedKey if that one held something else.
        """

    def largest_id(self) -> UUID | None:
        """The largest of all sales' ids; None if there is none."""

    def current(
        self, since: date | None = None, until: date | None = None, limit: int | None = None
    ) -> Sequence[RecordedSale]:
        """The sale of each prediction as it was recorded last; of those, what was sold from `since` to `until`, both
        included, latest sale first, of one day the one with the largest id; at most `limit`.
        """

    def erase(self, predictions: Sequence[UUID]) -> int:
        """Forget everything that was recorded for these predictions, durably, all or nothing; how many sales it was.

        The keys that these came with stay known: a delivery that comes again brings none of them back.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """As above, of predictions with an id below `before`, at most `limit` sales."""

    def history(self, prediction: UUID) -> Sequence[RecordedSale]:
        """Everything that was recorded for a prediction, oldest first; the last is what counts."""
