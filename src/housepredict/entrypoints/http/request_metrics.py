"""What is counted of requests, batches and commits, by each worker for all; see collector.py for how it is told."""

from __future__ import annotations

import mmap
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Self

from attrs import define, field, frozen

_KEY = 128  # bytes: a length, and the name of a row
_CELLS = 16  # numbers in a row: what a histogram of fifteen buckets takes, with their sum
_ROW = _KEY + 8 * _CELLS
_ROWS = 512  # far more than there are routes with their statuses, problems and rules
_REGION = _KEY + _ROWS * _ROW  # which begins with the number of its rows
_SEPARATOR = "\t"

Key = tuple[str, ...]
"""What is counted, and the values of its labels."""


@frozen(eq=False)
class Row:
    """Numbers of one writer: a counter's is the first of them."""

    cells: memoryview[float]

    def add(self, amount: float = 1.0) -> None:
        """Count."""
        self.cells[0] += amount

    def observe(self, bounds: Sequence[float], value: float) -> None:
        """Count a value in its bucket, and add it to the sum, which is the last number."""
        cells = self.cells
        cells[bisect_left(bounds, value)] += 1.0
        cells[-1] += value


@define(eq=False)
class Region:
    """The rows of one worker. One thread at a time may ask for rows; each row has one writer."""

    _memory: memoryview
    _rows: dict[Key, Row] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._rows.update(_read(self._memory))

    def row(self, key: Key) -> Row:
        """The row of a key, new or not. One that there is no room for is counted, and told to nobody."""
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = self._new(key)
        return found

    def _new(self, key: Key) -> Row:
        name, count = _SEPARATOR.join(key).encode(), self._memory[:8].cast("q")
        if count[0] >= _ROWS or len(name) >= _KEY:
            return Row(memoryview(bytearray(8 * _CELLS)).cast("d"))
        start = _KEY + count[0] * _ROW
        self._memory[start : start + 1 + len(name)] = bytes([len(name)]) + name
        count[0] += 1
        return _row_at(self._memory, start)


@define(eq=False)
class Tally:
    """The regions of a service, one a worker."""

    _memory: memoryview
    _workers: int

    @classmethod
    def of(cls, workers: int) -> Self:
        """Memory for so many workers, to be forked after this."""
        return cls(memoryview(mmap.mmap(-1, workers * _REGION)), workers)

    def region(self, worker: int) -> Region:
        """The region of a worker, from 0: to write, for that one alone."""
        return Region(self._region(worker))

    def read(self) -> Mapping[Key, Sequence[float]]:
        """The numbers of each key, all workers together."""
        sums: dict[Key, list[float]] = {}
        for worker in range(self._workers):
            for key, row in _read(self._region(worker)):
                total = sums.setdefault(key, [0.0] * _CELLS)
                for index, number in enumerate(row.cells):
                    total[index] += number
        return sums

    def _region(self, worker: int) -> memoryview:
        return self._memory[worker * _REGION : (worker + 1) * _REGION]


def _read(region: memoryview) -> Iterator[tuple[Key, Row]]:
    for index in range(region[:8].cast("q")[0]):
        start = _KEY + index * _ROW
        name = bytes(region[start + 1 : start + 1 + region[start]]).decode()
        yield tuple(name.split(_SEPARATOR)), _row_at(region, start)


def _row_at(region: memoryview, start: int) -> Row:
    return Row(region[start + _KEY : start + _ROW].cast("d"))


REQUESTS, REFUSALS, BATCHES, COMMITS = "requests", "refusals", "batches", "commits"
WAITING, GENERATION = "waiting", "generation"

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of durations: those of OpenTelemetry's conventions from 5 ms on, most of them, and two below."""

HOUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Upper bounds of the sizes of batches."""


@define(eq=False)
class Meter:
    """Counts in the region of this worker. Used in the event loop, but for the lanes, each of which has a thread."""

    tally: Tally
    _region: Region
    _worker: int
    _waiting: Callable[[], int] = field(default=int, init=False)
    _generation: Callable[[], int] = field(default=int, init=False)

    @classmethod
    def of(cls, tally: Tally, worker: int = 0) -> Meter:
        """The meter of a worker, which has just been started."""
        return cls(tally, tally.region(worker), worker)

    def request(self, method: str, route: str, status: int) -> Row:
        """The durations of requests of a kind."""
        return self._region.row((REQUESTS, method, route, str(status)))

    def refused(self, problem: str, rules: Iterable[str]) -> None:
        """Count a request that was refused: once for each rule that it broke, or for the problem alone."""
        for rule in sorted(set(rules)) or [""]:
            self._region.row((REFUSALS, problem, rule)).add()

    def lane(self, name: str) -> Lane:
        """Where one thread counts."""
        return Lane(self._region.row((BATCHES, name)), self._region.row((COMMITS, name)))

    def watch(self, waiting: Callable[[], int], generation: Callable[[], int]) -> None:
        """Publish the number of waiting houses and the generation in service, as these return them, from now on."""
        self._waiting, self._generation = waiting, generation
        self.publish()

    def publish(self) -> None:
        """Show all workers the number of waiting houses and the generation in service here. Call it every second."""
        self._region.row((WAITING,)).cells[0] = self._waiting()
        # a row for each worker: sums over workers mean nothing here
        self._region.row((GENERATION, str(self._worker))).cells[0] = self._generation()


@define(eq=False)
class Lane:
    """Counts the batches and the commits of one thread."""

    _batches: Row
    _commits: Row
    last_commit: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    """When the last one began and ended, by time.perf_counter."""

    def batch(self, houses: int) -> None:
        """Count a batch."""
        self._batches.observe(HOUSES, houses)

    def time_commit(self) -> Callable[[], None]:
        """Start to time a commit. Returns the function that counts it when it ends."""
        return partial(self._commit, time.perf_counter())

    def _commit(self, began: float) -> None:
        ended = time.perf_counter()
        self._commits.observe(SECONDS, ended - began)
        self.last_commit = began, ended
