"""Which predictions were made for which idempotency key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from housepredict.domain.deliveries import Delivery


class PredictionKeys(Protocol):
    """Remembers the ids that the predictions of a delivery have. Raises RepositoryUnavailable when it cannot."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        """The ids that were reserved for it, in their order; None if its key is not known.

        Raises RepeatedKey if the key came with something else, and ErasedPredictions where the keys know that one of
        these ids was erased.
        """

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Keep these ids for it, one at least, durably, unless some were before, and give back those that are kept:
        whoever asks with one key gets the same.

        Raises RepeatedKey and ErasedPredictions as `find` does.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Forget keys whose first id lies below `before`, the oldest first, at most `limit`; how many those were."""
