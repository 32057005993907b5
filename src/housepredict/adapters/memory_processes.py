"""The processes that serve, where there is but this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Lock
from uuid import UUID

from attrs import define, field

from housepredict.domain.ports.processes import LASTS
from housepredict.domain.processes import LiveProcess


@define
class InMemoryProcesses:
    """LiveProcesses for any number of threads. `lasts` is in seconds, as of `monotonic`."""

    _lasts: float = LASTS
    _monotonic: Callable[[], float] = time.monotonic
    _told: dict[UUID, tuple[float, LiveProcess]] = field(factory=dict, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def tell(self, process: LiveProcess) -> None:
        """Give a sign of life; see LiveProcesses."""
        with self._lock:
            self._told[process.id] = (self._monotonic(), process)

    def leave(self, process: UUID) -> None:
        """Forget a process."""
        with self._lock:
            self._told.pop(process, None)

    def alive(self) -> Sequence[LiveProcess]:
        """Those that told of themselves lately."""
        with self._lock:
            since = self._monotonic() - self._lasts
            found = [process for time, process in self._told.values() if time > since]
        return sorted(found, key=lambda each: (each.host, each.pid))
