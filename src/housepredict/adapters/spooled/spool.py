"""What is behind a spool, the pauses between attempts to drain it, and a thread for what would block an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import SystemRandom
from typing import Protocol

from attrs import frozen

from housepredict.domain.ports import PredictionRepository

Done = Callable[[Exception | None], None]

_chance = SystemRandom()  # whoever seeds the shared generator wants its numbers for themselves


class ClosableRepository(PredictionRepository, Protocol):
    """A repository that holds something open."""

    def close(self) -> None:
        """Let go of it."""


@frozen
class Backoff:
    """How long to wait after a failure, in seconds: twice as long each time, up to `cap`, less some chance."""

    first: float = 0.1
    cap: float = 5.0

    def delay(self, failures: int) -> float:
        """The wait after so many failures in a row; after none, the time between looks at what others left behind."""
        longest = min(self.cap, self.first * 2.0 ** min(failures - 1, 30)) if failures else self.cap
        return longest * _chance.uniform(0.5, 1.0)


def in_thread(append: Callable[[], None], done: Done) -> None:
    """Call `append` in a thread; the running event loop then calls `done`, with what `append` has raised."""

    def run() -> Exception | None:
        try:
            append()
        except Exception as error:  # noqa: BLE001  # `done` is called in any case
            return error
        return None

    future = asyncio.get_running_loop().run_in_executor(None, run)
    future.add_done_callback(lambda ended: done(ended.result()))
