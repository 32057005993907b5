"""Appends that are begun: repositories that can, and one whose every append is, by way of any such repository."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from select import select
from typing import Any

from attrs import define, field, frozen

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import Appending


class Wire:
    """A connection of which both ends are here."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair()
        self.close = weakref.finalize(self, _close, self.near, self.far)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        end.close()


@define(eq=False)
class Held:
    """An append that takes place when it is looked at after its `release`: other bytes are no more than a beginning."""

    _append: Callable[[], None]
    connection: Wire = field(factory=Wire)
    unsent: int = 0
    """So often it has more to send."""

    def release(self) -> None:
        self.connection.near.sendall(b".")

    def fileno(self) -> int:
        return self.connection.far.fileno()

    def is_sent(self) -> bool:
        self.unsent -= 1
        return self.unsent < 0

    def is_done(self) -> bool:
        if not select([self.connection.far], [], [], 0)[0] or self.connection.far.recv(1) != b".":
            return False
        self._append()
        return True


@define
class BeginningInMemory(InMemoryPredictions):
    """Its appends go over one connection, and are done at the first look unless they are to be `held`."""

    held: bool = False
    unsent: int = 0
    begun: list[Held] = field(factory=list, init=False)
    _connection: Wire = field(factory=Wire, init=False)

    def begin(self, predictions: Sequence[Prediction]) -> Appending | None:
        self.begun.append(Held(partial(self.append, predictions), self._connection, self.unsent))
        if not self.held:
            self.begun[-1].release()
        return self.begun[-1]


@frozen
class Begun:
    """A repository whose appends are begun and waited for, and made once more where that fails: as the service does."""

    _whole: Any

    def append(self, predictions: Sequence[Prediction]) -> None:
        begun: Appending | None = self._whole.begin(predictions)
        try:
            while begun:
                _, writable, _ = select([begun], [] if begun.is_sent() else [begun], [], 1)
                if not writable and begun.is_done():
                    return
        except RepositoryUnavailable:
            pass
        self._whole.append(predictions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)
