"""Requests that share a batch share nothing else: neither a failure nor a model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from attrs import define, evolve, frozen

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.adapters.system import SystemClock
from housepredict.domain.errors import InvalidHouses, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import InService, PredictionRepository, Valuation
from housepredict.domain.usecases.predict import Predict
from housepredict.entrypoints.http.batching import EstimateJob, Estimator
from housepredict.entrypoints.http.problems import Problem
from housepredict.testing.drawing import sample_version
from tests.in_loop import MemoryInLoop


@frozen
class PricePerFoot:
    """Has no price for 13 square feet, and fails at 666."""

    version: ModelVersion
    per_foot: float

    def predict(self, houses: Sequence[House]) -> Valuation:
        sizes = [float(house.values["size"]) for house in houses]
        if 666 in sizes:
            raise ZeroDivisionError
        return Valuation([float("nan") if size == 13 else size * self.per_foot for size in sizes])


def predictor(name: str = "one", per_foot: float = 100.0) -> PricePerFoot:
    schema = FeatureSchema((Feature("size", Kind.NUMBER),))
    return PricePerFoot(evolve(sample_version(name)[0], schema=schema), per_foot)


@define
class Models:
    """Whatever a test puts in service."""

    serving: InService

    def current(self) -> InService:
        return self.serving

    def in_service(self) -> InService:
        return self.serving


class Unavailable(InMemoryPredictions):
    """A repository that counts how often it is asked, and keeps nothing."""

    asked = 0

    def append(self, predictions: Sequence[Prediction]) -> None:
        self.asked += 1
        raise RepositoryUnavailable


def outcomes(
    sizes: Sequence[Sequence[float]],
    into: PredictionRepository,
    models: Models | None = None,
    waiting: int = 100,
    then: InService | None = None,
) -> list[Any]:
    """What becomes of requests that come at once; `then` is put in service after the first half of them."""
    models = models or Models(InService(predictor(), 1))

    async def scene() -> list[Any]:
        predict = Predict(models, into, SystemClock())
        return await asked(Estimator(models, predict, 1000, 100, waiting, may_use_loop=True))

    async def asked(estimator: Estimator) -> list[Any]:
        jobs: list[EstimateJob] = []
        for position, each in enumerate(sizes):
            if then and position == len(sizes) // 2:
                models.serving = then
            jobs.append(estimator.check([{"size": size} for size in each]))
        try:
            return await asyncio.gather(*map(estimator.estimate, jobs), return_exceptions=True)
        finally:
            estimator.close()

    return asyncio.run(scene())


either_way = pytest.mark.parametrize("memory", [InMemoryPredictions, MemoryInLoop], ids=["thread", "loop"])


def prices(outcome: Any) -> list[float]:
    return [each.price for each in outcome]


def recorded(predictions: InMemoryPredictions) -> set[UUID]:
    return {each.id for each in predictions.recent(1000)}


@either_way
def test_a_request_that_fails_fails_alone_and_the_others_are_answered_and_recorded(
    memory: type[InMemoryPredictions],
) -> None:
    kept = memory()
    first, no_price, pair, broken, last = outcomes([[10], [13], [20, 30], [666], [40]], kept)
    assert [prices(each) for each in (first, pair, last)] == [[1000.0], [2000.0, 3000.0], [4000.0]]
    assert isinstance(no_price, InvalidHouses)
    assert isinstance(broken, ZeroDivisionError)
    assert recorded(kept) == {each.id for outcome in (first, pair, last) for each in outcome}


def test_where_nothing_can_be_recorded_a_batch_is_not_tried_once_more_for_each_request() -> None:
    into = Unavailable()
    found = outcomes([[size] for size in range(20, 40)], into)
    assert {type(each) for each in found} == {RepositoryUnavailable}
    assert into.asked <= 2  # the first request, maybe alone, and all that came meanwhile


@either_way
def test_each_request_is_estimated_by_the_model_that_it_was_checked_for(memory: type[InMemoryPredictions]) -> None:
    kept = memory()
    found = outcomes([[10]] * 8, kept, then=InService(predictor("two", 200.0), 2))
    assert [prices(each) for each in found] == [[1000.0]] * 4 + [[2000.0]] * 4
    said = [(each.estimate.model_version, each.estimate.generation) for (each,) in found]
    assert said == [("one", 1)] * 4 + [("two", 2)] * 4
    assert len(recorded(kept)) == 8


def test_a_version_that_comes_back_to_the_front_meanwhile_has_two_generations() -> None:
    one = predictor()
    found = outcomes([[10]] * 4, InMemoryPredictions(), Models(InService(one, 1)), then=InService(one, 3))
    assert [each.estimate.generation for (each,) in found] == [1, 1, 3, 3]


@either_way
def test_past_the_bound_requests_are_told_to_come_back(memory: type[InMemoryPredictions]) -> None:
    found = outcomes([[10]] * 10, memory(), waiting=3)
    refused = [each for each in found if isinstance(each, Problem)]
    assert len(refused) >= 5
    assert {(each.status, each.headers["Retry-After"]) for each in refused} == {(503, "1")}
    assert all(prices(each) == [1000.0] for each in found if each not in refused)


@either_way
@pytest.mark.parametrize("number", [1, 50])
def test_any_number_of_requests_is_answered_in_order(number: int, memory: type[InMemoryPredictions]) -> None:
    found = outcomes([[size] for size in range(20, 20 + number)], memory())
    assert [prices(each) for each in found] == [[100.0 * size] for size in range(20, 20 + number)]
