"""What it takes to spool predictions: what a spool can do, and how long to wait for what is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from random import SystemRandom
from typing import Protocol

from attrs import frozen

from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import Backlog, PredictionRepository

_chance = SystemRandom()  # whoever seeds the shared generator wants its numbers for themselves


class ClosableRepository(PredictionRepository, Protocol):
    """A repository that holds something open."""

    def close(self) -> None:
        """Let go of it."""


class Spool(ClosableRepository, Protocol):
    """A repository that can be emptied again, by one process at a time. `prune` counts predictions, and no markers."""

    def oldest(self, limit: int) -> Sequence[Prediction]:
        """The oldest that wait, oldest first, at most `limit`."""

    def remove(self, predictions: Sequence[Prediction]) -> None:
        """Remove these, and no others; what was erased stays so."""

    def set_aside(self, refused: Prediction, reason: str) -> None:
        """Keep one, but among those that wait no longer."""

    def backlog(self) -> Backlog:
        """What is kept."""

    def emptying(self) -> AbstractContextManager[bool]:
        """Whether it is this process's turn."""


@frozen
class Backoff:
    """How long to wait after a failure, in seconds: twice as long each time, up to `cap`, less some chance."""

    first: float = 0.1
    cap: float = 5.0

    def delay(self, failures: int) -> float:
        """The wait after so many failures in a row; after none, the time between looks at what others left behind."""
        longest = min(self.cap, self.first * 2.0 ** min(failures - 1, 30)) if failures else self.cap
        return longest * _chance.uniform(0.5, 1.0)
