"""Keys of predictions kept in this process: for tests, and where predictions are kept there too."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from uuid import UUID

from attrs import define, field

from housepredict.domain.deliveries import Delivery
from housepredict.domain.errors import RepeatedKey


@define
class InMemoryKeys:
    """PredictionKeys that are forgotten when the process ends. Threads may share them."""

    _known: dict[str, tuple[Delivery, Sequence[UUID]]] = field(factory=dict, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        """The ids that were reserved for it, or None; see PredictionKeys."""
        known = self._known.get(delivery.key)
        if known is None:
            return None
        first, ids = known
        if first != delivery:
            raise RepeatedKey
        return ids

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Keep these ids for it unless some were before; those that are kept."""
        with self._lock:
            kept = self.find(delivery)
            if kept is None:
                kept = list(ids)
                self._known[delivery.key] = delivery, kept
            return kept

    def prune(self, before: UUID, limit: int) -> int:
        """Forget keys whose first id lies below `before`, at most `limit`; how many those were."""
        with self._lock:
            old = sorted((ids[0], key) for key, (_, ids) in self._known.items() if ids[0] < before)[:limit]
            for _, key in old:
                del self._known[key]
            return len(old)
