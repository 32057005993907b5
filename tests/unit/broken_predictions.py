"""Repositories that break the contract, each in one way, and the contract suite for each: every one of these fails.

Run by test_contracts.py, in a pytest of its own; the name of this file keeps it out of the ordinary run.
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
    """Keeps something other than the estimate that it was given."""

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
    """Keeps one interval at most."""

    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, intervals=estimate.intervals[:1])


class WholeBounds(Changing):
    """Makes of bounds without cents whole numbers, which are equal and not the same JSON."""

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
    """Starts a page with the prediction that the page before it ended with."""

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
    """Gives what is asked for twice, twice."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return [found for each in sorted(ids) for found in super().find([each])]


class Demanding(InMemoryPredictions):
    """Finds all or nothing."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        found = super().find(ids)
        return found if len(found) == len(set(ids)) else []


class Limited(InMemoryPredictions):
    """Has room for so many parameters."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return super().find(ids[:99])


class Including(InMemoryPredictions):
    """Takes the end of a span for a part of it."""

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        return super().between(first, UUID(int=min(end.int + 1, 2**128 - 1)), limit)


class Backwards(InMemoryPredictions):
    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        return super().between(first, end, limit)[::-1]


class Reviving(InMemoryPredictions):
    """Forgets what it has erased."""

    def erase(self, ids: Sequence[UUID]) -> int:
        known = super().erase(ids)
        self._erased.clear()
        return known


class Forgetful(InMemoryPredictions):
    """Remembers what it has erased until its data is opened anew."""

    def reopened(self) -> InMemoryPredictions:
        self._erased.clear()
        return self


class Journalling(InMemoryPredictions):
    """Writes down what comes, whether it was erased or not, and reads that when its data is opened anew."""

    def __init__(self) -> None:
        super().__init__()
        self._written: dict[UUID, Prediction] = {}

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._written |= {each.id: each for each in predictions}

    def erase(self, ids: Sequence[UUID]) -> int:
        self._written = {each: kept for each, kept in self._written.items() if each not in ids}
        return super().erase(ids)

    def reopened(self) -> InMemoryPredictions:
        anew = InMemoryPredictions()
        anew.append(list(self._written.values()))
        return anew


class ShortSighted(InMemoryPredictions):
    """Erases what is there, and not what is on its way."""

    def erase(self, ids: Sequence[UUID]) -> int:
        return super().erase([each for each in ids if each in self._by_id])


class Oblivious(InMemoryPredictions):
    """Reports only the erased ids that were stored here before."""

    def __init__(self) -> None:
        super().__init__()
        self._stored: set[UUID] = set()

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._stored |= {prediction.id for prediction in predictions}

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        return [erased for erased in super().find_erased(ids) if erased in self._stored]


class Thorough(InMemoryPredictions):
    """Prunes more than it was asked to."""

    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(before, limit + 1)


class Late(InMemoryPredictions):
    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(UUID(int=min(before.int + 1, 2**128 - 1)), limit)


class Resurrecting(InMemoryPredictions):
    """Stores what it has pruned again."""

    def prune(self, before: UUID, limit: int) -> int:
        pruned = super().prune(before, limit)
        self._watermark = UUID(int=0)
        return pruned


class Absentminded(InMemoryPredictions):
    """Remembers what it has pruned until its data is opened again."""

    def reopened(self) -> InMemoryPredictions:
        self._watermark = UUID(int=0)
        return self


class Refusing(InMemoryPredictions):
    """Ignores what is older than the end of a prune, although that lies in the future."""

    def prune(self, before: UUID, limit: int) -> int:
        pruned = super().prune(before, limit)
        self._watermark = max(before, self._watermark)
        return pruned


class Crammed(InMemoryPredictions):
    """Has room for so many parameters."""

    def erase(self, ids: Sequence[UUID]) -> int:
        return super().erase(ids[:999])


class Leaving(InMemoryPredictions):
    """Takes its time between deleting and remembering that."""

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
    """Takes its time between reading what there is and writing what there will be, and holds no lock meanwhile."""

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
