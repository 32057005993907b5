"""Stored predictions: look-up, listing, export, erasure and retention."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from attrs import define, frozen

from housepredict.domain.errors import UnknownPrediction
from housepredict.domain.estimates import Prediction
from housepredict.domain.identifiers import first_id_at, is_uuid
from housepredict.domain.ports import (
    Backlog,
    Clock,
    HasBacklog,
    HasLabIds,
    PredictionKeys,
    PredictionRepository,
    SaleRepository,
)

_LAB_ID = re.compile(r"[1-9]\d{0,9}", re.ASCII)
MAX_LAB_ID = 2**31 - 1
"""The largest number of a prediction in the tutorial's table, whose id column is a 32-bit integer."""
_SMALLEST_ID = UUID(int=0)
_ONE_SECOND = timedelta(seconds=1)
_PAGE_SIZE = 1000  # Small, so that statements are quick and locks are short.


@frozen
class Removed:
    """The numbers of deleted predictions and sales."""

    predictions: int
    sales: int


@define
class Records:
    """Read stored predictions, and delete them with their sales. Each method raises RepositoryUnavailable."""

    _predictions: PredictionRepository
    _sales: SaleRepository
    _clock: Clock
    _keys: PredictionKeys

    def one(self, id: UUID | str | int) -> Prediction:  # noqa: A002  # its name everywhere
        """Return the prediction with an id, or a number in the tutorial's table. Raises UnknownPrediction."""
        text = str(id)
        prediction = None
        if is_uuid(text):
            prediction = next(iter(self._predictions.find([UUID(text)])), None)
        elif _LAB_ID.fullmatch(text) and int(text) <= MAX_LAB_ID and isinstance(self._predictions, HasLabIds):
            prediction = self._predictions.find_by_lab_id(int(text))
        if prediction is None:
            raise UnknownPrediction(f"unknown prediction id: {text[:100]}")
        return prediction

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """Return the newest predictions; see PredictionRepository.recent."""
        return self._predictions.recent(limit, before)

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog | None]:
        """Return the newest predictions, and the backlog at that time (see HasBacklog) or None without one."""
        if isinstance(self._predictions, HasBacklog):
            return self._predictions.recent_and_backlog(limit, before)
        return self.recent(limit, before), None

    def backlog(self) -> Backlog | None:
        """Return the predictions that have not reached the database; None for a repository without a backlog."""
        return self._predictions.backlog() if isinstance(self._predictions, HasBacklog) else None

    def between(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Prediction]:
        """Iterate over the predictions made from `since` to before `until` (by default now), oldest first.

        Both times have a time zone. Predictions are read in pages.
        """
        first = _SMALLEST_ID if since is None else first_id_at(since)
        end = first_id_at(until or self._clock.now() + _ONE_SECOND)
        while page := self._predictions.between(first, end, _PAGE_SIZE):
            yield from page
            first = UUID(int=page[-1].id.int + 1)

    def require_all(self) -> None:
        """Raise RepositoryUnavailable unless all predictions can be read: a spool alone has only some."""
        self._predictions.between(_SMALLEST_ID, _SMALLEST_ID, 1)

    def check(self) -> None:
        """Raise RepositoryUnavailable unless a batch could be stored now."""
        self._predictions.check()

    def erase(self, ids: Sequence[UUID | str | int]) -> Removed:
        """Erase predictions with their sales, so that they are never stored again. Safe to repeat.

        Args:
            ids: ids, which may be unknown now since predictions may be in a spool, or numbers in the tutorial's table.

        Raises:
            UnknownPrediction: for an invalid id or an unknown number.
        """
        erased = [UUID(str(id_)) if is_uuid(str(id_)) else self.one(id_).id for id_ in ids]
        # Sales go first, since the number of an erased prediction can't be looked up again if this fails midway. They
        # are erased again at the end, since some may have been recorded meanwhile.
        sales = self._sales.erase(erased)
        predictions = self._predictions.erase(erased)
        return Removed(predictions, sales + self._sales.erase(erased))

    def prune(self, keep: timedelta) -> Removed:
        """Delete predictions older than `keep`, with their idempotency keys and sales, in pages."""
        before = first_id_at(self._clock.now() - keep)
        # Keys go first: repeating a key that outlived its predictions would create them again, with old ids.
        _prune_all(self._keys.prune, before)
        return Removed(_prune_all(self._predictions.prune, before), _prune_all(self._sales.prune, before))


def _prune_all(prune: Callable[[UUID, int], int], before: UUID) -> int:
    total, pruned = 0, _PAGE_SIZE
    while pruned == _PAGE_SIZE:
        pruned = prune(before, _PAGE_SIZE)
        total += pruned
    return total
