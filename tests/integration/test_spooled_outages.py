"""The spool survives outages and crashes in any order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from attrs import frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from housepredict.adapters.spool import SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from tests.doubles import a_batch
from tests.in_loop import Done, InLoop
from tests.integration.spools import QUICK, SOON, Behind, BehindInLoop, Forgetful, Fresh, spooled


@frozen
class Killable:
    """A repository used by one process. Once the process is killed, every call fails."""

    _wrapped: Any
    _killed: Event

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        started: bool = self.__getattr__("append_in_loop")(predictions, done)
        return started

    def __getattr__(self, name: str) -> Any:
        if self._killed.is_set():
            raise RepositoryUnavailable("killed")
        return getattr(self._wrapped, name)


class Outages(RuleBasedStateMachine):
    """State machine of a service and its database."""

    kind: type[SqliteSpool] = SqliteSpool

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.behind = BehindInLoop()
        self.acknowledged: list[UUID] = []
        self.open()

    def open(self) -> None:
        self.killed = Event()
        self.spool = self.kind.open(Path(self.folder.name) / "spool.sqlite")
        killable: Any = Killable(self.spool, self.killed)
        self.predictions = SpooledPredictions.open(killable, lambda: Killable(self.behind, self.killed), backoff=QUICK)
        assert self.behind.down or self.predictions.drained(SOON)

    @rule(size=st.integers(1, 5))
    def append(self, size: int) -> None:
        batch = a_batch(size)
        self.predictions.append(batch)
        self.acknowledged += [each.id for each in batch]

    @rule(size=st.integers(1, 5))
    def append_in_loop(self, size: int) -> None:
        batch = a_batch(size)
        InLoop(self.predictions).append(batch)
        self.acknowledged += [each.id for each in batch]

    @rule()
    def outage(self) -> None:
        self.behind.down = True

    @rule()
    def ambiguous_commit(self) -> None:
        self.behind.unsure = True

    @rule()
    def restart_with_pending_spool(self) -> None:
        self.predictions.close()
        self.open()

    @rule()
    def crash(self) -> None:
        self.killed.set()
        self.predictions._stopping.set()
        self.predictions._wake.set()
        assert self.predictions._thread
        self.predictions._thread.join()
        self.spool.close()  # the operating system closes the file of a killed process
        self.open()

    @rule()
    def read(self) -> None:
        before = self.spooled()
        if not self.behind.down:
            assert self.predictions.drained(SOON)
        seen = [each.id for each in self.predictions.recent(10**6)]
        if not self.behind.down:
            assert seen == self.acknowledged[::-1]
            return
        # rows stored just before the outage may leave the spool only now
        assert set(self.spooled()) <= set(seen) <= set(before)
        assert seen == sorted(seen, reverse=True)

    def spooled(self) -> list[UUID]:
        return [each.id for each in self.spool.recent(10**6)]

    @precondition(lambda self: self.behind.down)
    @rule()
    def recovery(self) -> None:
        self.behind.down = False
        self.all_arrived()

    def all_arrived(self) -> None:
        assert self.predictions.drained(SOON)
        assert self.behind.arrived == self.acknowledged, "lost, twice, or in another order"

    def teardown(self) -> None:
        self.behind.down = False
        try:
            self.predictions.append(a := a_batch(1))
            self.acknowledged += [each.id for each in a]
            self.all_arrived()
        finally:
            self.predictions.close()
            self.folder.cleanup()


def test_acknowledged_predictions_arrive_once_in_order() -> None:
    run_state_machine_as_test(Outages, settings=settings(max_examples=40, stateful_step_count=20))


@pytest.mark.parametrize(
    ("lossy", "event"), [(Forgetful, Outages.read), (Fresh, Outages.crash)], ids=["outage", "crash"]
)
def test_state_machine_detects_lossy_spool(lossy: type[SqliteSpool], event: Callable[[Outages], None]) -> None:
    # explicit steps, because the thread's timing decides when a loss shows, and Hypothesis requires determinism
    machine = type("LossyOutages", (Outages,), {"kind": lossy})()
    try:
        machine.outage()
        machine.append(2)
        event(machine)
        with pytest.raises(AssertionError, match="lost, twice, or in another order"):
            machine.recovery()
    finally:
        machine.predictions.close()
        machine.folder.cleanup()


RECORDER = """
import sys
from pathlib import Path
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.adapters.spool import SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.errors import RepositoryUnavailable
from tests.doubles import a_batch
opened = lambda: PostgresPredictions.open("host=127.0.0.1 port=1 dbname=x")
with SpooledPredictions.open(SqliteSpool.open(Path(sys.argv[1])), opened) as predictions:
    while True:
        batch = a_batch(5)
        predictions.append(batch)
        print(*(each.id for each in batch), flush=True)
"""


def test_killed_process_leaves_spool_to_next_process(tmp_path: Path) -> None:
    path = tmp_path / "spool.sqlite"
    command = [sys.executable, "-c", RECORDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as recorder:
        assert recorder.stdout is not None
        acknowledged = [recorder.stdout.readline() for _ in range(20)]
        recorder.kill()
        acknowledged += recorder.stdout.read().splitlines(keepends=True)
    ids = {UUID(each) for line in acknowledged if line.endswith("\n") for each in line.split()}
    behind = Behind()
    with spooled(path, behind) as predictions:
        assert predictions.drained(SOON)
    assert len(ids) >= 100
    assert ids <= set(behind.arrived)
    assert behind.arrived == sorted(set(behind.arrived))
