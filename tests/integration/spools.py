"""A repository with simulated failures, the spool in front of it, and spools that violate their guarantees."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import UUID

from attrs import define, evolve, field

from housepredict.adapters.memory import InMemoryPredictions
from housepredict.adapters.spool import Backoff, SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SpoolUnavailable, SqliteSpool
from housepredict.domain.errors import RefusedPredictions, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from tests.doubles import a_batch
from tests.in_loop import Done, at_once

SOON = 20.0  # seconds, an upper bound for operations that take milliseconds
QUICK = Backoff(first=0.001, cap=0.02)


@define
class Behind(InMemoryPredictions):
    """The repository behind the spool, with simulated failures."""

    down: bool = False
    unsure: bool = False
    refused: set[UUID] = field(factory=set)
    reads: int = 0
    arrived: list[UUID] = field(factory=list)

    def append(self, predictions: Sequence[Prediction]) -> None:
        if self.down:
            raise RepositoryUnavailable("down")
        if self.refused & {each.id for each in predictions}:
            raise RefusedPredictions("one of them is poison")
        self.arrived += [each.id for each in predictions if each.id not in self._by_id]
        super().append(predictions)
        if self.unsure:
            self.unsure = False
            raise RepositoryUnavailable("cut off after the commit")

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        self.reads += 1
        if self.down:
            raise RepositoryUnavailable("down")
        return super().recent(limit, before)

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        self.check()
        return super().find(ids)

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        self.check()
        return super().between(first, end, limit)

    def erase(self, ids: Sequence[UUID]) -> int:
        self.check()
        return super().erase(ids)

    def prune(self, before: UUID, limit: int) -> int:
        self.check()
        return super().prune(before, limit)

    def check(self) -> None:
        if self.down:
            raise RepositoryUnavailable("down")

    def close(self) -> None:
        """Do nothing, because no resource is open."""


class BehindInLoop(Behind):
    """A repository behind the spool that supports appends from an event loop."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        asyncio.get_running_loop().call_soon(at_once, lambda: self.append(predictions), done)
        return True


@define
class LockableSpool(SqliteSpool):
    """A spool in which erasures fail while `locked` is set, as if another process locked the file."""

    locked: bool = False

    @contextmanager
    def _erasing(self) -> Iterator[sqlite3.Connection]:
        if self.locked:
            raise SpoolUnavailable("database is locked")
        with SqliteSpool._erasing(self) as connection:
            yield connection


@define
class Forgetful(SqliteSpool):
    """Lossy: drops the first prediction of each batch."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions[1:])


@define
class Hasty(SqliteSpool):
    """Lossy: deletes rejected predictions instead of keeping dead letters."""

    def add_dead_letter(self, refused: Prediction, reason: str) -> None:
        self.remove([refused])


@define
class Bottomless(SqliteSpool):
    """Lossy: ignores a full spool."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        with suppress(RepositoryUnavailable):
            super().append(predictions)


@define
class Fresh(SqliteSpool):
    """Lossy: starts with an empty file."""

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0, max_rows: int = 1_000_000) -> Self:
        path.unlink(missing_ok=True)
        return super().open(path, timeout=timeout, max_rows=max_rows)


@define
class Renaming(SqliteSpool):
    """Lossy: stores predictions under other ids."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(
            [evolve(each, id=another.id) for each, another in zip(predictions, a_batch(len(predictions)), strict=True)]
        )


def spooled(
    path: Path, behind: Behind, kind: type[SqliteSpool] = SqliteSpool, max_rows: int = 10**6
) -> SpooledPredictions:
    """Open a spool in front of `behind`, with enough patience to connect on a busy machine."""
    spool = kind.open(path, max_rows=max_rows)
    return SpooledPredictions.open(spool, lambda: behind, backoff=QUICK, patience=SOON)
