"""Appends from an event loop: a repository that uses only such appends, and one in memory that supports them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction

Done = Callable[[Exception | None], None]


def at_once(append: Callable[[], None], done: Done) -> None:
    """Append, and pass the outcome to `done`."""
    try:
        append()
    except RepositoryUnavailable as error:
        done(error)
    else:
        done(None)


async def append_in_loop(repository: Any, predictions: Sequence[Prediction]) -> None:
    """Append from the running event loop, or in a thread if the repository declines, as the service does."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(error: Exception | None) -> None:
        if error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    if repository.append_in_loop(predictions, done):
        await ended
    else:
        await asyncio.to_thread(repository.append, predictions)


@frozen
class InLoop:
    """A repository that appends from a new event loop each time."""

    _whole: Any

    def append(self, predictions: Sequence[Prediction]) -> None:
        asyncio.run(append_in_loop(self._whole, predictions))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)


@define
class MemoryInLoop(InMemoryPredictions):
    """A repository in memory that appends in the next iteration of the loop, unless `held` is set."""

    held: bool = False
    begun: list[Callable[[], object]] = field(factory=list, init=False)
    """Callables that each complete one append."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        loop = asyncio.get_running_loop()
        self.begun.append(lambda: loop.call_soon(at_once, lambda: self.append(predictions), done))
        if not self.held:
            self.begun[-1]()
        return True
