"""The contract suite for TrainingLog. To test your adapter, subclass the suite:

class TestMyTrainings(TrainingLogContract):
    @pytest.fixture
    def new_log(self, tmp_path):
        return lambda: MyTrainings(tempfile.mkdtemp(dir=tmp_path))

    def reopen(self, log):
        return MyTrainings(log.folder)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from housepredict.domain.errors import UnknownTraining
from housepredict.domain.identifiers import IdSequence
from housepredict.domain.ports import TrainingLog
from housepredict.domain.training_status import TrainingOutcome, TrainingState, TrainingStatus
from housepredict.testing.doubles import NOON
from housepredict.testing.drawing import Drawing

NewLog = Callable[[], TrainingLog]
_LATER = NOON + timedelta(minutes=5, microseconds=1)
SUCCESS = TrainingOutcome(TrainingState.SUCCEEDED, "20250601-120000-0123abcd", True, ("It is better.", "Much."))
FAILURE = TrainingOutcome(TrainingState.FAILED, error="The sales are gone.")
_IDS = IdSequence()

_times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # the bounds
_counts = st.integers(0, 10**6)
_texts = st.text(max_size=20)
_ended = st.sampled_from([state for state in TrainingState if state is not TrainingState.RUNNING])
_drawing = Drawing({datetime: _times, int: _counts, str: _texts})
_outcomes = _drawing.builds(
    TrainingOutcome, state=_ended, version=st.sampled_from([None, "a", "20250601-120000-0123abcd"])
)
_records = _drawing.builds(TrainingStatus, id=st.just(UUID(int=0)), outcome=st.none() | _outcomes)

_changes = st.one_of(
    st.sampled_from([TrainingStatus.request_cancellation, TrainingStatus.start_storing]),
    st.builds(lambda done, total: lambda record: record.at(done, total), _counts, _counts),
    st.builds(lambda at, outcome: lambda record: record.ended(at, outcome), _times, _outcomes),
)


def sample_training(
    location: str | None = "/sales.csv", started_at: datetime = NOON, *, with_recorded: bool = False
) -> TrainingStatus:
    """Return the status of a new training job. The job's id is larger than the ids of all jobs created earlier."""
    [id_] = _IDS.take(1, started_at)
    return TrainingStatus(id_, started_at, location, with_recorded)


