"""The use case of training, over in-memory adapters and doubles that fail or wait on request."""

from __future__ import annotations

from datetime import date, timedelta
from threading import Event, Thread
from typing import Any

import pytest
from attrs import evolve

from housepredict.adapters.memory import InMemoryModels
from housepredict.domain.errors import (
    HousepredictError,
    ModelStoreUnavailable,
    RefusedModel,
    TrainingInProgress,
    UnusableSales,
)
from housepredict.domain.estimates import MAX_PRICE, Calibration
from housepredict.domain.evaluation import drift as snapshots
from housepredict.domain.evaluation.coverage import IntervalKind
from housepredict.domain.evaluation.drift import SNAPSHOT_FILE
from housepredict.domain.evaluation.held_out import HELD_OUT_FILE, OutOfTimeSales, latest_sales, read_held_out
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.models import TrainingSource, digests_of
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.usecases.train import SELF_TEST_ROWS
from housepredict.testing.drawing import sample_version
from tests.training import (
    ENDLESS,
    HOLDS,
    MANY,
    NARROW,
    NOON,
    OPTIONS,
    ROWS,
    WIDE,
    FaultyModels,
    ListedSales,
    ListedTrainer,
    ignore,
    mostly_right,
    refuse,
    table,
    training,
)

DATED = ListedSales(
    "/sales.csv", sales=table(200, sold=[(date(2024, 1, 1) + timedelta(day)).isoformat() for day in range(200)])
)


