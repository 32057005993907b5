"""The drift review over in-memory storage: examined predictions and classification."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest
from attrs import define, evolve, field, frozen

from housepredict.adapters.memory import InMemoryModels, InMemoryPredictions
from housepredict.domain.errors import NoSnapshot
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.evaluation.drift import (
    MIN_ESTIMATES,
    SNAPSHOT_FILE,
    Distribution,
    Drift,
    Movement,
    Ranges,
    shift,
    snapshot,
    write_snapshot,
)
from housepredict.domain.features import House
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.models import ModelVersion, digests_of
from housepredict.domain.ports import InService
from housepredict.domain.usecases.review import MAX_REVIEWED, PAGE_SIZE, ReviewDrift
from housepredict.domain.warnings import EstimateWarning
from housepredict.testing.drawing import sample_version
from tests.training import NOON, SCHEMA, PricePerArea

_ids = IdSequence()
SIZES = [50 + number / 8 for number in range(1200)]


@frozen
class Serving:
    """A predictor in service."""

    _predictor: PricePerArea

    def current(self) -> InService:
        return InService(self._predictor)

    def in_service(self) -> InService:
        return self.current()


@define
class CountingPredictions(InMemoryPredictions):
    """Records the limits of its reads."""

    limits: list[int] = field(factory=list)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        self.limits.append(limit)
        return super().recent(limit, before)


def make_version(*, has_snapshot: bool = True) -> tuple[ModelVersion, dict[str, bytes]]:
    trained = snapshot(SCHEMA, [House({"size": size}) for size in SIZES], [1000 * size for size in SIZES])
    artifact = {"model.bin": b"", **({SNAPSHOT_FILE: write_snapshot(trained)} if has_snapshot else {})}
    return evolve(sample_version("mine")[0], schema=SCHEMA, digests=digests_of(artifact)), artifact


def estimates(sizes: Sequence[float], name: str = "mine", *warnings: EstimateWarning) -> list[Prediction]:
    identifiers = _ids.take(len(sizes), NOON)
    return [
        Prediction(
            identifier,
            NOON + timedelta(seconds=number),
            Estimate(House({"size": size}), 1000 * size, name, warnings=warnings),
        )
        for number, (identifier, size) in enumerate(zip(identifiers, sizes, strict=True))
    ]


def reviewed(*batches: Sequence[Prediction], predictions: InMemoryPredictions | None = None) -> Drift:
    store, repository = InMemoryModels(), predictions or InMemoryPredictions()
    trained_version, artifact = make_version()
    store.add(trained_version, artifact)
    for batch in batches:
        repository.append(batch)
    return ReviewDrift(Serving(PricePerArea(trained_version)), store, repository)()


def like_training(count: int) -> list[float]:
    return Random(3).choices(SIZES, k=count)


def test_drift_is_stable_for_houses_like_training_sales() -> None:
    drift = reviewed(estimates(like_training(500)))
    [size] = drift.features
    assert size.name == "size"
    assert {size.shift.movement, drift.estimates.movement} == {Movement.STABLE}
    assert (drift.n, drift.examined, drift.since) == (500, 500, NOON)
    assert (size.out_of_range, drift.out_of_range) == (0, 0)


def test_drift_is_detected_in_features_and_estimates() -> None:
    drift = reviewed(estimates([2 * size for size in like_training(500)]))
    assert drift.features[0].shift.movement is drift.estimates.movement is Movement.DRIFTED
    assert drift.features[0].shift.psi == pytest.approx(drift.estimates.psi)


def test_drift_counts_only_predictions_of_the_version() -> None:
    others = estimates([2 * size for size in like_training(300)], "another")
    drift = reviewed(others, estimates(like_training(200)), others)
    assert (drift.model_version, drift.n, drift.examined) == ("mine", 200, 500)
    assert drift.features[0].shift.movement is Movement.STABLE


def test_drift_needs_a_minimum_of_predictions() -> None:
    few = estimates([500.0] * (MIN_ESTIMATES - 1))
    assert reviewed(few).estimates.movement is Movement.TOO_FEW
    assert reviewed(few, estimates([500.0])).estimates.movement is Movement.DRIFTED


def test_drift_without_predictions_has_no_psi() -> None:
    drift = reviewed()
    assert (drift.n, drift.examined, drift.since, drift.out_of_range) == (0, 0, None, None)
    assert (drift.estimates.psi, drift.estimates.chance, drift.estimates.bins) == (None, None, ())
    assert drift.features[0].out_of_range is None


def test_drift_counts_warnings_of_features_as_out_of_range() -> None:
    odd = estimates(
        like_training(30),
        "mine",
        EstimateWarning("outside_observed_range", "", "size"),
        EstimateWarning("rare", "", "size"),
    )
    drift = reviewed(odd, estimates(like_training(70), "mine", EstimateWarning("demonstration", "")))
    assert drift.features[0].out_of_range == drift.out_of_range == 30


def test_drift_reads_newest_predictions_in_pages() -> None:
    predictions = CountingPredictions()
    old = estimates([2 * size for size in like_training(300)])
    drift = reviewed(old, estimates(like_training(MAX_REVIEWED)), predictions=predictions)
    assert drift.examined == drift.n == MAX_REVIEWED
    assert predictions.limits == [PAGE_SIZE] * (MAX_REVIEWED // PAGE_SIZE)
    assert drift.features[0].shift.movement is Movement.STABLE


@pytest.mark.parametrize("has_snapshot", [True, False], ids=["not in the store", "without a snapshot"])
def test_drift_without_snapshot_is_rejected(has_snapshot: bool) -> None:
    store = InMemoryModels()
    trained_version, artifact = make_version(has_snapshot=has_snapshot)
    if not has_snapshot:
        store.add(trained_version, artifact)
    with pytest.raises(NoSnapshot):
        ReviewDrift(Serving(PricePerArea(trained_version)), store, InMemoryPredictions())()


HALVES = Distribution(Ranges((0,)), (5000, 5000, 0))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (500, 500, Movement.STABLE),
        (580, 420, Movement.STABLE),
        (670, 330, Movement.MOVING),
        (730, 270, Movement.MOVING),
        (745, 255, Movement.DRIFTED),
    ],
)
def test_movement_is_classified_by_thresholds(low: int, high: int, expected: Movement) -> None:
    assert shift(HALVES, [-1] * low + [1] * high).movement is expected


def test_movement_below_chance_level_is_stable() -> None:
    few_sales = Distribution(Ranges((1, 2, 3, 4, 5, 6, 7, 8, 9)), (4,) * 10 + (0,))
    values = [number for number in range(1, 11) for _ in range(13 if number % 2 else 7)]
    moved = shift(few_sales, values)
    assert 0.09 < (moved.psi or 0) < (moved.chance or 0)
    assert moved.movement is Movement.STABLE


def test_bins_have_expected_and_actual_shares() -> None:
    moved = shift(HALVES, [-1, 1, None, 1])
    assert [(each.label, each.expected, each.actual) for each in moved.bins] == [
        ("to 0", 50, 25),
        ("over 0", 50, 50),
        ("missing", 0, 25),
    ]