class TrainingLogContract:
    """Contract tests for a TrainingLog.

    Define the fixture `new_log`: a function that returns a new, empty log. For a durable log, also override the method
    `reopen`.
    """

    @pytest.fixture
    def new_log(self) -> NewLog:
        raise NotImplementedError("define the fixture `new_log`")

    @pytest.fixture
    def tested_log(self, new_log: NewLog) -> TrainingLog:
        """Return the empty log to test."""
        return new_log()

    def reopen(self, log: TrainingLog) -> TrainingLog:
        """Open the data of `log` again, as another process would. For logs in memory, return `log` itself."""
        return log

    def test_new_log_is_empty(self, tested_log: TrainingLog) -> None:
        assert list(tested_log.recent(10)) == []

    def test_logged_status_is_returned_unchanged(self, new_log: NewLog) -> None:
        @settings(max_examples=25, deadline=None)
        @given(_records, _counts, _counts, _times, _outcomes)
        def check(drawn: TrainingStatus, done: int, total: int, ended: datetime, outcome: TrainingOutcome) -> None:
            log, record = new_log(), evolve(drawn, id=sample_training().id)
            log.begin(record)
            assert self.reopen(log).get(record.id) == record
            expected = record.at(done, total).ended(ended, outcome)
            log.change(record.id, lambda record: record.at(done, total))
            assert log.change(record.id, lambda record: record.ended(ended, outcome)) == expected
            assert self.reopen(log).get(record.id) == expected
            assert list(self.reopen(log).recent(1)) == [expected]

        check()

    def test_missing_training_is_unknown(self, tested_log: TrainingLog) -> None:
        for _ in range(2):
            unknown = sample_training().id
            with pytest.raises(UnknownTraining):
                tested_log.get(unknown)
            with pytest.raises(UnknownTraining):
                tested_log.change(unknown, TrainingStatus.request_cancellation)
            tested_log.begin(sample_training())

    def test_recent_lists_newest_hundred_first(self, tested_log: TrainingLog) -> None:
        records = [sample_training(f"/{number}.csv") for number in range(105)]
        for record in records:
            tested_log.begin(record)
        newest_first = records[::-1]
        assert list(self.reopen(tested_log).recent(100)) == newest_first[:100]
        assert list(self.reopen(tested_log).recent(3)) == newest_first[:3]

    def test_cancellation_is_visible_to_progress_updates(self, tested_log: TrainingLog) -> None:
        record = sample_training()
        tested_log.begin(record)
        assert not tested_log.change(record.id, lambda record: record.at(1, 9)).cancelling
        assert self.reopen(tested_log).change(record.id, TrainingStatus.request_cancellation).cancelling
        updated = tested_log.change(record.id, lambda record: record.at(2, 9))
        assert updated == evolve(record, done=2, total=9, cancelling=True)
        assert not tested_log.change(record.id, TrainingStatus.start_storing).keeping

    def test_training_cannot_be_cancelled_while_storing(self, tested_log: TrainingLog) -> None:
        record = sample_training()
        tested_log.begin(record)
        assert tested_log.change(record.id, TrainingStatus.start_storing).keeping
        cancelled = self.reopen(tested_log).change(record.id, TrainingStatus.request_cancellation)
        assert cancelled == evolve(record, keeping=True)

    def test_ended_training_never_changes(self, tested_log: TrainingLog) -> None:
        record = sample_training()
        tested_log.begin(record)
        ended = tested_log.change(record.id, lambda record: record.ended(_LATER, SUCCESS))
        assert ended == evolve(record, ended_at=_LATER, outcome=SUCCESS)
        assert tested_log.change(record.id, lambda record: record.ended(NOON, FAILURE)) == ended
        assert self.reopen(tested_log).get(record.id) == ended

    def test_concurrent_changes_are_all_applied(self, tested_log: TrainingLog) -> None:
        records = [sample_training() for _ in range(4)]
        for record in records:
            tested_log.begin(record)

        def change(number: int) -> None:
            record = records[number // 8]
            if number % 8 == 3:
                tested_log.change(record.id, TrainingStatus.request_cancellation)
            else:
                tested_log.change(record.id, lambda record: record.at(number, 100))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(change, range(32)))
        assert [self.reopen(tested_log).get(record.id).cancelling for record in records] == [True] * 4

    def test_first_of_cancel_and_store_wins(self, tested_log: TrainingLog) -> None:
        records = [sample_training() for _ in range(10)]
        for record in records:
            tested_log.begin(record)
        with ThreadPoolExecutor(4) as pool:
            for number, record in enumerate(records):
                changes = [TrainingStatus.request_cancellation, TrainingStatus.start_storing][
                    :: 1 if number % 2 else -1
                ]
                futures = [pool.submit(tested_log.change, record.id, change) for change in changes * 2]
                states = {(future.result().cancelling, future.result().keeping) for future in futures}
                assert states in ({(True, False)}, {(False, True)})

    def test_random_calls_match_the_model(self, new_log: NewLog) -> None:
        run_state_machine_as_test(
            lambda: TrainingLogMachine(new_log(), self.reopen),  # type: ignore[arg-type]  # any factory will do
            settings=settings(max_examples=30, stateful_step_count=20, deadline=None),
        )


class TrainingLogMachine(RuleBasedStateMachine):
    """A state machine that calls a log at random, and compares it with a dictionary."""

    places = st.integers(0, 2)

    def __init__(self, log: TrainingLog, reopen: Callable[[TrainingLog], TrainingLog]) -> None:
        super().__init__()
        self.log = log
        self._reopen = reopen
        self.statuses: dict[UUID, TrainingStatus] = {}

    @initialize(location=st.none() | _texts)
    def begin_first(self, location: str | None) -> None:
        self.begin(location)

    @precondition(lambda self: len(self.statuses) < 3)
    @rule(location=st.none() | _texts)
    def begin(self, location: str | None) -> None:
        record = sample_training(location)
        self.log.begin(record)
        self.statuses[record.id] = record

    @rule(place=places, how=_changes)
    def change(self, place: int, how: Callable[[TrainingStatus], TrainingStatus]) -> None:
        id_ = sorted(self.statuses)[place % len(self.statuses)]
        self.statuses[id_] = how(self.statuses[id_])
        assert self.log.change(id_, how) == self.statuses[id_]

    @rule()
    def reopen(self) -> None:
        self.log = self._reopen(self.log)

    @invariant()
    def statuses_match(self) -> None:
        assert [self.log.get(id_) for id_ in self.statuses] == list(self.statuses.values())

    @invariant()
    def recent_is_newest_first(self) -> None:
        assert list(self.log.recent(100)) == [self.statuses[id_] for id_ in sorted(self.statuses, reverse=True)]
