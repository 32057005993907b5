"""Who serves what: the contract in memory, how it fails a broken one, and when all have arrived."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from housepredict.adapters.memory_processes import InMemoryProcesses
from housepredict.domain.models import Pointer
from housepredict.domain.processes import LiveProcess, converged
from housepredict.testing.processes import LiveProcessesContract, LiveProcessesMachine, NewProcesses, processes


class TestInMemoryProcesses(LiveProcessesContract):
    @pytest.fixture
    def new_processes(self) -> NewProcesses:
        def made() -> InMemoryProcesses:
            self._last = InMemoryProcesses(monotonic=lambda: self._seconds)
            return self._last

        self._seconds = 0.0
        return made

    @pytest.fixture
    def silent(self) -> NewProcesses:
        def later() -> InMemoryProcesses:
            self._seconds = 15.0
            return self._last

        return later


class NeverForgets(InMemoryProcesses):
    def leave(self, process: UUID) -> None:
        """Nothing happens."""


class FirstWordCounts(InMemoryProcesses):
    def tell(self, process: LiveProcess) -> None:
        if process.id not in self._told:
            super().tell(process)


@pytest.mark.parametrize("broken", [NeverForgets, FirstWordCounts])
def test_the_contract_notices_what_is_broken(broken: type[InMemoryProcesses]) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            lambda: LiveProcessesMachine(broken()),  # type: ignore[arg-type]  # any factory will do
            settings=settings(phases=[Phase.generate], deadline=None),
        )


@given(told=st.lists(processes, max_size=3))
def test_all_have_arrived_when_each_serves_what_is_promoted(told: Sequence[LiveProcess]) -> None:
    pointer = Pointer("a", 7)
    arrived = [LiveProcess(each.id, each.host, each.pid, "a", 7) for each in told]
    assert converged(arrived, pointer)
    for behind in (LiveProcess(UUID(int=0), "h", 1, "a", 6), LiveProcess(UUID(int=0), "h", 1, "b", 7)):
        assert not converged([*arrived, behind], pointer)
