"""Requests in one batch are independent: of each other's failures and models."""

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
    """The model that a test puts in service."""

    serving: InService

    def current(self) -> InService:
        return self.serving

    def in_service(self) -> InService:
        return self.serving


class Unavailable(InMemoryPredictions):
    """A repository that counts appends and rejects them all."""

    append_calls = 0

    def append(self, predictions: Sequence[Prediction]) -> None:
        self.append_calls += 1
        raise RepositoryUnavailable


def outcomes(
    sizes: Sequence[Sequence[float]],
    into: PredictionRepository,
    models: Models | None = None,
    waiting: int = 100,
    then: InService | None = None,
) -> list[Any]:
    """Return the outcomes of concurrent requests; `then` is put in service after the first half of them."""
    models = models or Models(InService(predictor(), 1))

    async def scene() -> list[Any]:
        predict = Predict(models, into, SystemClock())
        return await submit_all(Estimator(models, predict, 1000, 100, waiting, may_use_loop=True))

    async def submit_all(estimator: Estimator) -> list[Any]:
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


in_thread_and_loop = pytest.mark.parametrize("memory", [InMemoryPredictions, MemoryInLoop], ids=["thread", "loop"])


def prices(outcome: Any) -> list[float]:
    return [each.price for each in outcome]


def recorded(predictions: InMemoryPredictions) -> set[UUID]:
    return {each.id for each in predictions.recent(1000)}


@in_thread_and_loop
def test_failed_request_does_not_affect_its_batch(
    memory: type[InMemoryPredictions],
) -> None:
    repository = memory()
    first, no_price, pair, broken, last = outcomes([[10], [13], [20, 30], [666], [40]], repository)
    assert [prices(each) for each in (first, pair, last)] == [[1000.0], [2000.0, 3000.0], [4000.0]]
    assert isinstance(no_price, InvalidHouses)
    assert isinstance(broken, ZeroDivisionError)
    assert recorded(repository) == {each.id for outcome in (first, pair, last) for each in outcome}


def test_failed_storage_is_not_retried_for_each_request() -> None:
    into = Unavailable()
    results = outcomes([[size] for size in range(20, 40)], into)
    assert {type(each) for each in results} == {RepositoryUnavailable}
    assert into.append_calls <= 2  # a first batch, perhaps with one request, and a second with the rest


@in_thread_and_loop
def test_request_is_estimated_by_the_model_that_checked_it(memory: type[InMemoryPredictions]) -> None:
    repository = memory()
    results = outcomes([[10]] * 8, repository, then=InService(predictor("two", 200.0), 2))
    assert [prices(each) for each in results] == [[1000.0]] * 4 + [[2000.0]] * 4
    versions = [(each.estimate.model_version, each.estimate.generation) for (each,) in results]
    assert versions == [("one", 1)] * 4 + [("two", 2)] * 4
    assert len(recorded(repository)) == 8


def test_version_promoted_again_gets_a_new_generation() -> None:
    one = predictor()
    results = outcomes([[10]] * 4, InMemoryPredictions(), Models(InService(one, 1)), then=InService(one, 3))
    assert [each.estimate.generation for (each,) in results] == [1, 1, 3, 3]


@in_thread_and_loop
def test_requests_beyond_the_queue_limit_are_rejected(memory: type[InMemoryPredictions]) -> None:
    results = outcomes([[10]] * 10, memory(), waiting=3)
    refused = [each for each in results if isinstance(each, Problem)]
    assert len(refused) >= 5
    assert {(each.status, each.headers["Retry-After"]) for each in refused} == {(503, "1")}
    assert all(prices(each) == [1000.0] for each in results if each not in refused)


@in_thread_and_loop
@pytest.mark.parametrize("number", [1, 50])
def test_requests_are_answered_in_order(number: int, memory: type[InMemoryPredictions]) -> None:
    results = outcomes([[size] for size in range(20, 20 + number)], memory())
    assert [prices(each) for each in results] == [[100.0 * size] for size in range(20, 20 + number)]
