"""Estimates that may be asked for more than once, and are given once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from uuid import UUID

from attrs import define, evolve, field

from housepredict.domain.errors import ErasedPredictions, InvalidHouses
from housepredict.domain.estimates import Estimate, ExplainedPrediction, Prediction, whole_cents
from housepredict.domain.features import EstimateWarning, House
from housepredict.domain.idempotency import Delivery, require_valid_key
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import ModelVersion
from housepredict.domain.ports import (
    AppendsInLoop,
    AppendsShared,
    Backlog,
    Clock,
    Explainer,
    HasBacklog,
    InService,
    PredictionKeys,
    PredictionRepository,
    PredictorSource,
)
from housepredict.domain.validation import Rule, Violation, pointer_to

DEMONSTRATION = EstimateWarning(
    "demonstration",
    "this model rests on synthetic data: it shows how housepredict works and says nothing about real houses",
)


@define
class Predict:
    """Estimate houses, and remember having done so."""

    _models: PredictorSource
    _predictions: PredictionRepository
    _clock: Clock
    _max_batch: int = 1000
    _ids: IdSequence = field(factory=IdSequence)
    _in_loop: AppendsInLoop | None = field(init=False)  # the repository, if it is one

    @_in_loop.default
    def _repository_in_loop(self) -> AppendsInLoop | None:
        return self._predictions if isinstance(self._predictions, AppendsInLoop) else None

    def __call__(self, given: Sequence[object]) -> Sequence[Prediction]:
        """One prediction a house, in order, all by one model version, recorded when this returns.

        Each of `given` maps feature names to values. Raises InvalidHouses with every violation (pointers begin with
        the house's position: `/3/size`), NoModel, or RepositoryUnavailable.
        """
        self._demand_few(given)
        serving = self._models.current()
        return self.record(serving, self.check(serving, given))

    def check(self, serving: InService, given: Sequence[object]) -> Sequence[House]:
        """The houses given, if the schema of what is in service has nothing against them; see above."""
        self._demand_few(given)
        return serving.version.schema.houses(given)

    def record(self, serving: InService, houses: Sequence[House]) -> Sequence[Prediction]:
        """Estimate houses that were checked for what is in service, and remember it; see above."""
        return self._remember(estimate(serving, houses))

    @property
    def records_in_loop(self) -> bool:
        """Whether the repository can store what an event loop gives it, without blocking it."""
        return self._in_loop is not None

    def record_in_loop(
        self,
        serving: InService,
        houses: Sequence[House],
        done: Callable[[Sequence[Prediction] | Exception], None],
    ) -> bool:
        """As `record`, to be called in a running event loop, which calls `done` with what `record` returns or raises.

        Returns:
            Whether it has begun; see AppendsInLoop. If not, or if the estimates fail, nothing was recorded.
        """
        if self._in_loop is None:
            return False
        predictions = self._identified(estimate(serving, houses))
        return self._in_loop.append_in_loop(predictions, lambda error: done(error or predictions))

    def any_number(self, given: Sequence[object]) -> Sequence[Prediction]:
        """As above, for more than a batch: every house is checked and estimated before the first batch is recorded."""
        serving = self._models.current()
        houses = serving.version.schema.houses(given)
        estimates = estimate(serving, houses)
        starts = range(0, len(estimates), self._max_batch)
        return [each for start in starts for each in self._remember(estimates[start : start + self._max_batch])]

    def each(self, serving: InService, given: Sequence[object]) -> Sequence[Prediction | InvalidHouses]:
        """As above, of houses of which some may be refused: the prediction of each, or what is wrong with it.

        Pointers begin at the house itself: `/size`.
        """
        outcomes: dict[int, Prediction | InvalidHouses] = {}
        houses: dict[int, House] = {}
        for position, one in enumerate(given):
            try:
                (houses[position],) = serving.version.schema.houses([one])
            except InvalidHouses as error:
                outcomes[position] = error.alone()
        try:
            predictions = self._record_any(serving, houses.values())
        except InvalidHouses as error:
            # those that the model has no price for: the others are estimated without them
            positions = list(houses)
            for violation in error.violations:
                position = positions[int(violation.pointer.removeprefix("/"))]
                outcomes[position] = InvalidHouses([evolve(violation, pointer="")])
                del houses[position]
            predictions = self._record_any(serving, houses.values())
        outcomes.update(zip(houses, predictions, strict=True))
        return [outcomes[position] for position in range(len(given))]

    def _record_any(self, serving: InService, houses: Iterable[House]) -> Sequence[Prediction]:
        checked = list(houses)
        return self.record(serving, checked) if checked else []

    def _remember(self, estimates: Sequence[Estimate]) -> Sequence[Prediction]:
        predictions = self._identified(estimates)
        self._predictions.append(predictions)
        return predictions

    def _identified(self, estimates: Sequence[Estimate]) -> Sequence[Prediction]:
        now = self._clock.now()
        return [
            Prediction(identifier, now, each)
            for identifier, each in zip(self._ids.take(len(estimates), now), estimates, strict=True)
        ]

    def one(self, given: object) -> Prediction:
        """A batch of one; pointers begin at the house itself: `/size`."""
        try:
            return self([given])[0]
        except InvalidHouses as error:
            raise error.alone() from None

    def _demand_few(self, given: Sequence[object]) -> None:
        if len(given) > self._max_batch:
            message = f"must hold at most {self._max_batch} houses, not {len(given)}"
            raise InvalidHouses([Violation("", Rule.LIMIT, message)])

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first; see PredictionRepository."""
        return self._predictions.recent(limit, before)

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog | None]:
        """The same, and what they may lack; None where predictions wait nowhere. See HasBacklog."""
        if isinstance(self._predictions, HasBacklog):
            return self._predictions.recent_and_backlog(limit, before)
        return self.recent(limit, before), None


