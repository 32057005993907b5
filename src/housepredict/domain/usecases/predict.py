"""Use cases: estimate houses and store the predictions, optionally with explanations or an idempotency key.

Predictions are stored before they are returned. Only this module stores predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import TypeVar

from attrs import define, evolve, field

from housepredict.domain.errors import ErasedPredictions, InvalidHouses
from housepredict.domain.estimates import Estimate, ExplainedPrediction, Prediction, round_to_cents
from housepredict.domain.features import House
from housepredict.domain.idempotency import Delivery, require_valid_key
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import (
    AppendsInLoop,
    Clock,
    Explainer,
    HasBacklog,
    InService,
    PredictionKeys,
    PredictionRepository,
    PredictorSource,
)
from housepredict.domain.validation import Rule, Violation, counted, pointer_to
from housepredict.domain.warnings import EstimateWarning, find_warnings

DEMONSTRATION = EstimateWarning(
    "demonstration",
    "demo model trained on synthetic sales: its prices mean nothing for real houses",
)

AnyPrediction = TypeVar("AnyPrediction", bound=Prediction)


CommitTimer = Callable[[], Callable[[], None]]
"""A function that starts measuring the duration of a commit, and returns a function that ends the measurement."""


def _no_timer() -> Callable[[], None]:
    return _no_timer_stops


def _no_timer_stops() -> None:
    """Do nothing. This replaces the function that stops a timer if commits are not timed."""


def require_batch_size(houses: int, max_batch: int) -> None:
    """Raise InvalidHouses if a batch has more than `max_batch` houses."""
    if houses > max_batch:
        message = f"must contain at most {counted(max_batch, 'house')}, not {houses:,}"
        raise InvalidHouses([Violation("", Rule.LIMIT, message)])


@define
class Predict:
    """Estimate houses with the model version in service, and store the predictions."""

    _models: PredictorSource
    _predictions: PredictionRepository
    _clock: Clock
    _max_batch: int = 1000
    _ids: IdSequence = field(factory=IdSequence)
    _start_timer: CommitTimer = _no_timer
    _in_loop: AppendsInLoop | None = field(init=False)  # The repository, if it can append from an event loop.

    @_in_loop.default
    def _repository_in_loop(self) -> AppendsInLoop | None:
        return self._predictions if isinstance(self._predictions, AppendsInLoop) else None

    def __call__(self, houses: Sequence[object]) -> Sequence[Prediction]:
        """Estimate a batch with the model version in service, and store the predictions (all or nothing).

        Args:
            houses: for each house, a mapping of feature names to values.

        Returns:
            A stored prediction for each house, in order.

        Raises:
            InvalidHouses: if any house is invalid. The error lists all violations. JSON pointers start with the
                position of the house, such as `/3/size`.
            NoModel: if no version is in service.
            RepositoryUnavailable: if the predictions can't be stored.
        """
        return self.store(*self.check(houses))

    def one(self, house: object) -> Prediction:
        """Estimate one house (see `__call__`). JSON pointers are relative to the house, such as `/size`."""
        return _single(self, house)

    def any_number(self, houses: Sequence[object]) -> Sequence[Prediction]:
        """Estimate any number of houses (see `__call__`). All houses are estimated before the first batch is stored."""
        serving = self._models.current()
        predictions = self.estimate(serving, serving.version.schema.houses(houses))
        for start in range(0, len(predictions), self._max_batch):
            self._append(predictions[start : start + self._max_batch])
        return predictions

    def check(self, houses: Sequence[object], serving: InService | None = None) -> tuple[InService, Sequence[House]]:
        """Validate a batch of houses.

        Args:
            houses: for each house, a mapping of feature names to values.
            serving: the version whose schema to use. By default, this is the version in service.

        Returns:
            The version and the validated houses, as needed by `store`.

        Raises:
            InvalidHouses: if any house is invalid. The error lists all violations.
            NoModel: if no version is in service.
        """
        require_batch_size(len(houses), self._max_batch)
        serving = serving or self._models.current()
        return serving, serving.version.schema.houses(houses)

    def store(self, serving: InService, houses: Sequence[House]) -> Sequence[Prediction]:
        """Estimate a batch of valid houses, and store the predictions (see `__call__`)."""
        predictions = self.estimate(serving, houses)
        self._append(predictions)
        return predictions

    @property
    def can_begin_in_loop(self) -> bool:
        """Whether the repository can store batches from an event loop."""
        return self._in_loop is not None

    def begin(
        self,
        serving: InService,
        houses: Sequence[House],
        done: Callable[[Sequence[Prediction] | Exception], None],
    ) -> bool:
        """Estimate valid houses, and start storing the predictions without waiting for the commit.

        Must be called in a running event loop.

        Args:
            serving: the version to estimate with.
            houses: the valid houses.
            done: a function that the event loop calls with the stored predictions, or with the error if storing them
                failed.

        Returns:
            Whether storing was started. If not, nothing is stored, `done` is not called, and the caller should call
            `store` in a thread.

        Raises:
            InvalidHouses: if a house can't be estimated (see `estimate`).
        """
        if self._in_loop is None:
            return False
        predictions = self.estimate(serving, houses)
        stop_timer = self._start_timer()

        def stored(error: Exception | None) -> None:
            stop_timer()
            done(error or predictions)

        return self._in_loop.append_in_loop(predictions, stored)

    def estimate(self, serving: InService, houses: Sequence[House]) -> Sequence[Prediction]:
        """Estimate valid houses without storing the predictions.

        Raises:
            InvalidHouses: if a house differs too much from the training sales for the model to compute a price.
        """
        estimates = _estimates(serving, houses)
        now = self._clock.now()
        return [
            Prediction(id_, now, estimate)
            for id_, estimate in zip(self._ids.take(len(estimates), now), estimates, strict=True)
        ]

    def _append(self, predictions: Sequence[Prediction]) -> None:
        stop_timer = self._start_timer()
        try:
            self._predictions.append(predictions)
        finally:
            stop_timer()


def _single(estimate: Callable[[Sequence[object]], Sequence[AnyPrediction]], house: object) -> AnyPrediction:
    try:
        return estimate([house])[0]
    except InvalidHouses as error:
        raise error.alone() from None


def _estimates(serving: InService, houses: Sequence[House]) -> Sequence[Estimate]:
    version, schema = serving.version, serving.version.schema
    valuation, calibration = serving.predictor.predict(houses), version.calibration
    prices = [round_to_cents(price) for price in valuation.prices]
    message = "too far outside the training sales to estimate a price"
    violations = [
        Violation(pointer_to(row), Rule.EXTRAPOLATION, message) for row, price in enumerate(prices) if price is None
    ]
    if violations:
        raise InvalidHouses(violations)
    demo_warning = (DEMONSTRATION,) if version.source.synthetic else ()
    spreads = valuation.spreads if calibration else None
    return [
        Estimate(
            house,
            price,
            version.name,
            schema.valued_on(house),
            demo_warning + find_warnings(schema, house),
            calibration.intervals(price, spread) if calibration and spread is not None else (),
            calibration.fsd(spread) if calibration and spread is not None else None,
            serving.generation,
        )
        for house, price, spread in zip(houses, prices, spreads or repeat(None, len(prices)), strict=True)
        if price is not None
    ]


@define
class Explain:
    """Estimate and explain houses, and store the predictions. If explaining fails, nothing is stored."""

    _predict: Predict
    _explainer_of: Callable[[ModelVersion], Explainer]

    def __call__(self, houses: Sequence[object]) -> Sequence[ExplainedPrediction]:
        """Estimate and explain a batch, and store the predictions.

        Raises:
            NoExplanation: if the version in service can't explain its estimates.
            InvalidHouses: if any house is invalid. The error lists all violations.
            NoModel: if no version is in service.
            RepositoryUnavailable: if the predictions can't be stored.
        """
        return self.store(*self._predict.check(houses))

    def one(self, house: object) -> ExplainedPrediction:
        """Estimate and explain one house (see `__call__`). JSON pointers are relative to the house, such as `/size`."""
        return _single(self, house)

    def store(self, serving: InService, houses: Sequence[House]) -> Sequence[ExplainedPrediction]:
        """Estimate and explain valid houses (from Predict.check), and store the predictions."""
        explanations = self._explainer_of(serving.version).explain(houses)
        return [
            ExplainedPrediction(prediction.id, prediction.created_at, prediction.estimate, explanation)
            for prediction, explanation in zip(self._predict.store(serving, houses), explanations, strict=True)
        ]


@define
class PredictOnce:
    """Estimate houses once per idempotency key. A retry with the same key returns the same predictions.

    Prediction ids are reserved for the key before the predictions are stored, and repositories don't store a second
    prediction with the same id. All requests with the same key therefore return the predictions that were stored
    first, even if requests are interrupted or run concurrently.
    """

    _predict: Predict
    _predictions: PredictionRepository
    _keys: PredictionKeys

    def for_key(self, read: Callable[[], Sequence[object]], delivery: Delivery) -> Sequence[Prediction]:
        """Return the predictions for an idempotency key. If there are none yet, estimate a batch and store it.

        If the houses are invalid, the key can be used again with other houses.

        Args:
            read: a function that returns the houses. It is not called if there are predictions for the key already.
            delivery: the key and the digest of the request.

        Raises:
            InvalidHouses: if the key or any house is invalid. The error lists all violations.
            RepeatedKey: if the key was used for a different request.
            ErasedPredictions: if the predictions for the key were erased or pruned.
            NoModel: if no version is in service.
            RepositoryUnavailable: if predictions can't be stored or read.
        """
        require_valid_key(delivery.key, InvalidHouses)
        ids = self._keys.find(delivery)
        if ids is not None:
            stored = self._predictions.find(ids)
            if len(stored) == len(ids):
                return stored
        predictions = self._predict.estimate(*self._predict.check(read()))
        ids = self._keys.reserve(delivery, [prediction.id for prediction in predictions])
        self._append([evolve(prediction, id=id_) for prediction, id_ in zip(predictions, ids, strict=True)])
        # Read the predictions back: another request may have stored its own first, and erased ids are not stored.
        stored = self._predictions.find(ids)
        if len(stored) < len(ids):
            raise ErasedPredictions
        return stored

    def _append(self, predictions: Sequence[Prediction]) -> None:
        # The spool must not be used: another replica could store different predictions with these ids meanwhile.
        if isinstance(self._predictions, HasBacklog):
            self._predictions.append_shared(predictions)
        else:
            self._predictions.append(predictions)
