"""The in-memory log meets the contract, and the contract detects every broken log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from threading import Barrier
from typing import Any, ClassVar
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import Phase, settings

from housepredict.adapters.memory import InMemoryTrainings
from housepredict.domain.errors import UnknownTraining
from housepredict.domain.ports import TrainingLog
from housepredict.domain.training_status import TrainingStatus
from housepredict.testing.training_contract import NewLog, TrainingLogContract, sample_training

Change = Callable[[TrainingStatus], TrainingStatus]


settings.register_profile("search", phases=[Phase.generate], database=None, derandomize=False)


class TestInMemoryTrainings(TrainingLogContract):
    @pytest.fixture
    def new_log(self) -> NewLog:
        return InMemoryTrainings


def run_contract_test(contract: TrainingLogContract, promise: str, new_log: NewLog) -> None:
    test = getattr(contract, f"test_{promise}")
    test(new_log() if "tested_log" in signature(test).parameters else new_log)


class IsNeverNew(InMemoryTrainings):
    everything: ClassVar[dict[UUID, TrainingStatus]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._records = self.everything
        record = sample_training()
        self._records[record.id] = record


class LosesLocations(InMemoryTrainings):
    def begin(self, record: TrainingStatus) -> None:
        super().begin(evolve(record, location=None))


class Altering(InMemoryTrainings):
    """Stores an altered record."""

    def alter(self, before: TrainingStatus, after: TrainingStatus) -> TrainingStatus:
        raise NotImplementedError

    def change(self, training: UUID, how: Change) -> TrainingStatus:
        return super().change(training, lambda record: self.alter(record, how(record)))


class LosesReasons(Altering):
    def alter(self, before: TrainingStatus, after: TrainingStatus) -> TrainingStatus:
        return evolve(after, outcome=after.outcome and evolve(after.outcome, reasons=()))


class RaisesItsOwnError(InMemoryTrainings):
    def get(self, training: UUID) -> TrainingStatus:
        return self._records[training]


class OldestFirst(InMemoryTrainings):
    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        return super().recent(limit)[::-1]


class KeepsTen(InMemoryTrainings):
    def recent(self, limit: int) -> Sequence[TrainingStatus]:
        return super().recent(min(limit, 10))


class LosesCancellations(Altering):
    def alter(self, before: TrainingStatus, after: TrainingStatus) -> TrainingStatus:
        return after if after.done == before.done else evolve(after, cancelling=False)


class CancelsWhileStoring(InMemoryTrainings):
    def change(self, training: UUID, how: Change) -> TrainingStatus:
        is_cancellation = how == TrainingStatus.request_cancellation
        return super().change(training, (lambda record: evolve(record, cancelling=True)) if is_cancellation else how)


class EndsTwice(InMemoryTrainings):
    def change(self, training: UUID, how: Change) -> TrainingStatus:
        return super().change(training, lambda record: how(evolve(record, outcome=None)))


class LosesConcurrentChanges(InMemoryTrainings):
    """Of four concurrent changes, a cancellation is written first and overwritten by the others."""

    def __init__(self) -> None:
        super().__init__()
        self._read, self._cancelled, self._written = Barrier(4), Barrier(4), Barrier(4)

    def change(self, training: UUID, how: Change) -> TrainingStatus:
        record, is_cancellation = how(self._records[training]), how == TrainingStatus.request_cancellation
        self._read.wait()
        if is_cancellation:
            self._records[training] = record
        self._cancelled.wait()
        if not is_cancellation:
            self._records[training] = record
        self._written.wait()
        return record


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (IsNeverNew, "new_log_is_empty"),
        (LosesLocations, "logged_status_is_returned_unchanged"),
        (LosesReasons, "logged_status_is_returned_unchanged"),
        (RaisesItsOwnError, "missing_training_is_unknown"),
        (OldestFirst, "recent_lists_newest_hundred_first"),
        (KeepsTen, "recent_lists_newest_hundred_first"),
        (LosesCancellations, "cancellation_is_visible_to_progress_updates"),
        (CancelsWhileStoring, "training_cannot_be_cancelled_while_storing"),
        (EndsTwice, "ended_training_never_changes"),
        (LosesConcurrentChanges, "concurrent_changes_are_all_applied"),
        (CancelsWhileStoring, "first_of_cancel_and_store_wins"),
        *[
            (broken, "random_calls_match_the_model")
            for broken in (LosesLocations, OldestFirst, LosesCancellations, CancelsWhileStoring, EndsTwice)
        ],
    ],
)
def test_contract_detects_broken_log(broken: NewLog, promise: str) -> None:
    # A search that finds several faults raises a group.
    faults = (AssertionError, LookupError, pytest.fail.Exception, BaseExceptionGroup)
    settings.load_profile("search")
    try:
        with pytest.raises(faults):
            _search(broken, promise)
    finally:
        settings.load_profile("housepredict")


def _search(broken: NewLog, promise: str) -> None:
    for _ in range(10):  # a single random search misses one of the faults one time in five
        run_contract_test(TrainingLogContract(), promise, broken)


class Forgets(TrainingLogContract):
    """The contract of a log that is only as durable as its process."""

    def reopen(self, log: TrainingLog) -> Any:
        return InMemoryTrainings()


@pytest.mark.slow
@pytest.mark.parametrize(
    "promise",
    [
        "logged_status_is_returned_unchanged",
        "recent_lists_newest_hundred_first",
        "ended_training_never_changes",
        "random_calls_match_the_model",
    ],
)
def test_contract_detects_log_that_forgets(promise: str) -> None:
    with pytest.raises((AssertionError, UnknownTraining, BaseExceptionGroup)):
        run_contract_test(Forgets(), promise, InMemoryTrainings)
