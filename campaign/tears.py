"""Simulated torn writes: states in which a power failure may leave a file that was being written."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from random import Random
from typing import assert_never

from attrs import frozen

_LARGE_FILE_BYTES = 128 * 1024
_PLACES_IN_LARGE_FILE = 4096
_SOME_PLACES = 256
_FEW_PLACES = 3


class Tear(StrEnum):
    """The content after the last byte that was written."""

    CUT = "cut off"
    ZEROS = "then zeros"
    NOISE = "then noise"
    BEFORE = "then old content"

    def tear(self, content: bytes, at: int, random: Random, before: bytes = b"") -> bytes:
        """Return the content of a file if only the first `at` bytes were written over `before`."""
        rest = len(content) - at
        match self:
            case Tear.CUT:
                return content[:at]
            case Tear.ZEROS:
                return content[:at] + bytes(rest)
            case Tear.NOISE:
                return content[:at] + random.randbytes(rest)
            case Tear.BEFORE:
                return content[:at] + before[at:]
            case _:
                assert_never(self)


@frozen
class Places:
    """The positions at which files are torn: each byte, or a random sample."""

    random: Random
    every: bool

    def of(self, size: int, edges: Iterable[int] = ()) -> Iterable[int]:
        """Return the positions in a file of `size` bytes: all, or a sample (4,096 if it has more than 128 KiB)."""
        if self.every and size <= _LARGE_FILE_BYTES:
            return range(size + 1)
        return self._chosen(size, edges, _PLACES_IN_LARGE_FILE if self.every else _FEW_PLACES)

    def some(self, size: int, edges: Iterable[int] = ()) -> Iterable[int]:
        """Return a small sample of positions, and those next to each edge."""
        return self._chosen(size, edges, _SOME_PLACES if self.every else _FEW_PLACES)

    def _chosen(self, size: int, edges: Iterable[int], number: int) -> Iterable[int]:
        near_edges = {place for edge in (0, *edges, size) for place in (edge - 1, edge, edge + 1) if 0 <= place <= size}
        return sorted(near_edges | set(self.random.sample(range(size + 1), min(size + 1, number))))
