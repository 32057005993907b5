"""Estimates for a key, whatever happens between its first request and the next."""

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


def test_the_same_key_is_recorded_once_and_gets_what_was_said_first(made: Application) -> None:
    clock = made.clock = FrozenClock()
    first = made.predict_once.for_key(lambda: [LAB_HOUSE, {**LAB_HOUSE, "size": 900}], DELIVERY)
    clock.time += timedelta(days=3)
    again = made.predict_once.for_key(lambda: [LAB_HOUSE, {**LAB_HOUSE, "size": 900}], DELIVERY)
    assert list(again) == list(first)
    assert first[0].price == LAB_PRICE > first[1].price
    assert len(recorded(made)) == 2


def test_a_known_key_is_answered_without_a_model(made: Application) -> None:
    first = made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    without = application()
    without.storage.predictions, without.storage.prediction_keys = (
        made.storage.predictions,
        made.storage.prediction_keys,
    )
    assert list(without.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)) == list(first)
    with pytest.raises(NoModel):
        without.predict_once.for_key(lambda: [LAB_HOUSE], Delivery("another", "0" * 64))


def test_the_same_key_with_something_else_is_refused_and_nothing_recorded(made: Application) -> None:
    made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    with pytest.raises(RepeatedKey):
        made.predict_once.for_key(lambda: [{**LAB_HOUSE, "size": 900}], Delivery(DELIVERY.key, "1" * 64))
    assert len(recorded(made)) == 1


@pytest.mark.parametrize("key", ["", "two words", "x" * 256])
def test_a_key_is_plain(made: Application, key: str) -> None:
    with pytest.raises(InvalidHouses, match="idempotency key"):
        made.predict_once.for_key(lambda: [LAB_HOUSE], Delivery(key, "0" * 64))


def test_a_key_that_came_with_what_is_no_house_is_free(made: Application) -> None:
    with pytest.raises(InvalidHouses):
        made.predict_once.for_key(lambda: [{}], DELIVERY)
    assert len(made.predict_once.for_key(lambda: [LAB_HOUSE], Delivery(DELIVERY.key, "1" * 64))) == 1


def test_what_was_cut_off_before_it_was_recorded_is_recorded_with_the_ids_of_the_first_time(made: Application) -> None:
    ids: list[Sequence[UUID]] = []

    @define
    class Noting(Faulty):
        def append(self, predictions: Sequence[Prediction]) -> None:
            ids.append([each.id for each in predictions])
            super().append(predictions)

    made.storage.predictions = repository = Noting(fault=RepositoryUnavailable())
    with pytest.raises(RepositoryUnavailable):
        made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    repository.fault = None
    (prediction,) = made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)
    assert ids == [[prediction.id]] * 2
    assert list(recorded(made)) == [prediction]


def test_what_another_request_recorded_meanwhile_counts(made: Application) -> None:
    @define
    class Overtaken(InMemoryPredictions):
        """Somebody else with the same key is quicker."""

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


def test_predictions_for_a_key_are_stored_where_other_replicas_find_them(made: Application) -> None:
    @define
    class Spooled(SpoolingPredictions):
        shared: list[Prediction] = field(factory=list)

        def append_shared(self, predictions: Sequence[Prediction]) -> None:
            self.shared.extend(predictions)
            super().append_shared(predictions)

    made.storage.predictions = repository = Spooled()
    assert list(made.predict_once.for_key(lambda: [LAB_HOUSE], DELIVERY)) == repository.shared


def test_erased_predictions_are_not_made_again(made: Application) -> None:
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
