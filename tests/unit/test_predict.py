"""The use case of estimating, over in-memory adapters and doubles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from attrs import define, evolve, field

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import (
    InvalidHouses,
    NoModel,
    RepositoryUnavailable,
)
from housepredict.domain.estimates import MAX_PRICE, Prediction
from housepredict.domain.features import House
from housepredict.domain.models import TrainingSource
from housepredict.domain.ports import InService
from housepredict.domain.usecases.predict import DEMONSTRATION, Predict
from housepredict.domain.validation import Rule
from housepredict.testing.drawing import sample_version
from tests.training import (
    NOON,
    SCHEMA,
    FrozenClock,
    PricePerArea,
)


def predictor(name: str = "one", *, location: str | None = "/sales.csv", per_area: float = 1000.0) -> PricePerArea:
    version, _ = sample_version(name)
    return PricePerArea(evolve(version, schema=SCHEMA, source=TrainingSource(location, "0" * 64)), per_area)


@define
class Promoted:
    """Returns the next predictor at each call, as if a version had been promoted in between."""

    _predictors: list[PricePerArea]

    def current(self) -> InService:
        if not self._predictors:
            raise NoModel
        return InService(self._predictors.pop(0), 7)

    def in_service(self) -> InService:
        return InService(self._predictors[0], 7)


@define
class FullPredictions(InMemoryPredictions):
    """A repository without space."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        raise RepositoryUnavailable("the disk is full")


@define
class CalledLater(InMemoryPredictions):
    """A repository whose callbacks the test calls."""

    done: list[Callable[[Exception | None], None]] = field(factory=list)

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        self.done.append(done)
        return True


def predict(
    *predictors: PricePerArea,
    into: InMemoryPredictions | None = None,
    clock: FrozenClock | None = None,
    limit: int = 1000,
) -> Predict:
    return Predict(Promoted(list(predictors)), into or InMemoryPredictions(), clock or FrozenClock(), limit)


def violations(raised: pytest.ExceptionInfo[InvalidHouses]) -> list[tuple[str, Rule]]:
    return [(each.pointer, each.rule) for each in raised.value.violations]


