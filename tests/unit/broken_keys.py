"""Keys that break the contract, each in one way, and the suite for each: every one of these fails.

Run by test_contracts.py, in a pytest of its own; the name of this file keeps it out of the ordinary run.
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
    """Knows keys that never came."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        return super().find(delivery) or new_ids(1)


class Sorting(InMemoryKeys):
    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        ids = super().find(delivery)
        return ids and sorted(ids)


class LastComes(InMemoryKeys):
    """Keeps what came last."""

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        self._known.pop(delivery.key, None)
        return super().reserve(delivery, ids)


class Trusting(InMemoryKeys):
    """Takes everything that comes with a key for the same."""

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
    """Prunes more than it was asked to."""

    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(before, limit + 1)


class Grudging(InMemoryKeys):
    """Remembers which body a key came with beyond its pruning."""

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
    """Takes its time between looking for a key and keeping it, and holds no lock meanwhile."""

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
