"""Repositories that break the contract, each in one way, and the contract suite for each: every one of these fails.

Run by test_prediction_contract.py, in a pytest of its own; the name of this file keeps it out of the ordinary run.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from uuid import UUID

import pytest
from attrs import evolve

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import House
from housepredict.testing.predictions import PredictionRepositoryContract, newest_first


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
        return evolve(estimate, caveats=())


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


def suite_of(broken: type[InMemoryPredictions]) -> type[PredictionRepositoryContract]:
    class Suite(PredictionRepositoryContract):
        @pytest.fixture
        def repository(self) -> InMemoryPredictions:
            return broken()

    return Suite


TestUnready = suite_of(Unready)
TestRounding = suite_of(Rounding)
TestFloating = suite_of(Floating)
TestUncritical = suite_of(Uncritical)
TestCocksure = suite_of(Cocksure)
TestNarrow = suite_of(Narrow)
TestWholeBounds = suite_of(WholeBounds)
TestLosing = suite_of(Losing)
TestOldestFirst = suite_of(OldestFirst)
TestGenerous = suite_of(Generous)
TestRepeating = suite_of(Repeating)
TestSkipping = suite_of(Skipping)
TestUnsorted = suite_of(Unsorted)
TestFindingAgain = suite_of(FindingAgain)
TestDemanding = suite_of(Demanding)
TestLimited = suite_of(Limited)
TestOverwriting = suite_of(Overwriting)
TestDuplicating = suite_of(Duplicating)
TestRowByRow = suite_of(RowByRow)
TestCareless = suite_of(Careless)