class TestPredict:
    def test_predictions_are_recorded_in_order(self) -> None:
        recorded = InMemoryPredictions()
        predictions = predict(predictor(), into=recorded)([{"size": 100.005}, {"size": 60}])
        assert [each.price for each in predictions] == [100_005.0, 60_000.0]
        assert recorded.recent(10) == [*reversed(predictions)]
        assert [each.created_at for each in predictions] == [NOON, NOON]

    def test_estimate_has_house_version_and_warnings(self) -> None:
        [prediction] = predict(predictor())([{"size": 500}])
        assert prediction.estimate.house == House({"size": 500})
        assert prediction.estimate.model_version == "one"
        assert prediction.estimate.valued_on is None
        assert [each.code for each in prediction.estimate.warnings] == ["outside_observed_range"]

    def test_unrecorded_prediction_is_not_returned(self) -> None:
        with pytest.raises(RepositoryUnavailable, match="full"):
            predict(predictor(), into=FullPredictions())([{"size": 100}])

    def test_begin_passes_on_outcome_of_repository(self) -> None:
        outcomes: list[Sequence[Prediction] | Exception] = []
        error = RepositoryUnavailable("the disk is full")
        recorded = CalledLater()
        use_case, serving = predict(into=recorded), InService(predictor(), 7)
        assert use_case.can_begin_in_loop
        for _ in range(2):
            assert use_case.begin(serving, [House({"size": 100})], outcomes.append)
        assert outcomes == []
        for done, outcome in zip(recorded.done, (None, error), strict=True):
            done(outcome)
        [[prediction], failed] = outcomes  # type: ignore[misc]  # the first outcome is a sequence
        assert (prediction.price, failed) == (100_000.0, error)

    def test_begin_needs_repository_for_event_loops(self) -> None:
        outcomes: list[object] = []
        use_case, serving = predict(), InService(predictor(), 7)
        assert not use_case.can_begin_in_loop
        assert not use_case.begin(serving, [House({"size": 100})], outcomes.append)
        assert outcomes == []

    def test_batch_is_estimated_by_one_version(self) -> None:
        use_case = predict(predictor("one"), predictor("two", per_area=2000.0))
        for name, per_area in (("one", 1000), ("two", 2000)):
            predictions = use_case([{"size": 100}, {"size": 60}])
            assert [(each.estimate.model_version, each.price) for each in predictions] == [
                (name, 100.0 * per_area),
                (name, 60.0 * per_area),
            ]

    def test_ids_increase_even_if_clock_steps_back(self) -> None:
        clock = FrozenClock()
        use_case = predict(predictor(), predictor(), clock=clock)
        first = use_case([{"size": 100}] * 3)
        clock.time -= timedelta(hours=1)
        second = use_case([{"size": 100}] * 3)
        ids = [each.id for each in (*first, *second)]
        assert ids == sorted(set(ids))

    @pytest.mark.parametrize("location", ["/sales.csv", None])
    def test_model_of_synthetic_sales_warns_in_every_answer(self, location: str | None) -> None:
        [prediction] = predict(predictor(location=location))([{"size": 100}])
        assert prediction.estimate.warnings == (() if location else (DEMONSTRATION,))

    def test_estimate_without_model_raises_no_model(self) -> None:
        with pytest.raises(NoModel, match="Train one"):
            predict()([{"size": 100}])

    def test_batch_over_limit_is_rejected_first(self) -> None:
        recorded = InMemoryPredictions()
        with pytest.raises(InvalidHouses, match="at most 2 houses, not 3") as raised:
            predict(into=recorded, limit=2)([{"size": 100}] * 3)
        assert violations(raised) == [("", Rule.LIMIT)]
        assert len(predict(predictor(), into=recorded, limit=2)([{"size": 100}] * 2)) == 2
        assert len(recorded.recent(10)) == 2

    def test_empty_batch_is_rejected(self) -> None:
        with pytest.raises(InvalidHouses) as raised:
            predict(predictor())([])
        assert violations(raised) == [("", Rule.EMPTY)]

    def test_invalid_house_rejects_batch_with_pointer(self) -> None:
        recorded = InMemoryPredictions()
        with pytest.raises(InvalidHouses) as raised:
            predict(predictor(), into=recorded)([{"size": 100}, {"size": "big", "colour": "red"}])
        assert violations(raised) == [("/1/size", Rule.TYPE), ("/1/colour", Rule.UNKNOWN)]
        assert recorded.recent(10) == []

    @pytest.mark.parametrize("per_area", [MAX_PRICE, float("inf"), float("nan")])
    def test_house_without_price_is_violation(self, per_area: float) -> None:
        recorded = InMemoryPredictions()
        with pytest.raises(InvalidHouses, match="too far outside") as raised:
            predict(predictor(per_area=per_area), into=recorded)([{"size": 100}, {"size": 60}])
        assert violations(raised) == [("/0", Rule.EXTRAPOLATION), ("/1", Rule.EXTRAPOLATION)]
        assert recorded.recent(10) == []

    def test_price_is_never_negative(self) -> None:
        assert predict(predictor(per_area=-1.0)).one({"size": 100}).price == 0.0

    def test_single_house_pointers_have_no_position(self) -> None:
        recorded = InMemoryPredictions()
        use_case = predict(predictor(), predictor(), predictor(per_area=MAX_PRICE), into=recorded)
        prediction = use_case.one({"size": 100})
        assert recorded.recent(10) == [prediction]
        for house, expected in (
            ({"a/b": 1}, [("/size", Rule.MISSING), ("/a~1b", Rule.UNKNOWN)]),
            ({"size": 100}, [("", Rule.EXTRAPOLATION)]),
        ):
            with pytest.raises(InvalidHouses) as raised:
                use_case.one(house)
            assert violations(raised) == expected
