"""Repositories that each violate the contract in one way, and a failing suite for each.

test_contracts.py runs this file in a separate pytest; its name excludes it from normal runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from threading import Event
from uuid import UUID

import pytest
from attrs import evolve

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import House
from housepredict.testing.drawing import newest_first
from housepredict.testing.prediction_contract import Another, PredictionRepositoryContract


class Unready(InMemoryPredictions):
    def check(self) -> None:
        raise RepositoryUnavailable


class Changing(InMemoryPredictions):
    """Stores an altered estimate."""

    def change(self, estimate: Estimate) -> Estimate:
        raise NotImplementedError

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append([evolve(each, estimate=self.change(each.estimate)) for each in predictions])


class Rounding(Changing):
    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, price=float(round(estimate.price)))


class Floating(Changing):
    def change(self, estimate: Estimate) -> Estimate:
        values = estimate.house.values.items()
        return evolve(
            estimate, house=House({name: float(value) if isinstance(value, int) else value for name, value in values})
        )


class Uncritical(Changing):
    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, warnings=())


class Cocksure(Changing):
    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, fsd=None)


class Narrow(Changing):
    """Stores at most one interval."""

    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, intervals=estimate.intervals[:1])


class WholeBounds(Changing):
    """Stores bounds without cents as integers, which are equal but differ in JSON."""

    def change(self, estimate: Estimate) -> Estimate:
        intervals = [each._replace(low=int(each.low)) if each.low.is_integer() else each for each in estimate.intervals]
        return evolve(estimate, intervals=tuple(intervals))


class Losing(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(newest_first(predictions)[:-1])


class OldestFirst(InMemoryPredictions):
    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return super().recent(limit, before)[::-1]


class Generous(InMemoryPredictions):
    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return super().recent(limit + 1, before)


class Repeating(InMemoryPredictions):
    """Repeats the last prediction of a page on the next page."""

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return super().recent(limit, before and UUID(int=before.int + 1))


class Skipping(InMemoryPredictions):
    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        found = super().recent(limit + 1, before)
        return found[1:] if before else found[:limit]


class Unsorted(InMemoryPredictions):
    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return super().find(ids)[::-1]


class FindingAgain(InMemoryPredictions):
    """Returns a prediction twice if its id is given twice."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return [found for each in sorted(ids) for found in super().find([each])]


class Demanding(InMemoryPredictions):
    """Finds nothing if one id is missing."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        found = super().find(ids)
        return found if len(found) == len(set(ids)) else []


class Limited(InMemoryPredictions):
    """Finds at most 99 ids."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return super().find(ids[:99])


class Including(InMemoryPredictions):
    """Includes the end of a range."""

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        return super().between(first, UUID(int=min(end.int + 1, 2**128 - 1)), limit)


class Backwards(InMemoryPredictions):
    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        return super().between(first, end, limit)[::-1]


class Reviving(InMemoryPredictions):
    """Accepts erased ids again."""

    def erase(self, ids: Sequence[UUID]) -> int:
        known = super().erase(ids)
        self._erased.clear()
        return known


class Forgetful(InMemoryPredictions):
    """Remembers erased ids only until it is reopened."""

    def reopened(self) -> InMemoryPredictions:
        self._erased.clear()
        return self


class Journalling(InMemoryPredictions):
    """Writes predictions to its journal even if they were erased before, and restores them when it is reopened."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[UUID, Prediction] = {}

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._written |= {each.id: each for each in predictions}

    def erase(self, ids: Sequence[UUID]) -> int:
        self._written = {id_: prediction for id_, prediction in self._written.items() if id_ not in ids}
        return super().erase(ids)

    def reopened(self) -> InMemoryPredictions:
        restored = InMemoryPredictions()
        restored.append(list(self._written.values()))
        return restored


class ShortSighted(InMemoryPredictions):
    """Erases only stored predictions, not those that arrive later."""

    def erase(self, ids: Sequence[UUID]) -> int:
        return super().erase([each for each in ids if each in self._by_id])


class Oblivious(InMemoryPredictions):
    """Reports only erased ids that it had stored."""

    def __init__(self) -> None:
        super().__init__()
        self._stored: set[UUID] = set()

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._stored |= {prediction.id for prediction in predictions}

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        return [erased for erased in super().find_erased(ids) if erased in self._stored]


class Thorough(InMemoryPredictions):
    """Prunes more than the limit."""

    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(before, limit + 1)


class Late(InMemoryPredictions):
    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(UUID(int=min(before.int + 1, 2**128 - 1)), limit)


class Resurrecting(InMemoryPredictions):
    """Accepts pruned ids again."""

    def prune(self, before: UUID, limit: int) -> int:
        pruned = super().prune(before, limit)
        self._watermark = UUID(int=0)
        return pruned


class Absentminded(InMemoryPredictions):
    """Remembers pruned ids only until it is reopened."""

    def reopened(self) -> InMemoryPredictions:
        self._watermark = UUID(int=0)
        return self


class Refusing(InMemoryPredictions):
    """Rejects predictions older than the end of a prune, even if that end is in the future."""

    def prune(self, before: UUID, limit: int) -> int:
        pruned = super().prune(before, limit)
        self._watermark = max(before, self._watermark)
        return pruned


class Crammed(InMemoryPredictions):
    """Erases at most 999 ids."""

    def erase(self, ids: Sequence[UUID]) -> int:
        return super().erase(ids[:999])


class Leaving(InMemoryPredictions):
    """Pauses between deleting ids and remembering them."""

    def erase(self, ids: Sequence[UUID]) -> int:
        known = super().erase(ids)
        self._erased.difference_update(ids)
        Event().wait(0.001)
        self._erased.update(ids)
        return known


class Overwriting(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._by_id.update({each.id: each for each in predictions})


class Duplicating(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._ids = sorted([*self._ids, *{each.id for each in predictions if predictions.count(each) > 1}])


class RowByRow(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        for each in predictions:
            super().append([each])


class Careless(InMemoryPredictions):
    """Pauses between reading and writing, without a lock."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        recorded = {each.id: each for each in predictions} | self._by_id
        Event().wait(0.001)
        self._by_id, self._ids = recorded, sorted(recorded)


class _Suite(PredictionRepositoryContract):
    made: type[InMemoryPredictions]

    @pytest.fixture
    def repository(self) -> InMemoryPredictions:
        return self.made()

    @pytest.fixture
    def reopened(self, repository: InMemoryPredictions) -> Another:
        return lambda: nullcontext(getattr(repository, "reopened", lambda: repository)())


for name, each in list(globals().items()):
    if isinstance(each, type) and issubclass(each, InMemoryPredictions):
        globals()[f"Test{name}"] = type(f"Test{name}", (_Suite,), {"made": each})
