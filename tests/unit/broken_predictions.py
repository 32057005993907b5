"""Prediction repositories that each break the contract in one way, with a contract suite that fails for each.

test_contracts.py runs them in a separate pytest process. The file name keeps pytest from collecting them otherwise.
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


class NeverReady(InMemoryPredictions):
    def check(self) -> None:
        raise RepositoryUnavailable


class ChangesEstimates(InMemoryPredictions):
    """Stores a changed copy of each estimate."""

    def change(self, estimate: Estimate) -> Estimate:
        raise NotImplementedError

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append([evolve(each, estimate=self.change(each.estimate)) for each in predictions])


class RoundsPrices(ChangesEstimates):
    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, price=float(round(estimate.price)))


class FloatsIntegers(ChangesEstimates):
    def change(self, estimate: Estimate) -> Estimate:
        values = estimate.house.values.items()
        return evolve(
            estimate, house=House({name: float(value) if isinstance(value, int) else value for name, value in values})
        )


class DropsWarnings(ChangesEstimates):
    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, warnings=())


class DropsFsd(ChangesEstimates):
    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, fsd=None)


class DropsIntervals(ChangesEstimates):
    """Stores only the first interval."""

    def change(self, estimate: Estimate) -> Estimate:
        return evolve(estimate, intervals=estimate.intervals[:1])


class IntegerBounds(ChangesEstimates):
    """Converts bounds without cents to integers, which are equal but different JSON."""

    def change(self, estimate: Estimate) -> Estimate:
        intervals = [each._replace(low=int(each.low)) if each.low.is_integer() else each for each in estimate.intervals]
        return evolve(estimate, intervals=tuple(intervals))


class DropsOldest(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(newest_first(predictions)[:-1])


class OldestFirst(InMemoryPredictions):
    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return super().recent(limit, before)[::-1]


class ExceedsLimit(InMemoryPredictions):
    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return super().recent(limit + 1, before)


class RepeatsLastOfPage(InMemoryPredictions):
    """Starts each page with the last prediction of the previous page."""

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return super().recent(limit, before and UUID(int=before.int + 1))


class SkipsFirstOfPage(InMemoryPredictions):
    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        predictions = super().recent(limit + 1, before)
        return predictions[1:] if before else predictions[:limit]


class Unsorted(InMemoryPredictions):
    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return super().find(ids)[::-1]


class FindsDuplicates(InMemoryPredictions):
    """Returns a prediction twice if its id is given twice."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return [prediction for each in sorted(ids) for prediction in super().find([each])]


class FindsAllOrNothing(InMemoryPredictions):
    """Returns nothing if any id is unknown."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        predictions = super().find(ids)
        return predictions if len(predictions) == len(set(ids)) else []


class FindsAtMost99(InMemoryPredictions):
    """Ignores ids beyond a parameter limit of 99."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        return super().find(ids[:99])


class IncludesEnd(InMemoryPredictions):
    """Includes the exclusive end of a span."""

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        return super().between(first, UUID(int=min(end.int + 1, 2**128 - 1)), limit)


class NewestFirst(InMemoryPredictions):
    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        return super().between(first, end, limit)[::-1]


class ForgetsErased(InMemoryPredictions):
    """Forgets which ids were erased."""

    def erase(self, ids: Sequence[UUID]) -> int:
        known = super().erase(ids)
        self._erased.clear()
        return known


class ForgetsErasedOnReopen(InMemoryPredictions):
    """Remembers erased ids only until its data is reopened."""

    def reopened(self) -> InMemoryPredictions:
        self._erased.clear()
        return self


class ReplaysJournal(InMemoryPredictions):
    """Journals all appended predictions, including erased ones, and replays the journal when reopened."""

    def __init__(self) -> None:
        super().__init__()
        self._journal: dict[UUID, Prediction] = {}

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._journal |= {each.id: each for each in predictions}

    def erase(self, ids: Sequence[UUID]) -> int:
        self._journal = {each: prediction for each, prediction in self._journal.items() if each not in ids}
        return super().erase(ids)

    def reopened(self) -> InMemoryPredictions:
        fresh = InMemoryPredictions()
        fresh.append(list(self._journal.values()))
        return fresh


class ErasesStoredOnly(InMemoryPredictions):
    """Erases stored predictions, but not those appended later."""

    def erase(self, ids: Sequence[UUID]) -> int:
        return super().erase([each for each in ids if each in self._by_id])


class ReportsStoredErasuresOnly(InMemoryPredictions):
    """Reports only the erased ids that were stored here before."""

    def __init__(self) -> None:
        super().__init__()
        self._stored: set[UUID] = set()

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._stored |= {prediction.id for prediction in predictions}

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        return [erased for erased in super().find_erased(ids) if erased in self._stored]


class PrunesTooMany(InMemoryPredictions):
    """Prunes one prediction more than the limit."""

    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(before, limit + 1)


class PrunesEnd(InMemoryPredictions):
    def prune(self, before: UUID, limit: int) -> int:
        return super().prune(UUID(int=min(before.int + 1, 2**128 - 1)), limit)


class ForgetsPruned(InMemoryPredictions):
    """Accepts pruned predictions again."""

    def prune(self, before: UUID, limit: int) -> int:
        pruned = super().prune(before, limit)
        self._watermark = UUID(int=0)
        return pruned


class ForgetsPrunedOnReopen(InMemoryPredictions):
    """Remembers pruned ids only until its data is reopened."""

    def reopened(self) -> InMemoryPredictions:
        self._watermark = UUID(int=0)
        return self


class RejectsBeforeFutureEnd(InMemoryPredictions):
    """Rejects predictions older than the end of a prune, even if that end is in the future."""

    def prune(self, before: UUID, limit: int) -> int:
        pruned = super().prune(before, limit)
        self._watermark = max(before, self._watermark)
        return pruned


class ErasesAtMost999(InMemoryPredictions):
    """Ignores ids beyond a parameter limit of 999."""

    def erase(self, ids: Sequence[UUID]) -> int:
        return super().erase(ids[:999])


class ErasesInTwoSteps(InMemoryPredictions):
    """Waits between deleting predictions and marking them as erased."""

    def erase(self, ids: Sequence[UUID]) -> int:
        known = super().erase(ids)
        self._erased.difference_update(ids)
        Event().wait(0.001)
        self._erased.update(ids)
        return known


class Overwrites(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._by_id.update({each.id: each for each in predictions})


class StoresDuplicates(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions)
        self._ids = sorted([*self._ids, *{each.id for each in predictions if predictions.count(each) > 1}])


class AppendsRowByRow(InMemoryPredictions):
    def append(self, predictions: Sequence[Prediction]) -> None:
        for each in predictions:
            super().append([each])


class Unlocked(InMemoryPredictions):
    """Waits between reading the stored predictions and writing the new ones, without a lock."""

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
