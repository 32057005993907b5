"""The contract of LiveProcesses, as tests; see testing.predictions for how to use such a suite."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from housepredict.domain.ports import LiveProcesses
from housepredict.domain.processes import LiveProcess
from housepredict.testing.drawing import Drawing
from housepredict.testing.drawn_predictions import shared

NewProcesses = Callable[[], LiveProcesses]

processes = Drawing().builds(LiveProcess, pid=st.integers(1, 2**22), generation=st.none() | st.integers(0, 2**53))
"""Whatever a process may say of itself."""


def by_id(found: LiveProcesses) -> dict[UUID, LiveProcess]:
    """Those that are alive; each of them once."""
    alive = found.alive()
    assert len({each.id for each in alive}) == len(alive)
    return {each.id: each for each in alive}


class LiveProcessesContract:
    """Subclass it, and give it the fixtures `new_processes`, which makes an empty one, and `silent`, which makes one
    that takes nobody for alive any more over the data of the one that was made last.
    """

    @pytest.fixture
    def new_processes(self) -> NewProcesses:
        """A function that makes what is to be tested, empty."""
        raise NotImplementedError("a subclass of LiveProcessesContract needs the fixture `new_processes`")

    @pytest.fixture
    def silent(self) -> NewProcesses:
        """A function that opens the same data with no patience."""
        raise NotImplementedError("a subclass of LiveProcessesContract needs the fixture `silent`")

    def test_nobody_is_alive_who_has_not_told(self, new_processes: NewProcesses) -> None:
        assert list(new_processes().alive()) == []

    @shared
    @given(told=st.lists(processes, max_size=3, unique_by=lambda each: each.id))
    def test_who_tells_is_alive_and_is_what_it_told(self, new_processes: NewProcesses, told: list[LiveProcess]) -> None:
        kept = new_processes()
        for each in told:
            kept.tell(each)
        assert by_id(kept) == {each.id: each for each in told}

    def test_they_are_in_order_of_host_and_process(self, new_processes: NewProcesses) -> None:
        kept = new_processes()
        for number, (host, pid) in enumerate([("b", 1), ("a", 12), ("a", 3)]):
            kept.tell(LiveProcess(UUID(int=number), host, pid))
        assert [(each.host, each.pid) for each in kept.alive()] == [("a", 3), ("a", 12), ("b", 1)]

    def test_who_was_silent_for_too_long_is_taken_for_dead(
        self, new_processes: NewProcesses, silent: NewProcesses
    ) -> None:
        new_processes().tell(LiveProcess(UUID(int=1), "a", 1))
        assert list(silent().alive()) == []

    def test_whatever_is_told_the_last_word_counts(self, new_processes: NewProcesses) -> None:
        run_state_machine_as_test(
            lambda: LiveProcessesMachine(new_processes()),  # type: ignore[arg-type]  # any factory will do
            settings=settings(max_examples=20, stateful_step_count=10, deadline=None),
        )


class LiveProcessesMachine(RuleBasedStateMachine):
    """Lets processes come, speak and go, and compares with a dictionary."""

    ids = st.integers(1, 3).map(lambda number: UUID(int=number))

    def __init__(self, kept: LiveProcesses) -> None:
        super().__init__()
        self.kept = kept
        self.expected: dict[UUID, LiveProcess] = {}

    @rule(id_=ids, process=processes)
    def tell(self, id_: UUID, process: LiveProcess) -> None:
        """A sign of life; where a process runs stays what it was."""
        before = self.expected.get(id_, process)
        process = evolve(process, id=id_, host=before.host, pid=before.pid)
        self.kept.tell(process)
        self.expected[id_] = process

    @rule(id_=ids)
    def leave(self, id_: UUID) -> None:
        """One goes, or was never there."""
        self.kept.leave(id_)
        self.expected.pop(id_, None)

    @invariant()
    def are_those_that_told(self) -> None:
        """No others, and as they said last."""
        assert by_id(self.kept) == self.expected
