"""Idempotency keys: replays, conflicts, retries and concurrent requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from attrs import define, field

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import ErasedPredictions, InvalidHouses, NoModel, RepeatedKey, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.idempotency import Delivery
from housepredict.entrypoints.composition import Application
from tests.http_service import LAB_HOUSE, LAB_PRICE, Faulty, application, lab_version
from tests.training import FrozenClock
from tests.unit.test_http_metrics import SpoolingPredictions

DELIVERY = Delivery("deed-4711", "0" * 64)


@pytest.fixture
def made() -> Application:
    return application(lab_version())


def recorded(made: Application) -> Sequence[Prediction]:
    return made.storage.predictions.recent(10)


def test_repeated_key_replays_first_estimates(made: Application) -> None:
    clock = made.clock = FrozenClock()
    first = made.predict_once.for_key(lambda: [LAB_HOUSE, {**LAB_HOUSE, "size": 900}], DELIVERY)
    clock.time += timedelta(days=3)
    again = made.predict_once.for_key(lambda: [LAB_HOUSE, {**LAB_HOUSE, "size": 900}], DELIVERY)
    assert list(again) == list(first)
    assert first[0].price == LAB_PRICE > first[1].price
    assert len(recorded(made)) == 2


def test_known_key_is_answered_without_model(made: Application) -> None:
    first = made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    without = application()
    without.storage.predictions, without.storage.prediction_keys = (
        made.storage.predictions,
        made.storage.prediction_keys,
    )
    assert list(without.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)) == list(first)
    with pytest.raises(NoModel):
        without.predict_once.for_key(lambda: [LAB_HOUSE], Delivery("another", "0" * 64))


def test_key_with_different_request_is_rejected(made: Application) -> None:
    made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    with pytest.raises(RepeatedKey):
        made.predict_once.for_key(lambda: [{**LAB_HOUSE, "size": 900}], Delivery(DELIVERY.key, "1" * 64))
    assert len(recorded(made)) == 1


@pytest.mark.parametrize("key", ["", "two words", "x" * 256])
def test_invalid_key_is_rejected(made: Application, key: str) -> None:
    with pytest.raises(InvalidHouses, match="idempotency key"):
        made.predict_once.for_key(lambda: [LAB_HOUSE], Delivery(key, "0" * 64))


def test_key_of_invalid_houses_stays_free(made: Application) -> None:
    with pytest.raises(InvalidHouses):
        made.predict_once.for_key(lambda: [{}], DELIVERY)
    assert len(made.predict_once.for_key(lambda: [LAB_HOUSE], Delivery(DELIVERY.key, "1" * 64))) == 1


def test_retry_after_failed_append_reuses_ids(made: Application) -> None:
    ids: list[Sequence[UUID]] = []

    @define
    class RecordsIds(Faulty):
        def append(self, predictions: Sequence[Prediction]) -> None:
            ids.append([each.id for each in predictions])
            super().append(predictions)

    made.storage.predictions = repository = RecordsIds(fault=RepositoryUnavailable())
    with pytest.raises(RepositoryUnavailable):
        made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    repository.fault = None
    (prediction,) = made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    assert ids == [[prediction.id]] * 2
    assert list(recorded(made)) == [prediction]


def test_concurrent_request_with_same_key_wins(made: Application) -> None:
    @define
    class Overtaken(InMemoryPredictions):
        """A repository in which a concurrent request with the same key finishes first."""

        overtake: Callable[[], object] | None = field(default=None)

        def append(self, predictions: Sequence[Prediction]) -> None:
            if self.overtake:
                overtake, self.overtake = self.overtake, None
                overtake()
            super().append(predictions)

    clock = made.clock = FrozenClock()
    made.storage.predictions = repository = Overtaken()
    others: list[Prediction] = []

    def overtake() -> None:
        clock.time += timedelta(days=1)
        others.extend(made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY))

    repository.overtake = overtake
    assert list(made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)) == others == list(recorded(made))


def test_keyed_predictions_are_stored_for_other_replicas(made: Application) -> None:
    @define
    class Spooled(SpoolingPredictions):
        shared: list[Prediction] = field(factory=list)

        def append_shared(self, predictions: Sequence[Prediction]) -> None:
            self.shared.extend(predictions)
            super().append_shared(predictions)

    made.storage.predictions = repository = Spooled()
    assert list(made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)) == repository.shared


def test_erased_predictions_are_not_recreated(made: Application) -> None:
    first, _ = made.predict_once.for_key(lambda: [LAB_HOUSE] * 2, DELIVERY)
    made.records.erase([first.id])
    with pytest.raises(ErasedPredictions):
        made.predict_once.for_key(lambda: [LAB_HOUSE] * 2, DELIVERY)
    assert len(recorded(made)) == 1


def test_keys_are_pruned_with_their_predictions() -> None:
    made = application(lab_version())
    made.clock = clock = FrozenClock()
    (old,) = made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    clock.time += timedelta(days=400, seconds=1)
    made.records.prune(timedelta(days=400))
    assert made.storage.prediction_keys.find(DELIVERY) is None
    (new,) = made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    assert new.id != old.id
