"""Ways in which a file that was being written may be torn when the power goes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from random import Random
from typing import assert_never

from attrs import frozen

_LARGE = 128 * 1024
_FROM_LARGE = 4096
_SOME = 256
_FEW = 3


class Tear(StrEnum):
    """What follows the last byte that was written."""

    CUT = "cut off"
    ZEROS = "then zeros"
    NOISE = "then noise"
    BEFORE = "then what was there before"

    def tear(self, content: bytes, at: int, random: Random, before: bytes = b"") -> bytes:
        """The content as it is if only its first `at` bytes were written."""
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
    """Where files are torn: at every byte, or at a few."""

    random: Random
    every: bool

    def of(self, size: int, edges: Iterable[int] = ()) -> Iterable[int]:
        """Every place in a file of so many bytes, or some; 4,096 in one above 128 KiB. At the end nothing is torn."""
        if self.every and size <= _LARGE:
            return range(size + 1)
        return self._chosen(size, edges, _FROM_LARGE if self.every else _FEW)

    def some(self, size: int, edges: Iterable[int] = ()) -> Iterable[int]:
        """A few places, and those beside each of the edges."""
        return self._chosen(size, edges, _SOME if self.every else _FEW)

    def _chosen(self, size: int, edges: Iterable[int], number: int) -> Iterable[int]:
        beside = {place for edge in (0, *edges, size) for place in (edge - 1, edge, edge + 1) if 0 <= place <= size}
        return sorted(beside | set(self.random.sample(range(size + 1), min(size + 1, number))))
