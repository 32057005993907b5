"""Who serves which version: what each process tells of itself, so that a promotion can be seen to reach them all."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from attrs import frozen

from housepredict.domain.models import Pointer


@frozen
class LiveProcess:
    """A process that serves: a worker of a service.

    `id` is given anew at each start; `host` and `pid` are what people look for. `version` and `generation` are what is
    in service there, None before there is anything; `refused` is why that is not what is promoted, as far as it knows.
    """

    id: UUID
    host: str
    pid: int
    version: str | None = None
    generation: int | None = None
    refused: str | None = None


def converged(processes: Sequence[LiveProcess], pointer: Pointer) -> bool:
    """Whether all processes serve what is promoted, as of its last move."""
    return all((each.version, each.generation) == (pointer.name, pointer.generation) for each in processes)
