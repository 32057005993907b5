"""Use cases: train, evaluate, store and promote model versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from contextlib import AbstractContextManager, nullcontext
from typing import assert_never

from attrs import define, evolve, frozen

from housepredict.domain.errors import RefusedModel, UnknownModel
from housepredict.domain.evaluation.coverage import (
    CoverageTest,
    IntervalChoice,
    IntervalKind,
    check_coverage,
    is_finite,
    rejection,
)
from housepredict.domain.evaluation.drift import SNAPSHOT_FILE, snapshot, write_snapshot
from housepredict.domain.evaluation.held_out import (
    HELD_OUT_FILE,
    Valued,
    evaluate,
    evaluate_out_of_time,
    held_out,
    latest_sales,
    valued,
    write_held_out,
)
from housepredict.domain.evaluation.measures import OutOfTimeEvaluation
from housepredict.domain.evaluation.promotion import (
    PromotionPolicy,
    compare,
    incomparable,
    is_same,
    judge,
    judge_without_champion,
)
from housepredict.domain.models import (
    Artifact,
    ModelVersion,
    SelfTest,
    TrainingSource,
    Verdict,
    digests_of,
    version_name,
)
from housepredict.domain.ports import (
    CalibratedModel,
    Clock,
    ModelStore,
    Predictor,
    PredictorLoader,
    Progress,
    SalesSource,
    SalesSources,
    TrainedModel,
    Trainer,
)
from housepredict.domain.sales import Sale
from housepredict.domain.schema_inference.inference import PreparedSales, prepare
from housepredict.domain.schema_inference.sale_dates import latest_sale_date
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.usecases.training_history import StartListener, TrainingHistory, ignore_start

SELF_TEST_ROWS = 5
"""Number of held-out houses that are stored with a version for its self-test."""

_SYNTHETIC = "The sales are synthetic, so intervals would mean nothing for real houses."
_TOO_FEW = "There are too few training sales to calibrate intervals."
_PLAIN_INSTEAD = "This version has plain intervals instead: one width for all houses."
_NONE_LEFT = "This version therefore has no intervals, and is not promoted automatically."


@frozen
class Training:
    """The result of training: the stored version, the prepared sales, and the promotion decision."""

    version: ModelVersion
    sales: PreparedSales
    verdict: Verdict


@define
class Train:
    """Train a model version, evaluate it on held-out sales, store it, and promote it if the policy allows.

    Args:
        trainer: the trainer that fits the model.
        load: the loader that checks a new version by loading it before it is stored.
        models: the store for the version.
        sources: the factory that opens the sales source again when a version is retrained.
        clock: the clock.
        trainings: the history of training jobs, to which each new job is added.
        uninterrupted: a function that returns a context manager, which defers interrupts while a version is stored,
            promoted and logged.
        reserved: the names that features must not have.
    """

    _trainer: Trainer
    _load: PredictorLoader
    _models: ModelStore
    _sources: SalesSources
    _clock: Clock
    _trainings: TrainingHistory
    _uninterrupted: Callable[[], AbstractContextManager[None]] = nullcontext
    _reserved: Set[str] = frozenset()

    def __call__(
        self,
        source: SalesSource,
        options: TrainingOptions,
        progress: Progress,
        policy: PromotionPolicy = PromotionPolicy.IF_BETTER,
        *,
        if_incomparable: bool = True,
        begun: StartListener = ignore_start,
    ) -> Training:
        """Train a version and store it, whether or not it is promoted. Only one training job can run at a time.

        Args:
            source: the source of the sales.
            options: the training options.
            progress: a function that is called after each step.
            policy: the policy that decides whether the version is promoted.
            if_incomparable: whether to promote a version that can't be compared with the champion but meets the minimum
                requirements (see `judge_without_champion`).
            begun: a function that is called with the id of the training job after the job has started.

        Raises:
            UnusableSales: if no model can be trained on the sales.
            RefusedModel: if the version fails a check.
            TrainingInProgress: if another training job is running.
            TrainingCancelled: if the training job was cancelled.
            ModelStoreUnavailable: if the version can't be stored.
        """
        with self._trainings.record_training(source, progress, begun) as run:
            table = evolve(source.read(), read_on=latest_sale_date(self._clock.now()))
            sales = prepare(table, options, self._reserved)
            origin = TrainingSource(
                source.location, table.digest, table.recorded, table.read_on, sales.rejected, sales.notes
            )
            if origin.synthetic and options.algorithm is Algorithm.AUTO:
                options = evolve(options, algorithm=Algorithm.LINEAR)
            fitted = self._trainer.fit(sales.schema, sales.training, options, run.progress)
            if origin.synthetic:
                fitted = evolve(fitted, calibration=None)
                rows = _estimated(sales.held_out, fitted)
                intervals = IntervalChoice(IntervalKind.NONE, reasons=(_SYNTHETIC,))
            else:
                fitted, rows, intervals = _with_intervals(fitted, sales.held_out)
            fitted = evolve(fitted, artifact={**fitted.artifact, **_review_files(sales, rows)})
            version = self._version(origin, options, sales, fitted, rows, intervals)
            # If the version can't be loaded, this raises RefusedModel, and nothing is stored.
            self._load(version, fitted.artifact)
            verdict = self._verdict(version, rows, sales, policy, if_incomparable=if_incomparable)
            version = evolve(version, verdict=verdict)
            with self._uninterrupted():
                run.start_storing()
                self._models.add(version, fitted.artifact)
                if verdict.promoted:
                    self._models.promote(version.name)
                run.succeeded(version.name, verdict)
            return Training(version, sales, verdict)

    def retrain(self, version: ModelVersion, progress: Progress, *, begun: StartListener = ignore_start) -> Training:
        """Train a new version with the same options and sales source as `version` (see `__call__`).

        The sales are read again and may have changed since `version` was trained. If the new version can't be compared
        with the champion, it is not promoted, because retraining may run unattended.
        """
        source = self._sources(version.source.location, version.options, version.source.recorded is not None)
        return self(source, version.options, progress, if_incomparable=False, begun=begun)

    def _version(
        self,
        source: TrainingSource,
        options: TrainingOptions,
        sales: PreparedSales,
        fitted: TrainedModel,
        rows: Sequence[Valued],
        intervals: IntervalChoice,
    ) -> ModelVersion:
        now = self._clock.now()
        return ModelVersion(
            name=version_name(now, fitted.artifact),
            created_at=now,
            algorithm=fitted.algorithm,
            schema=sales.schema,
            options=options,
            source=source,
            evaluation=evaluate(rows, sales.schema, len(sales.training), _out_of_time(sales, fitted)),
            self_test=tuple(SelfTest(row.sale.house, row.estimate) for row in rows[:SELF_TEST_ROWS]),
            digests=digests_of(fitted.artifact),
            libraries=fitted.libraries,
            calibration=fitted.calibration,
            irreproducible=fitted.irreproducible,
            intervals=intervals,
        )

    def _verdict(
        self,
        version: ModelVersion,
        rows: Sequence[Valued],
        sales: PreparedSales,
        policy: PromotionPolicy,
        *,
        if_incomparable: bool,
    ) -> Verdict:
        match policy:
            case PromotionPolicy.ALWAYS | PromotionPolicy.NEVER:
                return Verdict(policy is PromotionPolicy.ALWAYS, (f"Promotion policy: {policy}.",))
            case PromotionPolicy.IF_BETTER:
                pass
            case _:
                assert_never(policy)
        if version.intervals and version.intervals.failed:
            return Verdict(promoted=False, reasons=version.intervals.reasons)

        def judge_without(why: str) -> Verdict:
            return judge_without_champion(why, version.evaluation.accuracy, rows, sales.training)

        champion = self._champion()
        if isinstance(champion, str):
            return judge_without(champion)
        incumbent = champion.version
        if incumbent.source.synthetic and not version.source.synthetic:
            reason = f"The promoted version {incumbent.name} was trained on synthetic sales, this one on real sales."
            return judge_without(reason)
        if is_same(version, incumbent):
            reason = f"Identical to the promoted version {incumbent.name}: same options, sales and files."
            return Verdict(promoted=False, reasons=(reason,))
        why_not = incomparable(version, incumbent)
        comparison = None if why_not else compare(rows, champion, sales.held_out)
        if comparison is None:
            reason = why_not or f"Not comparable with {incumbent.name}: it can't estimate any of the held-out houses."
            return judge_without(reason) if if_incomparable else Verdict(promoted=False, reasons=(reason,))
        return judge(comparison)

    def _champion(self) -> Predictor | str:
        """Load the promoted version. If there is none, or loading fails, return the reason as a sentence."""
        name = self._models.pointer().name
        if name is None:
            return "No version is promoted yet."
        try:
            return self._load(*self._models.get(name))
        except (RefusedModel, UnknownModel) as error:
            return f"The promoted version {name} can't be loaded, so there is no version to compare with: {error}"


def _estimated(sales: Sequence[Sale], model: CalibratedModel) -> Sequence[Valued]:
    rows = valued(sales, model.predict([sale.house for sale in sales]), model.calibration)
    if len(rows) < len(sales):
        raise RefusedModel("The model can't estimate some of the held-out houses")
    return rows


def _with_intervals(
    fitted: TrainedModel, held_out: Sequence[Sale]
) -> tuple[TrainedModel, Sequence[Valued], IntervalChoice]:
    """Choose intervals that pass the coverage test. Tries the model's preferred kind first, then plain, then none.

    Returns:
        The model with the chosen intervals, its estimates for the held-out sales, and the choice.
    """
    tests: tuple[CoverageTest, ...] = ()
    rejections: tuple[str, ...] = ()
    while True:
        rows = _estimated(held_out, fitted)
        kind = IntervalKind.SCALED if fitted.with_plain_intervals else IntervalKind.PLAIN
        checks = check_coverage(kind, [(row.sale.price, row.intervals) for row in rows])
        if fitted.calibration is None or not checks:
            return fitted, rows, IntervalChoice(IntervalKind.NONE, reasons=(_TOO_FEW,))
        tests += checks
        if is_finite(fitted.calibration) and not any(check.rejects for check in checks):
            instead = (_PLAIN_INSTEAD,) if rejections else ()
            return fitted, rows, IntervalChoice(kind, tests, (*rejections, *instead))
        rejections += (rejection(checks),)
        if fitted.with_plain_intervals is None:
            fitted = evolve(fitted, calibration=None)
            choice = IntervalChoice(IntervalKind.NONE, tests, (*rejections, _NONE_LEFT))
            return fitted, _estimated(held_out, fitted), choice
        fitted = fitted.with_plain_intervals()


def _review_files(sales: PreparedSales, rows: Sequence[Valued]) -> Artifact:
    """Create the artifact files that are used to review a version, but not to estimate houses."""
    trained_on = snapshot(sales.schema, [sale.house for sale in sales.training], [row.estimate for row in rows])
    return {HELD_OUT_FILE: write_held_out(held_out(rows, sales.schema)), SNAPSHOT_FILE: write_snapshot(trained_on)}


def _out_of_time(sales: PreparedSales, fitted: TrainedModel) -> OutOfTimeEvaluation | str:
    """Refit the model to the earlier sales, and evaluate it on the most recent sales.

    Returns:
        The evaluation, or the reason why it is impossible.
    """
    split = latest_sales([*sales.training, *sales.held_out])
    if isinstance(split, str):
        return split
    refitted = fitted.refit(split.earlier)
    if fitted.calibration is None:
        refitted = evolve(refitted, calibration=None)
    rows = _estimated(split.latest, refitted)
    return evaluate_out_of_time(rows, split.since, len(split.earlier))


@define
class Promote:
    """Promote a stored version, or roll back to the previously promoted version.

    The version to promote is loaded first. If loading fails, nothing is promoted or rolled back.
    """

    _load: PredictorLoader
    _models: ModelStore

    def __call__(self, name: str) -> ModelVersion:
        """Promote a version.

        Raises:
            UnknownModel: if no version has this name.
            RefusedModel: if the version can't be loaded.
            ModelStoreUnavailable: if the store can't be read or written.
        """
        version = self._loaded(name)
        self._models.promote(name)
        return version

    def rollback(self) -> ModelVersion:
        """Promote the previously promoted version again. Each additional call goes back one more promotion.

        Raises:
            UnknownModel: if there is no previously promoted version.
            RefusedModel: if the previously promoted version can't be loaded.
            ModelStoreUnavailable: if the store can't be read or written.
        """
        history = self._models.history()
        if len(history) < 2:
            raise UnknownModel("Can't roll back: no other version was promoted before")
        version = self._loaded(history[1])
        self._models.rollback(version.name)
        return version

    def _loaded(self, name: str) -> ModelVersion:
        version, artifact = self._models.get(name)
        self._load(version, artifact)
        return version
