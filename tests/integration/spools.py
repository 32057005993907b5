"""A repository behind to which things happen, the spool before it, and spools that break their promises."""

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

SOON = 20.0  # seconds: an upper bound for what takes milliseconds
QUICK = Backoff(first=0.001, cap=0.02)


@define
class Behind(InMemoryPredictions):
    """A repository behind, and what befalls it."""

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
        """Nothing is held open."""


class BehindInLoop(Behind):
    """One that takes appends of an event loop."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        asyncio.get_running_loop().call_soon(at_once, lambda: self.append(predictions), done)
        return True


@define
class LockableSpool(SqliteSpool):
    """A spool in which erasures fail while `locked` is set, as in a file that another process keeps locked."""

    locked: bool = False

    @contextmanager
    def _erasing(self) -> Iterator[sqlite3.Connection]:
        if self.locked:
            raise SpoolUnavailable("database is locked")
        with SqliteSpool._erasing(self) as connection:
            yield connection


@define
class Forgetful(SqliteSpool):
    """Lossy: of a batch it keeps all but one."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(predictions[1:])


@define
class Hasty(SqliteSpool):
    """Lossy: forgets what is poison."""

    def add_dead_letter(self, refused: Prediction, reason: str) -> None:
        self.remove([refused])


@define
class Bottomless(SqliteSpool):
    """Lossy: when there is no room it says nothing."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        with suppress(RepositoryUnavailable):
            super().append(predictions)


@define
class Fresh(SqliteSpool):
    """Lossy: begins anew at each start."""

    @classmethod
    def open(cls, path: Path, *, timeout: float = 5.0, max_rows: int = 1_000_000) -> Self:
        path.unlink(missing_ok=True)
        return super().open(path, timeout=timeout, max_rows=max_rows)


@define
class Renaming(SqliteSpool):
    """Lossy: what it keeps has another id, so that nobody knows it again."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        super().append(
            [evolve(each, id=another.id) for each, another in zip(predictions, a_batch(len(predictions)), strict=True)]
        )


def spooled(
    path: Path, behind: Behind, kind: type[SqliteSpool] = SqliteSpool, max_rows: int = 10**6
) -> SpooledPredictions:
    """Connected when this returns, however busy the machine is."""
    spool = kind.open(path, max_rows=max_rows)
    return SpooledPredictions.open(spool, lambda: behind, backoff=QUICK, patience=SOON)
