"""Counters for requests, batches and commits, in memory shared by all workers. metrics.py exports them."""

from __future__ import annotations

import mmap
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Self

from attrs import define, field, frozen

_KEY = 128  # bytes for a row's name, preceded by its length
_CELLS = 16  # numbers in a row: up to fifteen histogram buckets, and the sum
_ROW = _KEY + 8 * _CELLS
_ROWS = 512  # far more than the combinations of routes, statuses, problems and rules
_REGION = _KEY + _ROWS * _ROW  # starts with the number of used rows
_SEPARATOR = "\t"

Key = tuple[str, ...]
"""The name of a metric, and the values of its labels."""


@frozen(eq=False)
class Row:
    """The cells in shared memory that contain a counter or a histogram. Only one thread may write to a row.

    A counter is in the first cell. A histogram has a count for each bucket, starting at the first cell, and the sum of
    the values in the last cell.
    """

    cells: memoryview[float]

    def add(self, amount: float = 1.0) -> None:
        """Increase the counter."""
        self.cells[0] += amount

    def observe(self, bounds: Sequence[float], value: float) -> None:
        """Count a value in its bucket of the histogram, and add it to the sum in the last cell.

        `bounds` are the upper bounds of the buckets.
        """
        cells = self.cells
        cells[bisect_left(bounds, value)] += 1.0
        cells[-1] += value


@define(eq=False)
class Region:
    """The rows of one worker. Only one thread at a time may call `row`."""

    _memory: memoryview
    _rows: dict[Key, Row] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._rows.update(_read(self._memory))

    def row(self, key: Key) -> Row:
        """Return the row for a key, and create it on first use.

        If the region is full, a new row is not stored in shared memory, so its counts are not exported.
        """
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
class SharedCounters:
    """Counters that the workers of a service share. Each worker writes to its own region of memory."""

    _memory: memoryview
    _workers: int

    @classmethod
    def of(cls, workers: int) -> Self:
        """Allocate memory for `workers` workers. Fork the workers after this call, so that they share the memory."""
        return cls(memoryview(mmap.mmap(-1, workers * _REGION)), workers)

    def region(self, worker: int) -> Region:
        """Return the region of a worker. Workers are numbered from 0."""
        return Region(self._region(worker))

    def read(self) -> Mapping[Key, Sequence[float]]:
        """Return the cells for each key, summed over all workers."""
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
"""The histogram bounds for durations, in seconds: two below 5 ms, then most of OpenTelemetry's default bounds."""

HOUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""The histogram bounds for batch sizes, in houses."""


@define(eq=False)
class Meter:
    """The counters of a worker.

    Use a meter in the event loop. A BatchMeter that `lane` returns may be used in another thread, but not in several.
    """

    tally: SharedCounters
    _region: Region
    _worker: int
    _waiting: Callable[[], int] = field(default=int, init=False)
    _generation: Callable[[], int] = field(default=int, init=False)

    @classmethod
    def of(cls, tally: SharedCounters, worker: int = 0) -> Meter:
        """Create the meter for a worker."""
        return cls(tally, tally.region(worker), worker)

    def request(self, method: str, route: str, status: int) -> Row:
        """Return the duration histogram for requests with this method, route and status."""
        return self._region.row((REQUESTS, method, route, str(status)))

    def count_refusal(self, problem: str, rules: Iterable[str]) -> None:
        """Count a rejected request once for each rule it violated, or once if `rules` is empty."""
        for rule in sorted(set(rules)) or [""]:
            self._region.row((REFUSALS, problem, rule)).add()

    def lane(self, name: str) -> BatchMeter:
        """Return a meter for the batches of one thread. `name` identifies it in the metrics."""
        return BatchMeter(self._region.row((BATCHES, name)), self._region.row((COMMITS, name)))

    def watch(self, waiting: Callable[[], int], generation: Callable[[], int]) -> None:
        """Set the functions that return the values to publish, and publish them for the first time.

        Args:
            waiting: a function that returns the number of waiting houses.
            generation: a function that returns the generation number of the promoted version (see Pointer).
        """
        self._waiting, self._generation = waiting, generation
        self.publish()

    def publish(self) -> None:
        """Write the values of the functions set by `watch` to shared memory. Call this every second."""
        self._region.row((WAITING,)).cells[0] = self._waiting()
        # Each worker has its own row, because generations can't be summed.
        self._region.row((GENERATION, str(self._worker))).cells[0] = self._generation()


@define(eq=False)
class BatchMeter:
    """Counters for the batches and commits of one thread."""

    _batches: Row
    _commits: Row
    last_commit: tuple[float, float] = field(default=(0.0, 0.0), init=False)
    """The start and end times of the last commit (time.perf_counter)."""

    def batch(self, houses: int) -> None:
        """Count a batch of this many houses."""
        self._batches.observe(HOUSES, houses)

    def time_commit(self) -> Callable[[], None]:
        """Start timing a commit. Call the returned function when the commit ends."""
        return partial(self._commit, time.perf_counter())

    def _commit(self, started: float) -> None:
        ended = time.perf_counter()
        self._commits.observe(SECONDS, ended - started)
        self.last_commit = started, ended
