"""Idempotency-key stores that each break the contract in one way, with a contract suite that fails for each.

test_contracts.py runs them in a separate pytest process. The file name keeps pytest from collecting them otherwise.
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


class InventsIds(InMemoryKeys):
    """Returns ids for keys that nobody has sent."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        return super().find(delivery) or new_ids(1)


class SortsIds(InMemoryKeys):
    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        ids = super().find(delivery)
        return ids and sorted(ids)


class LastWriteWins(InMemoryKeys):
    """Replaces the ids of a known key."""

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        self._known.pop(delivery.key, None)
        return super().reserve(delivery, ids)


class IgnoresBody(InMemoryKeys):
    """Ignores whether the body of a repeated request differs."""

    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        return super().find(evolve(delivery, digest=""))

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        return super().reserve(evolve(delivery, digest=""), ids)


class IgnoresCase(InMemoryKeys):
    def find(self, delivery: Delivery) -> Sequence[UUID] | None:
        return super().find(evolve(delivery, key=delivery.key.lower()))

    def reserve(self, delivery: Delivery, ids: Sequence[UUID]) -> Sequence[UUID]:
        return super().reserve(evolve(delivery, key=delivery.key.lower()), ids)


class PrunesTooMany(InMemoryKeys):
    """Prunes one key more than the limit."""

    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(before, limit + 1)


class RemembersPrunedKeys(InMemoryKeys):
    """Remembers the digest of a key after it was pruned."""

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


class Unlocked(InMemoryKeys):
    """Waits between looking up a key and storing it, without a lock."""

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


for each in (
    InventsIds,
    SortsIds,
    LastWriteWins,
    IgnoresBody,
    IgnoresCase,
    PrunesTooMany,
    RemembersPrunedKeys,
    Unlocked,
):
    globals()[f"Test{each.__name__}"] = type(f"Test{each.__name__}", (_Suite,), {"made": each})
