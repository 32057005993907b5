"""Where processes that serve tell of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from housepredict.domain.processes import LiveProcess

LASTS = 15.0
"""Seconds after its last sign of life for which a process is taken to be alive."""


class LiveProcesses(Protocol):
    """Knows which processes are alive, by what each of them tells. Raises ModelStoreUnavailable when it cannot."""

    def tell(self, process: LiveProcess) -> None:
        """Give a sign of life, in place of the one before."""

    def leave(self, process: UUID) -> None:
        """Forget a process; one that nobody knows is none."""

    def alive(self) -> Sequence[LiveProcess]:
        """Those that told of themselves in the last LASTS seconds, by host and process id."""