def estimate(serving: InService, houses: Sequence[House]) -> Sequence[Estimate]:
    """What a model says of houses that fit its schema. Raises InvalidHouses for one that it has no price for."""
    version, schema = serving.version, serving.version.schema
    valuation, calibration = serving.predictor.predict(houses), version.calibration
    prices = [whole_cents(price) for price in valuation.prices]
    beyond = "lies so far outside the sales that the model learned from that it has no price for it"
    violations = [
        Violation(pointer_to(row), Rule.EXTRAPOLATION, beyond) for row, price in enumerate(prices) if price is None
    ]
    if violations:
        raise InvalidHouses(violations)
    always = (DEMONSTRATION,) if version.source.synthetic else ()
    spreads = valuation.spreads if calibration else None
    return [
        Estimate(
            house,
            price,
            version.name,
            schema.valued_on(house),
            always + schema.warnings(house),
            calibration.intervals(price, spread) if calibration and spread is not None else (),
            calibration.fsd(spread) if calibration and spread is not None else None,
            serving.generation,
        )
        for house, price, spread in zip(houses, prices, spreads or repeat(None, len(prices)), strict=True)
        if price is not None
    ]


@define
class Explain(Predict):
    """Estimate houses, remember having done so, and say what moved each estimate."""

    _explainer_of: Callable[[ModelVersion], Explainer] = field(kw_only=True)

    @property
    def records_in_loop(self) -> bool:
        """False: to explain takes long."""
        return False

    def record(self, serving: InService, houses: Sequence[House]) -> Sequence[ExplainedPrediction]:
        """As of Predict. What cannot be explained is not recorded either."""
        explanations = self._explainer_of(serving.version).explain(houses)
        predictions = super().record(serving, houses)
        return [
            ExplainedPrediction(each.id, each.created_at, each.estimate, explanation)
            for each, explanation in zip(predictions, explanations, strict=True)
        ]


@define
class PredictOnce(Predict):
    """Estimate houses for an idempotency key, and whenever it comes again say what was said first.

    The ids of predictions are kept with their key before the predictions are recorded, and a prediction whose id is
    known is not recorded again. So whatever is cut off between the two, and whoever asks at the same time: what is
    recorded first counts for all.
    """

    _keys: PredictionKeys = field(kw_only=True)

    def for_key(self, read: Callable[[], Sequence[object]], delivery: Delivery) -> Sequence[Prediction]:
        """As `Predict` does; houses whose predictions are recorded for the key are not even read.

        Raises RepeatedKey for a key that came with something else, ErasedPredictions where some of what was recorded
        for it is no more, what Predict raises and what `read` does; a key with houses that are refused stays free.
        """
        require_valid_key(delivery.key, InvalidHouses)
        known = self._keys.find(delivery)
        if known is not None:
            found = self._predictions.find(known)
            if len(found) == len(known):
                return found
        serving = self._models.current()
        estimates = estimate(serving, self.check(serving, read()))
        now = self._clock.now()
        ids = self._keys.reserve(delivery, self._ids.take(len(estimates), now))
        self._append([Prediction(id_, now, each) for id_, each in zip(ids, estimates, strict=True)])
        # somebody else's may have been recorded first, and what was erased is ignored
        found = self._predictions.find(ids)
        if len(found) < len(ids):
            raise ErasedPredictions
        return found

    def _append(self, predictions: Sequence[Prediction]) -> None:
        # in a spool it would answer here, while another replica stores and answers something else for the same id
        if isinstance(self._predictions, AppendsShared):
            self._predictions.append_shared(predictions)
        else:
            self._predictions.append(predictions)
