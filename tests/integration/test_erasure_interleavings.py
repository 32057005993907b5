"""Erase, append, spool, drain and read in every order: no read returns predictions after their erasure is confirmed.

`TEST_INTERLEAVINGS` sets the number of distinct interleavings to run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from housepredict.adapters.spool import SpooledPredictions
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.estimates import Prediction
from tests.erasure_worlds import interleave, opened_spools, reaches

INTERLEAVINGS = int(os.environ.get("TEST_INTERLEAVINGS", "500"))


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[list[SqliteSpool]]:
    with opened_spools(tmp_path) as spools:
        yield spools


def test_interleavings_never_return_erased_predictions(spools: list[SqliteSpool]) -> None:
    interleave(spools, SpooledPredictions, INTERLEAVINGS)


class Trusting(SpooledPredictions):
    """Broken: returns everything in its spool, even predictions erased elsewhere."""

    def _read_spool(self, behind: Any, read: Callable[[Any], Sequence[Prediction]]) -> dict[UUID, Prediction]:
        return {each.id: each for each in read(self._spool)}


class Premature(SpooledPredictions):
    """Broken: confirms an erasure before the repository behind it has it."""

    def erase(self, ids: Sequence[UUID]) -> int:
        self._spool.erase(ids)
        return super().erase(ids) if reaches(self) else len(ids)


class LossyErase(SpooledPredictions):
    """Broken: erases what its spool stores, but not appends in flight."""

    def erase(self, ids: Sequence[UUID]) -> int:
        known = self._query(lambda behind: behind.erase(ids))
        self._spool.remove(self._spool.find(ids))
        return known


class SpoolLast(SpooledPredictions):
    """Broken: reads the spool last, and misses rows drained in the meantime."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        stored = {each.id: each for each in self._query(lambda behind: behind.find(ids))}
        spooled = self._query(lambda behind: self._read_spool(behind, lambda spool: spool.find(ids)))
        return [each for _, each in sorted((stored | spooled).items())]


@pytest.mark.parametrize(
    ("broken", "violation", "first_seed"),  # start the search at a seed that soon finds a violation
    [
        (Trusting, "read after it was erased", 0),
        (Premature, "after it was erased", 0),
        (LossyErase, "read after it was erased here", 450),
        (SpoolLast, "misses", 1450),
    ],
)
def test_interleavings_detect_broken_repository(
    spools: list[SqliteSpool], broken: type[SpooledPredictions], violation: str, first_seed: int
) -> None:
    with pytest.raises(AssertionError, match=violation):
        interleave(spools, broken, 3000, first_seed)
