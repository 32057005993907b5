"""The training log: trainings that end in any way, and trainings whose end is never logged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from threading import Event, Thread
from uuid import UUID

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.memory import InMemoryModels, InMemoryTrainings
from housepredict.domain.errors import (
    HousepredictError,
    ModelStoreUnavailable,
    TrainingCancelled,
    TrainingEnded,
    TrainingInProgress,
    UnknownTraining,
    UnusableSales,
)
from housepredict.domain.models import Artifact, ModelVersion, Verdict
from housepredict.domain.ports import TrainedModel
from housepredict.domain.training_status import PROCESS_ENDED, TrainingOutcome, TrainingState, TrainingStatus
from housepredict.domain.usecases.training_history import NOT_PROMOTED, TrainingHistory, TrainingRun
from housepredict.testing.training_contract import SUCCESS, sample_training
from tests.training import NOON, OPTIONS, FaultyModels, FrozenClock, ListedSales, ListedTrainer, ignore, training


@define
class FaultyLog(InMemoryTrainings):
    """A log that is unavailable while `down` is set."""

    down: bool = field(default=False, kw_only=True)

    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        if self.down:
            raise ModelStoreUnavailable
        return super().recent(limit)

    def _known(self, training: UUID) -> TrainingStatus:
        if self.down:
            raise ModelStoreUnavailable
        return super()._known(training)


@define
class DownAfterAdding(FaultyModels):
    """A store that takes the log down as soon as it has stored a version."""

    log: FaultyLog = field(factory=FaultyLog)

    def add(self, version: ModelVersion, artifact: Artifact) -> None:
        super().add(version, artifact)
        self.log.down = True


@define
class Bench:
    """The use case over memory."""

    models: InMemoryModels = field(factory=InMemoryModels)
    log: FaultyLog = field(factory=FaultyLog)
    clock: FrozenClock = field(factory=FrozenClock)

    @property
    def trainings(self) -> TrainingHistory:
        return TrainingHistory(self.models, self.log, self.clock)

    def train(self, trainer: ListedTrainer | None = None, location: str | None = "/sales.csv") -> None:
        train = training(models=self.models, log=self.log, clock=self.clock, trainer=trainer or ListedTrainer())
        train(ListedSales(location), OPTIONS, ignore)

    def newest(self) -> TrainingStatus:
        [record] = self.log.recent(1)
        return record

    def abandoned(self) -> TrainingStatus:
        """Log a training whose process is gone: it is running, but the lock is free."""
        record = sample_training()
        self.log.begin(record)
        return record


@pytest.fixture
def bench() -> Bench:
    return Bench()


class Cancelling(ListedTrainer):
    """A trainer whose training is cancelled while it fits."""

    def __init__(self, bench: Bench, steps: int = 1) -> None:
        super().__init__()
        self._bench, self._left = bench, steps

    def fit(self, *given: object) -> TrainedModel:
        self._bench.trainings.cancel(self._bench.newest().id)
        return super().fit(*given)  # type: ignore[arg-type]


class TestTraining:
    def test_success_is_logged_with_outcome(self, bench: Bench) -> None:
        bench.train()
        record = bench.newest()
        assert record.state is TrainingState.SUCCEEDED
        assert (record.started_at, record.ended_at, record.location) == (NOON, NOON, "/sales.csv")
        assert (record.done, record.total) == (1, 1)
        assert record.outcome
        assert record.outcome.version == bench.models.pointer().name
        assert record.outcome.promoted
        assert record.outcome.reasons == ("No version is promoted yet.",)
        assert not record.synthetic

    def test_synthetic_sales_are_logged(self, bench: Bench) -> None:
        bench.train(location=None)
        assert bench.newest().synthetic

    @pytest.mark.parametrize(
        ("fault", "state", "message"),
        [
            (UnusableSales("They are gone."), TrainingState.FAILED, "They are gone."),
            (KeyboardInterrupt(), TrainingState.CANCELLED, "The training was cancelled."),
            (ZeroDivisionError("secret"), TrainingState.FAILED, "Unexpected error: ZeroDivisionError."),
        ],
    )
    def test_failure_is_logged_with_reason(
        self, bench: Bench, fault: HousepredictError, state: TrainingState, message: str
    ) -> None:
        with pytest.raises(type(fault)):
            bench.train(ListedTrainer(fault=fault))
        record = bench.newest()
        assert record.outcome
        assert (record.state, record.ended_at) == (state, NOON)
        assert record.outcome.error
        assert record.outcome.error.endswith(message)
        assert record.outcome.version is None
        with bench.models.training():
            pass

    def test_cancelled_training_stores_no_version(self, bench: Bench) -> None:
        with pytest.raises(TrainingCancelled):
            bench.train(Cancelling(bench))
        assert bench.newest().state is TrainingState.CANCELLED
        assert list(bench.models.versions()) == []

    def test_cancellation_is_checked_each_second_and_before_storing(self, bench: Bench) -> None:
        record = sample_training()
        bench.log.begin(record)
        run = TrainingRun(record.id, bench.log, bench.clock, ignore)
        run.progress(1, 9)
        bench.log.change(record.id, TrainingStatus.request_cancellation)
        run.progress(2, 9)
        assert bench.newest().done == 1
        bench.clock.time += timedelta(seconds=1)
        with pytest.raises(TrainingCancelled):
            run.progress(3, 9)
        assert bench.newest().done == 3
        with pytest.raises(TrainingCancelled):
            run.start_storing()

    def test_progress_is_passed_to_caller(self, bench: Bench) -> None:
        shown: list[tuple[int, int]] = []
        record = sample_training()
        bench.log.begin(record)
        run = TrainingRun(record.id, bench.log, bench.clock, lambda done, total: shown.append((done, total)))
        for step in range(3):
            run.progress(step, 2)
        assert shown == [(0, 2), (1, 2), (2, 2)]

    def test_training_without_log_stores_no_version(self, bench: Bench) -> None:
        class Down(ListedTrainer):
            def fit(self, *given: object) -> TrainedModel:
                bench.log.down = True
                return super().fit(*given)  # type: ignore[arg-type]

        trainer = Down()
        with pytest.raises(ModelStoreUnavailable):
            bench.train(trainer)
        assert trainer.seen
        assert list(bench.models.versions()) == []
        bench.log.down = False
        assert bench.newest().outcome is None
        assert bench.trainings.get(bench.newest().id).state is TrainingState.FAILED

    def test_training_must_report_outcome(self, bench: Bench) -> None:
        with (
            pytest.raises(ValueError, match="needs an outcome"),
            bench.trainings.record_training(ListedSales(None), ignore, lambda _: None),
        ):
            pass

    def test_id_is_reported_once_logged(self, bench: Bench) -> None:
        reported: list[UUID] = []
        with bench.trainings.record_training(ListedSales("/x"), ignore, reported.append) as run:
            assert reported == [run.id]
            assert bench.log.get(run.id).outcome is None
            run.succeeded("a", Verdict(promoted=False, reasons=()))

    def test_start_marks_abandoned_trainings_failed(self, bench: Bench) -> None:
        before = bench.abandoned()
        bench.train()
        assert bench.log.get(before.id).outcome == TrainingOutcome.failure(PROCESS_ENDED)


class TestUnloggedEnd:
    """The end is not logged, for example because the disk is full or the process was killed."""

    @pytest.mark.parametrize("fails_at", ["", "promote"])
    def test_training_succeeded_if_version_is_stored(self, fails_at: str) -> None:
        models = DownAfterAdding(fails_at=fails_at)
        bench = Bench(models, models.log)
        with nullcontext() if not fails_at else pytest.raises(ModelStoreUnavailable):
            bench.train()
        bench.log.down = False
        assert bench.newest().outcome is None
        [version] = bench.models.versions()
        [record] = bench.trainings.recent(1)
        assert record.outcome
        assert version.verdict
        if fails_at:
            assert record.outcome == TrainingOutcome(
                TrainingState.SUCCEEDED, version.name, False, (*version.verdict.reasons, NOT_PROMOTED)
            )
        else:
            assert record.outcome == TrainingOutcome.success(version.name, version.verdict)

    def test_training_failed_if_version_is_missing(self, bench: Bench) -> None:
        bench.train(location="/other.csv")
        record = bench.abandoned()
        bench.log.change(record.id, TrainingStatus.start_storing)
        assert bench.trainings.get(record.id).outcome == TrainingOutcome.failure(PROCESS_ENDED)


class TestSecondTraining:
    def test_error_names_running_training(self, bench: Bench) -> None:
        may_end, trainer = Event(), ListedTrainer(waits_for=Event())
        trainer.waits_for = may_end
        first = Thread(target=bench.train, args=[trainer])
        first.start()
        assert trainer.started.wait(10)
        with pytest.raises(TrainingInProgress) as caught:
            bench.train()
        with pytest.raises(TrainingInProgress) as known:
            bench.trainings.require_no_training()
        may_end.set()
        first.join()
        assert caught.value.training == known.value.training == bench.newest().id
        bench.trainings.require_no_training()

    @pytest.mark.parametrize("down", [True, False])
    def test_error_has_no_id_if_log_does_not_know(self, bench: Bench, down: bool) -> None:
        bench.log.down = down
        with bench.models.training(), pytest.raises(TrainingInProgress) as caught:
            bench.train()
        assert caught.value.training is None

    def test_lock_held_briefly_by_reader_is_retried(self, bench: Bench) -> None:
        class HeldForAMoment(InMemoryModels):
            asked = 0

            def training(self):  # type: ignore[no-untyped-def]  # as the store has it
                self.asked += 1
                if self.asked == 1:
                    raise TrainingInProgress
                return super().training()

        bench.models = HeldForAMoment()
        bench.train()
        assert bench.newest().state is TrainingState.SUCCEEDED


class TestReading:
    def test_training_without_lock_is_marked_failed(self, bench: Bench) -> None:
        one, other = bench.abandoned(), bench.abandoned()
        assert bench.trainings.get(one.id) == one.ended(NOON, TrainingOutcome.failure(PROCESS_ENDED))
        assert bench.log.get(one.id).state is TrainingState.FAILED
        assert [each.id for each in bench.trainings.recent(10)] == [other.id, one.id]
        assert bench.log.get(other.id).state is TrainingState.FAILED

    def test_training_with_lock_is_running(self, bench: Bench) -> None:
        record = bench.abandoned()
        with bench.models.training():
            assert bench.trainings.get(record.id) == record
            assert list(bench.trainings.recent(1)) == [record]

    def test_state_is_read_again_under_lock(self, bench: Bench) -> None:
        record = bench.abandoned()

        class EndsMeanwhile(InMemoryModels):
            def training(self):  # type: ignore[no-untyped-def]  # as the store has it
                bench.log.change(record.id, lambda record: record.ended(NOON, SUCCESS))
                return super().training()

        bench.models = EndsMeanwhile()
        assert bench.trainings.get(record.id).outcome == SUCCESS

    def test_missing_training_is_unknown(self, bench: Bench) -> None:
        for ask in bench.trainings.get, bench.trainings.cancel, bench.trainings.over:
            with pytest.raises(UnknownTraining):
                ask(sample_training().id)


class TestCancellation:
    def test_cancellation_is_visible_to_trainer(self, bench: Bench) -> None:
        record = bench.abandoned()
        with bench.models.training():
            assert not bench.trainings.is_cancelling(record.id)
            assert bench.trainings.cancel(record.id).cancelling
            assert bench.trainings.is_cancelling(record.id)
            bench.log.down = True
            assert not bench.trainings.is_cancelling(record.id)
            bench.log.down = False
            assert not bench.trainings.is_cancelling(sample_training().id)

    def test_cancellation_after_end_or_storing_is_rejected(self, bench: Bench) -> None:
        gone, keeping = bench.abandoned(), bench.abandoned()
        with pytest.raises(TrainingEnded):
            bench.trainings.cancel(gone.id)
        with bench.models.training():
            bench.log.change(keeping.id, TrainingStatus.start_storing)
            with pytest.raises(TrainingEnded):
                bench.trainings.cancel(keeping.id)
        assert not bench.trainings.is_cancelling(gone.id)

    def test_cancelled_training_without_process_is_cancelled(self, bench: Bench) -> None:
        record = bench.abandoned()
        bench.log.change(record.id, TrainingStatus.request_cancellation)
        assert bench.trainings.over(record.id).state is TrainingState.CANCELLED
        assert bench.trainings.over(record.id, "again").ended_at == NOON


class TestRecord:
    @given(st.text(st.characters(codec=None, exclude_categories=())), st.lists(st.text()))
    def test_record_texts_can_be_stored(self, text: str, reasons: list[str]) -> None:
        record = sample_training(text).ended(
            NOON, TrainingOutcome(TrainingState.FAILED, error=text, reasons=(text, *reasons))
        )
        assert record.outcome
        for each in (record.location, record.outcome.error, *record.outcome.reasons):
            assert each is not None
            assert "\0" not in each
            assert each.encode().decode() == each

    @given(st.datetimes())
    def test_ended_record_never_changes(self, at: datetime) -> None:
        ended = sample_training().ended(NOON, SUCCESS)
        for again in (
            ended.at(1, 2),
            ended.request_cancellation(),
            ended.start_storing(),
            ended.ended(at, TrainingOutcome.failure("late")),
        ):
            assert again is ended

    def test_first_of_cancel_and_store_wins(self) -> None:
        record = sample_training()
        assert not record.request_cancellation().start_storing().keeping
        assert not record.start_storing().request_cancellation().cancelling
