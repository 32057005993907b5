"""Counters of requests, batches and commits in memory that all workers share; see metrics.py for their names."""

from __future__ import annotations

import mmap
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Self

from attrs import define, field, frozen

_KEY = 128  # bytes: a length, and the name of a row
_CELLS = 16  # numbers in a row: up to fifteen buckets of a histogram, and the sum
_ROW = _KEY + 8 * _CELLS
_ROWS = 512  # far more than there are routes with their statuses, problems and rules
_REGION = _KEY + _ROWS * _ROW  # which begins with the number of its rows
_SEPARATOR = "\t"

Key = tuple[str, ...]
"""A metric, and the values of its labels."""


@frozen(eq=False)
class Row:
    """The numbers of a counter, the first of them, or of a histogram. It has one writer."""

    cells: memoryview[float]

    def add(self, amount: float = 1.0) -> None:
        """Count."""
        self.cells[0] += amount

    def observe(self, bounds: Sequence[float], value: float) -> None:
        """Count a value in its bucket, and add it to the sum, the last number."""
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
        """The row of a key, made on first use; without room for it, a row that no other process sees."""
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = self._new(key)
        return row

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
        """Memory for a number of workers, which must be forked later."""
        return cls(memoryview(mmap.mmap(-1, workers * _REGION)), workers)

    def region(self, worker: int) -> Region:
        """The region that worker 0, 1, … writes to."""
        return Region(self._region(worker))

    def read(self) -> Mapping[Key, Sequence[float]]:
        """The numbers of each key, summed over all workers."""
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
"""Upper bounds of durations: most of OpenTelemetry's from 5 ms on, and two below."""

HOUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Upper bounds of the sizes of batches."""


@define(eq=False)
class Meter:
    """Counts in the region of a worker. Used in the event loop, except for lanes, each of which has a thread."""

    tally: Tally
    _region: Region
    _worker: int
    _waiting: Callable[[], int] = field(default=int, init=False)
    _generation: Callable[[], int] = field(default=int, init=False)

    @classmethod
    def of(cls, tally: Tally, worker: int = 0) -> Meter:
        """The meter of a worker that has just started."""
        return cls(tally, tally.region(worker), worker)

    def request(self, method: str, route: str, status: int) -> Row:
        """The durations of requests with this method, route and status."""
        return self._region.row((REQUESTS, method, route, str(status)))

    def refused(self, problem: str, rules: Iterable[str]) -> None:
        """Count a refused request, for each rule that it broke, or for the problem if there is none."""
        for rule in sorted(set(rules)) or [""]:
            self._region.row((REFUSALS, problem, rule)).add()

    def lane(self, name: str) -> BatchMeter:
        """The meter of one thread's batches."""
        return BatchMeter(self._region.row((BATCHES, name)), self._region.row((COMMITS, name)))

    def watch(self, waiting: Callable[[], int], generation: Callable[[], int]) -> None:
        """Publish the number of waiting houses and the generation in service from these functions from now on."""
        self._waiting, self._generation = waiting, generation
        self.publish()

    def publish(self) -> None:
        """Share the number of waiting houses and the generation in service with all workers. Call it every second."""
        self._region.row((WAITING,)).cells[0] = self._waiting()
        # a row for each worker: sums over workers mean nothing here
        self._region.row((GENERATION, str(self._worker))).cells[0] = self._generation()


@define(eq=False)
class BatchMeter:
    """Counts the batches and the commits of one thread."""

    _batches: Row
    _commits: Row
    last_commit: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    """The time.perf_counter of the begin and the end of the last commit."""

    def batch(self, houses: int) -> None:
        """Count a batch."""
        self._batches.observe(HOUSES, houses)

    def time_commit(self) -> Callable[[], None]:
        """Start to time a commit. Returns the function that counts it at its end."""
        return partial(self._commit, time.perf_counter())

    def _commit(self, began: float) -> None:
        ended = time.perf_counter()
        self._commits.observe(SECONDS, ended - began)
        self.last_commit = began, ended
