"""The contract of a PredictorLoader, as tests: what the service takes for granted of whatever loads model versions.

class TestMyLoader(PredictorLoaderContract):
    @pytest.fixture
    def load(self):
        return my_loader

    @pytest.fixture
    def kept(self):
        return version, artefact
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from attrs import define, evolve, field, frozen

from housepredict.domain.errors import RefusedModel
from housepredict.domain.estimates import Calibration, whole_cents
from housepredict.domain.evaluation.measures import Accuracy, Evaluation
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import Artefact, ModelVersion, SelfTest, TrainingSource
from housepredict.domain.ports import Predictor, PredictorLoader, Valuation
from housepredict.domain.training_options import Algorithm, TrainingOptions

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)

SCHEMA = FeatureSchema(
    (
        Feature("size", Kind.NUMBER, "sq ft", minimum=0.0, observed=(300.0, 10_000.0)),
        Feature("bedrooms", Kind.INTEGER, minimum=0.0, observed=(0, 10)),
        Feature("age", Kind.INTEGER, "years", minimum=0.0, observed=(0, 200)),
    )
)
"""What the fixed model wants to know of a house, if nothing else is said."""


@define
class FrozenClock:
    """A Clock that stands still until it is moved."""

    time: datetime = NOON

    def now(self) -> datetime:
        """The time that it was set to."""
        return self.time

    def move(self, by: timedelta) -> None:
        """Let time pass."""
        self.time += by


def fixed_price(size: float, bedrooms: float, age: float) -> float:
    """100 for each square foot and 5,000 for each bedroom, less 1,000 for each year."""
    return 100.0 * size + 5000.0 * bedrooms - 1000.0 * age


def fixed_version(schema: FeatureSchema = SCHEMA, name: str = "fixed") -> ModelVersion:
    """A version that sales might have made; 90 of 100 of them lay within a quarter of their estimates, 80 within an
    eighth, in logarithms.
    """
    measures = Accuracy(200, 1.0, 8.2, 32.0, 60.0, 90.0, 30_000.0, 1.6e9, 40_000.0, 0.9, 12.5, 10.0, 1.0, -0.01)
    return ModelVersion(
        name=name,
        created_at=NOON,
        algorithm=Algorithm.LINEAR,
        schema=schema,
        options=TrainingOptions(),
        source=TrainingSource("sales.csv", "0" * 64),
        evaluation=Evaluation(800, 200, measures),
        self_test=(),
        digests={},
        libraries={},
        calibration=Calibration(0.125, 0.25, 0.1),
    )


@frozen
class FixedModel:
    """A Predictor that computes prices by a formula, which gets a house's values by name.

    FixedModel(lambda area, pool: 3000.0 * area + 20_000.0 * pool, fixed_version(schema)) for houses of another kind.
    """

    formula: Callable[..., float] = fixed_price
    version: ModelVersion = field(factory=fixed_version)

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Prices, all equally sure."""
        return Valuation([self.formula(**house.values) for house in houses], [1.0] * len(houses))


Kept = tuple[ModelVersion, Artefact]


def houses_of(version: ModelVersion) -> Sequence[House]:
    """The houses whose prices are known."""
    return [each.house for each in version.self_test]


class PredictorLoaderContract:
    """Subclass it, and give it the fixtures `load`, the loader, and `kept`: a version that it takes, and its files."""

    @pytest.fixture
    def load(self) -> PredictorLoader:
        """The loader to test."""
        raise NotImplementedError("a subclass of PredictorLoaderContract needs the fixture `load`")

    @pytest.fixture
    def kept(self) -> Kept:
        """A version with two houses or more in its self-test, and the files that are kept of it."""
        raise NotImplementedError("a subclass of PredictorLoaderContract needs the fixture `kept`")

    @pytest.fixture
    def predictor(self, load: PredictorLoader, kept: Kept) -> Predictor:
        """What the loader makes of the version."""
        return load(*kept)

    def test_a_predictor_says_which_version_it_is(self, predictor: Predictor, kept: Kept) -> None:
        assert predictor.version == kept[0]

    def test_the_houses_of_the_self_test_get_their_prices(self, predictor: Predictor, kept: Kept) -> None:
        prices = predictor.predict(houses_of(kept[0])).prices
        assert len(prices) >= 2, "the version's self-test has too few houses to show anything"
        assert list(map(whole_cents, prices)) == [whole_cents(each.price) for each in kept[0].self_test]

    def test_a_price_does_not_depend_on_the_houses_beside_it(self, predictor: Predictor, kept: Kept) -> None:
        houses = houses_of(kept[0])
        alone = [predictor.predict([house]) for house in houses]
        together = predictor.predict([*houses, *reversed(houses), *houses])
        assert list(together.prices) == [each.prices[0] for each in (*alone, *reversed(alone), *alone)]

    def test_no_houses_have_no_prices(self, predictor: Predictor) -> None:
        assert list(predictor.predict([]).prices) == []

    def test_it_says_of_every_house_how_sure_it_is_or_of_none(self, predictor: Predictor, kept: Kept) -> None:
        valuation = predictor.predict(houses_of(kept[0]))
        assert valuation.spreads is None or len(valuation.spreads) == len(valuation.prices)
        assert all(each > 0 for each in valuation.spreads or ())

    def test_threads_may_share_a_predictor(self, predictor: Predictor, kept: Kept) -> None:
        houses = houses_of(kept[0])
        prices = list(predictor.predict(houses).prices)
        with ThreadPoolExecutor(4) as threads:
            assert all(list(each.prices) == prices for each in threads.map(predictor.predict, [houses] * 40))

    def test_files_that_are_not_those_of_the_manifest_are_refused(self, load: PredictorLoader, kept: Kept) -> None:
        version, artefact = kept
        for name, content in artefact.items():
            for damaged in (
                {**artefact, name: content + b"\0"},
                {each: artefact[each] for each in artefact if each != name},
                {**artefact, "more": b""},
            ):
                with pytest.raises(RefusedModel):
                    load(version, damaged)

    def test_a_version_that_fails_its_self_test_is_refused(self, load: PredictorLoader, kept: Kept) -> None:
        version, artefact = kept
        wrong = [SelfTest(each.house, each.price + 1000) for each in version.self_test]
        with pytest.raises(RefusedModel):
            load(evolve(version, self_test=tuple(wrong)), artefact)
