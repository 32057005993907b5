"""What housepredict does, in terms of its ports."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from uuid import UUID

from attrs import define, evolve, field, frozen

from housepredict.domain.accuracy import accuracy
from housepredict.domain.errors import InvalidHouses, RefusedModel
from housepredict.domain.estimates import Estimate, Prediction, whole_cents
from housepredict.domain.features import Caveat, House
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.inference import PreparedSales, prepare
from housepredict.domain.models import (
    Algorithm,
    Evaluation,
    ModelVersion,
    SelfTest,
    TrainingOptions,
    TrainingSource,
    digests_of,
    version_name,
)
from housepredict.domain.ports import (
    Clock,
    Fitted,
    ModelStore,
    PredictionRepository,
    Predictor,
    PredictorLoader,
    PredictorSource,
    Progress,
    SalesSource,
    SalesSources,
    Trainer,
)
from housepredict.domain.validation import Rule, Violation, pointer_to

SELF_TEST_ROWS = 5

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
        predictor = self._models.current()
        return self.record(predictor, self.check(predictor, given))

    def check(self, predictor: Predictor, given: Sequence[object]) -> Sequence[House]:
        """The houses given, if the predictor's schema has nothing against them; see above."""
        self._demand_few(given)
        return predictor.version.schema.houses(given)

    def record(self, predictor: Predictor, houses: Sequence[House]) -> Sequence[Prediction]:
        """Estimate houses that were checked for this predictor, and remember it; see above."""
        estimates = estimate(predictor, houses)
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


def estimate(predictor: Predictor, houses: Sequence[House]) -> Sequence[Estimate]:
    """What a model says of houses that fit its schema. Raises InvalidHouses for one that it has no price for."""
    version, schema = predictor.version, predictor.version.schema
    valuation, calibration = predictor.predict(houses), predictor.version.calibration
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
        )
        for house, price, spread in zip(houses, prices, spreads or repeat(None, len(prices)), strict=True)
        if price is not None
    ]


@frozen
class Training:
    """What a training did: the version that it made and promoted, and what became of the sales."""

    version: ModelVersion
    sales: PreparedSales


@define
class Train:
    """Train a model version on sales, evaluate it on sales held out, keep it and promote it."""

    _trainer: Trainer
    _load: PredictorLoader
    _models: ModelStore
    _sources: SalesSources
    _clock: Clock

    def __call__(self, source: SalesSource, options: TrainingOptions, progress: Progress) -> Training:
        """One training at a time.

        Raises UnusableSales, RefusedModel, TrainingInProgress or ModelStoreUnavailable.
        """
        with self._models.training():
            table = source.read()
            sales = prepare(table, options)
            origin = TrainingSource(source.location, table.digest)
            if origin.synthetic and options.algorithm is Algorithm.AUTO:
                options = evolve(options, algorithm=Algorithm.LINEAR)
            fitted = self._trainer.fit(sales.schema, sales.training, options, progress)
            version = self._version(origin, options, sales, fitted)
            # nothing is kept that could not be loaded again
            self._load(version, fitted.artefact)
            self._models.add(version, fitted.artefact)
            self._models.promote(version.name)
            return Training(version, sales)

    def again(self, version: ModelVersion, progress: Progress) -> Training:
        """Train on the sales that a version was trained on, as they are now, and with its options; see above."""
        return self(self._sources(version.source.location), version.options, progress)

    def _version(
        self,
        source: TrainingSource,
        options: TrainingOptions,
        sales: PreparedSales,
        fitted: Fitted,
    ) -> ModelVersion:
        prices = fitted.predict([sale.house for sale in sales.held_out]).prices
        if any(whole_cents(price) is None for price in prices):
            raise RefusedModel("the model gives no price for some of the houses that it was evaluated on")
        now = self._clock.now()
        return ModelVersion(
            name=version_name(now, fitted.artefact),
            created_at=now,
            algorithm=fitted.algorithm,
            schema=sales.schema,
            options=options,
            source=source,
            evaluation=Evaluation(
                trained_on=len(sales.training),
                held_out=len(sales.held_out),
                accuracy=accuracy([max(price, 0.0) for price in prices], [sale.price for sale in sales.held_out]),
            ),
            self_test=tuple(
                SelfTest(sale.house, price)
                for sale, price in zip(sales.held_out[:SELF_TEST_ROWS], prices, strict=False)
            ),
            digests=digests_of(fitted.artefact),
            libraries=fitted.libraries,
            calibration=fitted.calibration,
        )
