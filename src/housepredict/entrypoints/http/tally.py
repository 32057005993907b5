"""What workers count, in memory that they share: each writes a region of its own, and any of them reads all.

The memory is anonymous, and there before the workers are forked. A region has one writer, so that nothing is locked: a
row is told of only when it is whole, and a number is eight aligned bytes, which are written at once. A worker that
takes the place of one that died goes on with its region, so that what was counted is never lost.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

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