class TestTrain:
    def test_version_is_stored_and_promoted(self) -> None:
        models = InMemoryModels()
        made = training(models=models)(ListedSales("/sales.csv"), OPTIONS, ignore)
        assert models.pointer().name == made.version.name
        version, artifact = models.get(made.version.name)
        assert version == made.version
        assert artifact.keys() == {"model.bin", HELD_OUT_FILE, SNAPSHOT_FILE}
        assert made.version.name.startswith("20250601-120000-")

    def test_manifest_records_training_inputs(self) -> None:
        version = training()(ListedSales("/sales.csv"), OPTIONS, ignore).version
        assert version.created_at == NOON
        assert version.algorithm is Algorithm.BOOSTING
        assert version.options == OPTIONS
        assert version.source == TrainingSource("/sales.csv", "d" * 64, read_on=date(2025, 6, 2))
        assert version.libraries == {"lib": "1.0"}
        assert [each.name for each in version.schema.features] == ["size"]
        assert version.valuation_date is None

    def test_version_is_evaluated_on_held_out_sales(self) -> None:
        trainer = ListedTrainer()
        made = training(trainer=trainer)(ListedSales("/sales.csv"), OPTIONS, ignore)
        [(training_sales, _, seed)] = trainer.seen
        assert training_sales == made.sales.training
        assert seed == 7
        assert not {sale.house_key for sale in training_sales} & {sale.house_key for sale in made.sales.held_out}
        evaluation = made.version.evaluation
        assert (evaluation.trained_on, evaluation.held_out) == (len(training_sales), ROWS - len(training_sales))
        assert evaluation.accuracy.n == evaluation.held_out
        assert evaluation.accuracy.median_ratio == pytest.approx(1000 / 1100)

    def test_out_of_time_evaluation_refits_on_earlier_sales(self) -> None:
        trainer = ListedTrainer(price=mostly_right, calibration=Calibration(0.5, 1.5, 1.0))
        made = training(trainer=trainer)(DATED, OPTIONS, ignore)
        later = made.version.evaluation.out_of_time
        assert later
        split = latest_sales([*made.sales.training, *made.sales.held_out])
        assert isinstance(split, OutOfTimeSales)
        assert trainer.refit_sales == [split.earlier]
        assert (later.since, later.trained_on, later.held_out) == (split.since, 160, 40)
        assert later.accuracy.n == 40
        assert later.accuracy.median_ratio == pytest.approx(1)
        assert [(each.level, each.share) for each in later.coverage] == [(80, 80.0), (90, 90.0)]
        assert made.version.evaluation.out_of_time_skipped is None

    def test_out_of_time_evaluation_skipped_has_reason(self) -> None:
        trainer = ListedTrainer()
        evaluation = training(trainer=trainer)(ListedSales("/sales.csv"), OPTIONS, ignore).version.evaluation
        assert (evaluation.out_of_time, evaluation.out_of_time_skipped) == (None, "the sales have no dates")
        assert trainer.refit_sales == []

    def test_manifest_counts_recorded_sales(self) -> None:
        sales = ListedSales("/sales.csv", sales=evolve(table(), recorded=7))
        source = training()(sales, OPTIONS, ignore).version.source
        assert source == TrainingSource("/sales.csv", "d" * 64, 7, date(2025, 6, 2))

    def test_recorded_sales_without_file_are_not_synthetic(self) -> None:
        made = training()(ListedSales(None, sales=evolve(table(), recorded=ROWS)), OPTIONS, ignore)
        assert not made.version.source.synthetic
        assert made.version.algorithm is Algorithm.BOOSTING

    @pytest.mark.parametrize("recorded", [None, 7])
    def test_retrain_uses_same_sales_and_options(self, recorded: int | None) -> None:
        asked: list[object] = []

        def sources(location: str | None, options: TrainingOptions, with_recorded: bool) -> ListedSales:
            asked.append((location, options, with_recorded))
            return ListedSales(location, sales=evolve(table(), recorded=recorded))

        train, options = training(sources=sources), evolve(OPTIONS, encoding="gbk")
        first = train(ListedSales("/sales.csv", sales=evolve(table(), recorded=recorded)), options, ignore)
        again = train.retrain(first.version, ignore)
        assert asked == [("/sales.csv", options, recorded is not None)]
        assert (again.version.source, again.version.options) == (first.version.source, options)
        assert again.version.name != first.version.name

    def test_retrain_without_file_uses_synthetic_sales(self) -> None:
        train = training()
        first = train(ListedSales(None), OPTIONS, ignore).version
        again = train.retrain(first, ignore).version
        assert (again.source, again.algorithm) == (first.source, Algorithm.LINEAR)

    def test_snapshot_has_training_houses_and_held_out_estimates(self) -> None:
        models = InMemoryModels()
        made = training(models=models)(ListedSales("/sales.csv"), OPTIONS, ignore)
        taken = snapshots.read_snapshot(models.get(made.version.name)[1])
        assert taken
        assert taken.features["size"].n == len(made.sales.training)
        assert taken.estimates.n == len(made.sales.held_out)

    @pytest.mark.parametrize("why", [None, "there was no time"])
    def test_version_records_why_it_is_irreproducible(self, why: str | None) -> None:
        trainer = ListedTrainer(irreproducible=why)
        assert training(trainer=trainer)(ListedSales("/sales.csv"), OPTIONS, ignore).version.irreproducible == why

    def test_held_out_sales_are_stored_deterministically(self) -> None:
        models = InMemoryModels()
        train = training(models=models, trainer=ListedTrainer(calibration=Calibration(1.0, 2.0, 1.0)))
        made = [train(ListedSales("/sales.csv"), OPTIONS, ignore) for _ in range(2)]
        first, second = (models.get(each.version.name)[1] for each in made)
        assert first[HELD_OUT_FILE] == second[HELD_OUT_FILE]
        assert first[SNAPSHOT_FILE] == second[SNAPSHOT_FILE]
        kept = read_held_out(first)
        assert kept
        assert [(each.estimate, each.price) for each in kept.sales] == [
            (1000.0 * float(sale.house.values["size"]), sale.price) for sale in made[0].sales.held_out
        ]
        assert made[0].version.digests == digests_of(first)

    def test_manifest_records_verdict(self) -> None:
        models = InMemoryModels()
        train = training(models=models)
        for policy in (PromotionPolicy.IF_BETTER, PromotionPolicy.IF_BETTER, PromotionPolicy.NEVER):
            made = train(ListedSales("/sales.csv"), OPTIONS, ignore, policy)
            version, _ = models.get(made.version.name)
            assert version.verdict == made.verdict

    def test_self_test_has_model_prices_of_some_houses(self) -> None:
        made = training()(ListedSales("/sales.csv"), OPTIONS, ignore)
        assert [(each.house, each.price) for each in made.version.self_test] == [
            (sale.house, 1000.0 * float(sale.house.values["size"])) for sale in made.sales.held_out[:SELF_TEST_ROWS]
        ]

    @pytest.mark.parametrize(
        ("location", "asked", "expected"),
        [
            (None, Algorithm.AUTO, Algorithm.LINEAR),
            ("/sales.csv", Algorithm.AUTO, Algorithm.BOOSTING),
            (None, Algorithm.BOOSTING, Algorithm.BOOSTING),
            ("/sales.csv", Algorithm.LINEAR, Algorithm.LINEAR),
        ],
    )
    def test_algorithm_is_requested_or_depends_on_sales(
        self, location: str | None, asked: Algorithm, expected: Algorithm
    ) -> None:
        trainer = ListedTrainer()
        made = training(trainer=trainer)(ListedSales(location), evolve(OPTIONS, algorithm=asked), ignore)
        assert made.version.algorithm is expected
        assert made.version.source.synthetic is (location is None)

    @pytest.mark.parametrize(("location", "expects_calibration"), [(None, False), ("/sales.csv", True)])
    def test_model_of_synthetic_sales_has_no_calibration(self, location: str | None, expects_calibration: bool) -> None:
        calibration = Calibration(within_80=1.0, within_90=2.0, deviation=1.0)
        made = training(trainer=ListedTrainer(calibration=calibration))(ListedSales(location), OPTIONS, ignore)
        assert made.version.calibration == (calibration if expects_calibration else None)

    def test_valid_intervals_are_stored_with_their_tests(self) -> None:
        trainer = ListedTrainer(price=mostly_right, calibration=HOLDS, plain_calibration=NARROW)
        made = training(trainer=trainer)(MANY, OPTIONS, ignore)
        choice = made.version.intervals
        assert choice
        assert (choice.kind, choice.reasons, choice.failed) == (IntervalKind.SCALED, (), False)
        assert [(each.kind, each.level) for each in choice.tests] == [
            (IntervalKind.SCALED, 80),
            (IntervalKind.SCALED, 90),
        ]
        held_out = made.version.evaluation.held_out
        assert [each.sales for each in choice.tests] == [held_out, held_out]
        assert [each.share for each in choice.tests] == [each.share for each in made.version.evaluation.coverage]
        assert made.version.calibration == HOLDS
        assert made.verdict.promoted

    def test_failed_scaled_intervals_are_replaced_by_plain(self) -> None:
        models = InMemoryModels()
        trainer = ListedTrainer(price=mostly_right, calibration=NARROW, plain_calibration=HOLDS)
        made = training(trainer=trainer, models=models)(MANY, OPTIONS, ignore)
        choice = made.version.intervals
        assert choice
        assert (choice.kind, choice.failed) == (IntervalKind.PLAIN, False)
        assert [each.kind for each in choice.tests] == [IntervalKind.SCALED] * 2 + [IntervalKind.PLAIN] * 2
        assert choice.reasons[0].startswith("Scaled intervals failed the coverage test")
        assert choice.reasons[1:] == ("This version has plain intervals instead: one width for all houses.",)
        assert made.version.calibration == HOLDS
        assert models.get(made.version.name)[1]["model.bin"] == b"plain"
        assert made.verdict.promoted
        # The out-of-time evaluation uses the same kind.
        assert made.version.evaluation.out_of_time
        assert [each.share for each in made.version.evaluation.out_of_time.coverage] == [80.0, 90.0]
        assert len(trainer.seen) == len(trainer.refit_sales) == 1

    @pytest.mark.parametrize(
        "calibrations", [(NARROW, None), (NARROW, NARROW), (WIDE, ENDLESS), (ENDLESS, NARROW)], ids=str
    )
    @pytest.mark.parametrize("policy", PromotionPolicy)
    def test_version_with_failed_intervals_is_promoted_only_on_request(
        self, calibrations: tuple[Calibration, Calibration | None], policy: PromotionPolicy
    ) -> None:
        models = InMemoryModels()
        scaled, plain = calibrations
        trainer = ListedTrainer(price=mostly_right, calibration=scaled, plain_calibration=plain)
        made = training(trainer=trainer, models=models)(MANY, OPTIONS, ignore, policy)
        version, choice = made.version, made.version.intervals
        assert choice
        assert (choice.kind, choice.failed) == (IntervalKind.NONE, True)
        assert len(choice.tests) == (2 if plain is None else 4)
        assert version.calibration is None
        assert version.evaluation.coverage == ()
        assert version.evaluation.out_of_time
        assert version.evaluation.out_of_time.coverage == ()
        kept = read_held_out(models.get(version.name)[1])
        assert kept
        assert {sale.spread for sale in kept.sales} == {None}
        assert made.verdict.promoted is (policy is PromotionPolicy.ALWAYS)
        assert models.pointer().name == (version.name if policy is PromotionPolicy.ALWAYS else None)
        assert choice.reasons[-1] == "This version therefore has no intervals, and is not promoted automatically."
        assert (made.verdict.reasons == choice.reasons) is (policy is PromotionPolicy.IF_BETTER)

    def test_endless_intervals_fail_even_with_few_sales(self) -> None:
        made = training(trainer=ListedTrainer(calibration=ENDLESS))(ListedSales("/x", sales=table(30)), OPTIONS, ignore)
        assert made.version.intervals
        assert made.version.intervals.failed
        assert not made.verdict.promoted

    @pytest.mark.parametrize(
        ("location", "calibration", "why"),
        [
            (None, NARROW, "The sales are synthetic"),
            ("/sales.csv", None, "There are too few training sales"),
            ("/sales.csv", Calibration(None, None, 0.1), "There are too few training sales"),
        ],
    )
    def test_version_without_intervals_by_design_is_promoted(
        self, location: str | None, calibration: Calibration | None, why: str
    ) -> None:
        made = training(trainer=ListedTrainer(calibration=calibration))(ListedSales(location), OPTIONS, ignore)
        choice = made.version.intervals
        assert choice
        assert (choice.kind, choice.tests, choice.failed) == (IntervalKind.NONE, (), False)
        [reason] = choice.reasons
        assert reason.startswith(why)
        assert made.version.calibration == (calibration if location else None)
        assert made.verdict.promoted

    def test_progress_is_reported(self) -> None:
        steps: list[tuple[int, int]] = []
        training()(ListedSales("/sales.csv"), OPTIONS, lambda done, total: steps.append((done, total)))
        assert steps == [(1, 1)]

    @pytest.mark.parametrize(
        ("parts", "source", "error"),
        [
            ({"trainer": ListedTrainer(fault=RefusedModel("forms differ"))}, ListedSales("/x"), RefusedModel),
            ({"trainer": ListedTrainer(price=lambda _: float("nan"))}, ListedSales("/x"), RefusedModel),
            ({"trainer": ListedTrainer(price=lambda _: MAX_PRICE)}, ListedSales("/x"), RefusedModel),
            ({"load": refuse}, ListedSales("/x"), RefusedModel),
            ({}, ListedSales("/x", UnusableSales("gone")), UnusableSales),
            ({"models": FaultyModels(fails_at="add")}, ListedSales("/x"), ModelStoreUnavailable),
            ({"models": FaultyModels(fails_at="promote")}, ListedSales("/x"), ModelStoreUnavailable),
        ],
        ids=["trainer", "no price", "endless price", "loader", "source", "store", "pointer"],
    )
    def test_failed_training_keeps_pointer_and_releases_lock(
        self, parts: dict[str, Any], source: ListedSales, error: type[HousepredictError]
    ) -> None:
        models = parts.get("models", InMemoryModels())
        version, artifact = sample_version("champion")
        InMemoryModels.add(models, version, artifact)
        InMemoryModels.promote(models, "champion")
        train = training(**{"models": models, **parts})
        for _ in range(2):
            with pytest.raises(error):
                train(source, OPTIONS, ignore, PromotionPolicy.ALWAYS)
        assert models.pointer().name == "champion"
        if "promote" not in getattr(models, "fails_at", ""):
            assert models.versions() == [version]

    def test_second_training_is_rejected_while_one_runs(self) -> None:
        trainer = ListedTrainer(waits_for=Event())
        train = training(trainer=trainer)
        first = Thread(target=train, args=(ListedSales("/sales.csv"), OPTIONS, ignore))
        first.start()
        try:
            assert trainer.started.wait(10)
            with pytest.raises(TrainingInProgress, match="Try again"):
                train(ListedSales("/sales.csv"), OPTIONS, ignore)
        finally:
            assert trainer.waits_for
            trainer.waits_for.set()
            first.join(10)
        assert train(ListedSales("/sales.csv"), OPTIONS, ignore).version.name
