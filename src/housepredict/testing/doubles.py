"""Test doubles: a frozen clock, and a predictor that computes prices with a formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from attrs import define, field, frozen

from housepredict.domain.estimates import Calibration
from housepredict.domain.evaluation.measures import Accuracy, Evaluation
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.models import ModelVersion, TrainingSource
from housepredict.domain.ports import Valuation
from housepredict.domain.training_options import Algorithm, TrainingOptions

NOON = datetime(2025, 6, 1, 12, tzinfo=UTC)

SCHEMA = FeatureSchema(
    (
        Feature("size", Kind.NUMBER, "sq ft", minimum=0.0, observed=(300.0, 10_000.0)),
        Feature("bedrooms", Kind.INTEGER, minimum=0.0, observed=(0, 10)),
        Feature("age", Kind.INTEGER, "years", minimum=0.0, observed=(0, 200)),
    )
)
"""The feature schema of FixedModel."""


@define
class FrozenClock:
    """A Clock whose time changes only when a test calls `move`."""

    time: datetime = NOON

    def now(self) -> datetime:
        """Return the clock's current time."""
        return self.time

    def move(self, by: timedelta) -> None:
        """Advance the clock's time by `by`."""
        self.time += by


def fixed_price(size: float, bedrooms: float, age: float) -> float:
    """Return 100 · size + 5,000 · bedrooms - 1,000 · age."""
    return 100.0 * size + 5000.0 * bedrooms - 1000.0 * age


def fixed_version(schema: FeatureSchema = SCHEMA, name: str = "fixed") -> ModelVersion:
    """Return a model version with plausible accuracy measures. Its Calibration is for estimates with a spread of 1."""
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
    """A Predictor that computes prices with `formula`, a function whose parameters have the names of the features.

    To use other features: `FixedModel(lambda area, pool: 3000.0 * area + 20_000.0 * pool, fixed_version(schema))`.
    """

    formula: Callable[..., float] = fixed_price
    version: ModelVersion = field(factory=fixed_version)

    def predict(self, houses: Sequence[House]) -> Valuation:
        """Return the price of each house, with a spread of 1 (see Calibration)."""
        return Valuation([self.formula(**house.values) for house in houses], [1.0] * len(houses))
