"""Processes with spools in front of one database that erase, append, spool, drain, and read in a forced order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from attrs import define, field

from housepredict.adapters.spool import Backoff, SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from tests.doubles import a_batch
from tests.in_loop import Done, at_once
from tests.integration.spools import Behind
from tests.interleavings import Scheduler, Stepping

PROCESSES = 3
AFTER_ALL = UUID(int=2**128 - 1)


class Database(Stepping):
    """The database repository, as seen by one process."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        at_once(lambda: self.append(predictions), done)
        return True


@define
class World:
    """Processes in front of one database: the first two share a spool, the third has its own."""

    kind: type[SpooledPredictions]
    spools: Sequence[SqliteSpool]
    threads: ThreadPoolExecutor
    random: Random
    behind: Behind = field(factory=Behind)
    batch: list[Prediction] = field(factory=lambda: a_batch(3))
    confirmed: set[UUID] = field(factory=set)
    erased_through: set[int] = field(factory=set)
    """The processes that have confirmed an erasure: they hide it even while disconnected."""
    attempted: set[UUID] = field(factory=set)
    acknowledged: set[UUID] = field(factory=set)
    acknowledged_by: dict[int, set[UUID]] = field(factory=lambda: {number: set() for number in range(PROCESSES)})
    scheduler: Scheduler = field(init=False)
    processes: list[SpooledPredictions] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.scheduler = Scheduler(self.threads, self.random)
        self.processes = [self.started(spool) for spool in self.spools]

    def started(self, spool: SqliteSpool) -> SpooledPredictions:
        step = self.scheduler.step
        stepping: Any = Stepping(spool, step)
        made = self.kind(stepping, lambda: Database(self.behind, step), Backoff(), in_thread=at_once)
        self.scheduler.schedule(made)
        return made

    def append(self, number: int, batch: list[Prediction]) -> None:
        self.processes[number].append(batch)
        self.acknowledge(number, batch)

    def acknowledge(self, number: int, batch: list[Prediction]) -> None:
        self.acknowledged |= {each.id for each in batch}
        self.acknowledged_by[number] |= {each.id for each in batch}

    def append_in_loop(self, number: int, batch: list[Prediction]) -> None:
        ended: list[Exception | None] = []
        self.processes[number].append_in_loop(batch, ended.append)
        assert ended == [None]
        self.acknowledge(number, batch)

    def erase(self, number: int) -> None:
        ids = {self.batch[0].id}
        self.attempted |= ids
        try:
            self.processes[number].erase(list(ids))
        except RepositoryUnavailable:
            return
        self.confirmed |= ids
        self.erased_through.add(number)

    def prune(self, process: SpooledPredictions, limit: int) -> None:
        """Delete the first two predictions in chunks, as a service does."""
        before = self.batch[2].id
        ids = {each.id for each in self.batch[:2]}
        self.attempted |= ids
        try:
            while process.prune(before, limit) == limit:
                pass
        except RepositoryUnavailable:
            return
        self.confirmed |= ids

    def drain(self, process: SpooledPredictions) -> None:
        """Drain once, as the drain thread does."""
        try:
            process._drain()
        except RepositoryUnavailable as fault:
            process._report(fault)

    def read(self, number: int) -> None:
        process = self.processes[number]
        ids = [each.id for each in self.batch]
        reads: list[Callable[[], Sequence[Prediction]]] = [
            lambda: process.recent(10),
            lambda: process.recent(1),
            lambda: process.recent(10, AFTER_ALL),
            lambda: process.find(ids),
            lambda: process.find(ids[:1]),
            lambda: process.between(ids[0], AFTER_ALL, 10),
            lambda: process.between(ids[0], AFTER_ALL, 1),
        ]
        for read in self.random.sample(reads, 2):
            there = self.acknowledged_by[number] - self.attempted if read in reads[3:4] else set()
            gone, connected, knows = set(self.confirmed), reaches(process), number in self.erased_through
            try:
                found = {each.id for each in read()}
            except RepositoryUnavailable:
                continue
            if connected and reaches(process):
                assert not found & gone, "read after it was erased"
                assert there - self.attempted <= found, "misses what it has stored"
            if knows:
                assert self.batch[0].id not in found, "read after it was erased here"

    def fail(self) -> None:
        """Make the database unavailable for a few steps."""
        self.behind.down = True
        for _ in range(self.random.randrange(4)):
            self.scheduler.step()
        self.behind.down = False

    def scenario(self) -> list[str]:
        """Prepare the processes, and choose the concurrent actions."""
        random = self.random
        self.behind.down = random.random() < 0.3
        for process in self.processes:
            if random.random() < 0.6:
                self.drain(process)
        if random.random() < 0.5:
            some = random.randrange(PROCESSES)
            self.append(some, self.batch[: random.randint(1, 3)])
        self.behind.down = False
        self.behind.unsure = random.random() < 0.15
        names = random.choices(["append", "append one", "append in loop"], k=random.randint(1, 2))
        names += random.choices(["erase", "erase", "prune"], k=random.randint(1, 2))
        names += random.sample(["drain", "drain", "fail"], k=random.randint(0, 2))
        names += ["read", "read"][: random.randint(1, 2)]
        return [f"{name} {random.randrange(PROCESSES)}" for name in names]

    def actor(self, what: str) -> Callable[[], None]:
        name, _, last = what.rpartition(" ")
        number, limit = int(last), self.random.randint(1, 3)
        process = self.processes[number]
        return {
            "append": lambda: self.append(number, self.batch),
            "append one": lambda: self.append(number, self.batch[:1]),
            "append in loop": lambda: self.append_in_loop(number, self.batch),
            "erase": lambda: self.erase(number),
            "prune": lambda: self.prune(process, limit),
            "drain": lambda: self.drain(process),
            "read": lambda: self.read(number),
            "fail": self.fail,
        }[name]

    def run(self) -> tuple[object, ...]:
        """Force one interleaving. Returns its identity. Raises AssertionError if a guarantee is violated."""
        scenario = self.scenario()
        before = [reaches(each) for each in self.processes]
        self.scheduler.run([self.actor(each) for each in scenario])
        self.behind.unsure = False
        for restarted in (False, True):
            for number, spool in enumerate(self.spools):
                if restarted:
                    self.processes[number] = self.started(spool)
                process = self.processes[number]
                self.drain(process)  # connects
                for found in (
                    process.recent(10),
                    process.find([each.id for each in self.batch]),
                    process.between(self.batch[0].id, AFTER_ALL, 10),
                ):
                    assert not {each.id for each in found} & self.confirmed, "read after it was erased"
                self.drain(process)
                assert process.drained(0)
                assert process.backlog().pending == 0
        stored = {each.id for each in self.behind.recent(10)}
        assert not stored & self.confirmed, "stored after it was erased"
        assert self.acknowledged - self.attempted <= stored, "lost"
        return (*scenario, *before, *self.scheduler.trace)


def reaches(process: SpooledPredictions) -> bool:
    return process._behind is not None and process._fault is None


@contextmanager
def opened_spools(folder: Path) -> Iterator[list[SqliteSpool]]:
    """Open the spools of the processes. The first two share one."""
    paths = [folder / "shared.sqlite", folder / "shared.sqlite", folder / "own.sqlite"]
    opened = [SqliteSpool.open(each) for each in paths]
    for each in opened:
        each._connection.execute("PRAGMA synchronous = OFF")  # Power loss is not tested here.
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


def interleave(
    spools: Sequence[SqliteSpool], kind: type[SpooledPredictions], distinct: int, first_seed: int = 0
) -> None:
    """Run `distinct` distinct interleavings."""
    seen: set[Any] = set()
    with ThreadPoolExecutor(8) as threads:
        for seed in count(first_seed):
            try:
                seen.add(World(kind, spools, threads, Random(seed)).run())
            except AssertionError as error:
                error.add_note(f"with seed {seed}, after {len(seen)} interleavings")
                raise
            if len(seen) >= distinct:
                return
