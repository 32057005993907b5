"""Key stores that each violate the contract in one way, and a failing suite for each.

test_contracts.py runs this file in a separate pytest; its name excludes it from normal runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from uuid import UUID

import pytest
from attrs import evolve

from housepredict.adapters.memory import InMemoryKeys
from housepredict.domain.errors import RepeatedKey
from housepredict.domain.idempotency import Delivery
from housepredict.testing.drawing import new_ids
from housepredict.testing.prediction_contract import PredictionKeysContract


class Haunted(InMemoryKeys):
    """Reports keys that were never stored."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        return super().find(delivery) or new_ids(1)


class Sorting(InMemoryKeys):
    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        ids = super().find(delivery)
        return ids and sorted(ids)


class LastComes(InMemoryKeys):
    """Overwrites the first delivery."""

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        self._known.pop(delivery.key, None)
        return super().reserve(delivery, ids)


class Trusting(InMemoryKeys):
    """Ignores that the body differs."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        return super().find(evolve(delivery, digest=""))

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        return super().reserve(evolve(delivery, digest=""), ids)


class CaseBlind(InMemoryKeys):
    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        return super().find(evolve(delivery, key=delivery.key.lower()))

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        return super().reserve(evolve(delivery, key=delivery.key.lower()), ids)


class Thorough(InMemoryKeys):
    """Prunes more than the limit."""

    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(before, limit + 1)


class Grudging(InMemoryKeys):
    """Remembers the body of a pruned key."""

    def __init__(self) -> None:
        super().__init__()
        self._digests: dict[str, str] = {}

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        if self._digests.get(delivery.key, delivery.digest) != delivery.digest:
            raise RepeatedKey
        return super().find(delivery)

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        self._digests.setdefault(delivery.key, delivery.digest)
        return super().reserve(delivery, ids)


class Careless(InMemoryKeys):
    """Pauses between looking up a key and storing it, without a lock."""

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        known = self.find(delivery)
        Event().wait(0.01)
        if known is None:
            self._known[delivery.key] = delivery, ids
        return known or ids


class _Suite(PredictionKeysContract):
    made: type[InMemoryKeys]

    @pytest.fixture
    def keys(self) -> InMemoryKeys:
        return self.made()


for each in (Haunted, Sorting, LastComes, Trusting, CaseBlind, Thorough, Grudging, Careless):
    globals()[f"Test{each.__name__}"] = type(f"Test{each.__name__}", (_Suite,), {"made": each})
