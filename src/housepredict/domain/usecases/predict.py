"""Estimates, and the memory of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from uuid import UUID

from attrs import define, field

from housepredict.domain.caveats import Caveat
from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import Estimate, Prediction, whole_cents
from housepredict.domain.features import House
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.ports import Clock, InService, PredictionRepository, PredictorSource
from housepredict.domain.validation import Rule, Violation, pointer_to

DEMONSTRATION = Caveat(
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
        estimates = estimate(serving, houses)
        now = self._clock.now()
        predictions = [
            Prediction(identifier, now, each)
            for identifier, each in zip(self._ids.take(len(estimates), now), estimates, strict=True)
        ]
        self._predictions.append(predictions)
        return predictions

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
            always + schema.caveats(house),
            calibration.intervals(price, spread) if calibration and spread is not None else (),
            calibration.fsd(spread) if calibration and spread is not None else None,
            serving.generation,
        )
        for house, price, spread in zip(houses, prices, spreads or repeat(None, len(prices)), strict=True)
        if price is not None
    ]
