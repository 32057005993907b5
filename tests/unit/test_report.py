"""Documents and texts of the command line."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from hypothesis import given

from housepredict.domain.estimates import Calibration, Prediction
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.usecases.train import Training
from housepredict.entrypoints.answers import (
    ExportedPredictionAnswer,
    ModelVersionAnswer,
    TrainingResultAnswer,
    model_document,
)
from housepredict.entrypoints.cli.model_commands import version_text
from housepredict.entrypoints.cli.train_commands import training_text
from housepredict.entrypoints.http.routes.predict_routes import encode_predictions
from housepredict.entrypoints.json_documents import document
from housepredict.entrypoints.pages.version_page import version_page
from housepredict.testing.drawing import batches, estimates
from tests.training import (
    HOLDS,
    MANY,
    NARROW,
    OPTIONS,
    ListedSales,
    ListedTrainer,
    ignore,
    mostly_right,
    training,
)

ALIKE = ("id", "prediction", "interval", "fsd", "model_version", "valued_on")


@given(batches(estimates, min_size=1))
def test_exported_prediction_matches_http_answer(batch: list[Prediction]) -> None:
    for each in batch:
        exported, answer = document(each, ExportedPredictionAnswer), json.loads(encode_predictions([each], {}, b"{}"))
        assert list(exported)[:5] == list(answer)[:5]
        assert json.loads(json.dumps([exported[name] for name in ALIKE])) == [answer[name] for name in ALIKE]


def train_with(
    scaled: Calibration | None,
    plain: Calibration | None,
    source: ListedSales = MANY,
    policy: PromotionPolicy = PromotionPolicy.IF_BETTER,
) -> Training:
    trainer = ListedTrainer(price=mostly_right, calibration=scaled, plain_calibration=plain)
    return training(trainer=trainer)(source, OPTIONS, ignore, policy)


def test_valid_intervals_are_reported_with_p_values() -> None:
    made = train_with(HOLDS, NARROW)
    [line] = [each for each in training_text(made).splitlines() if each.startswith("Intervals: ")]
    assert line.startswith("Intervals: scaled (coverage test: 80% p = ")
    assert ", 90% p = " in line
    assert document(made, TrainingResultAnswer)["intervals"]["kind"] == "scaled"


def test_plain_interval_fallback_is_reported_with_reason() -> None:
    made = train_with(NARROW, HOLDS)
    version = made.version
    assert version.intervals
    intervals = document(made, TrainingResultAnswer)["intervals"]
    assert (intervals["kind"], intervals["reasons"]) == ("plain", version.intervals.reasons)
    assert intervals == model_document(version, None, ModelVersionAnswer)["intervals"]
    assert json.loads(json.dumps(intervals))["tests"][0]["kind"] == "scaled"
    for text in (training_text(made), version_text(version, None), version_page(version, None, None)):
        assert "Intervals: plain" in text or "intervals       plain" in text
        for reason in version.intervals.reasons:
            assert text.count(reason) == 1


@pytest.mark.parametrize("policy", PromotionPolicy)
def test_failed_intervals_are_reported_with_promote_command(policy: PromotionPolicy) -> None:
    made = train_with(NARROW, NARROW, policy=policy)
    version, text = made.version, training_text(made)
    assert version.intervals
    for reason in version.intervals.reasons:
        assert text.count(reason) == 1
        assert reason in version_text(version, None)
        assert reason in version_page(version, None, None)
    assert "Intervals: none" in text
    command = f"housepredict models promote {version.name}"
    assert (command in text) is (policy is not PromotionPolicy.ALWAYS)


def test_older_version_reports_untested_intervals() -> None:
    version = evolve(train_with(None, None, ListedSales("/sales.csv")).version, intervals=None)
    assert model_document(version, None, ModelVersionAnswer)["intervals"] is None
    for text in (version_text(version, None), version_page(version, None, None)):
        assert "not recorded (trained by an older release)" in text
