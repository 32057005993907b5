"""Use cases for stored predictions: look up, list, export, erase and prune them."""

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
"""Maximum lab id (see HasLabIds), because the id column in the tutorial's database is a 32-bit integer."""
_SMALLEST_ID = UUID(int=0)
_ONE_SECOND = timedelta(seconds=1)
_PAGE_SIZE = 1000  # Small enough for quick statements and short locks.


@frozen
class Removed:
    """The numbers of deleted predictions and sales."""

    predictions: int
    sales: int


@define
class Records:
    """Read access to stored predictions, and their deletion together with their sales.

    Every method raises RepositoryUnavailable if the repository can't be used.
    """

    _predictions: PredictionRepository
    _sales: SaleRepository
    _clock: Clock
    _keys: PredictionKeys

    def one(self, id: UUID | str | int) -> Prediction:  # noqa: A002  # The parameter is called `id` everywhere.
        """Return the prediction with a given id or lab id (see HasLabIds).

        Raises:
            UnknownPrediction: if there is no such prediction.
        """
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
        """Return the `limit` newest predictions, newest first. If `before` is given, only ids below it are included."""
        return self._predictions.recent(limit, before)

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog | None]:
        """Return the newest predictions (see `recent`), and the backlog at the time when they were read.

        The backlog is None if the repository never has one (see HasBacklog).
        """
        if isinstance(self._predictions, HasBacklog):
            return self._predictions.recent_and_backlog(limit, before)
        return self.recent(limit, before), None

    def backlog(self) -> Backlog | None:
        """Return the state of the predictions that have not reached the database.

        The result is None if the repository never has a backlog (see HasBacklog).
        """
        return self._predictions.backlog() if isinstance(self._predictions, HasBacklog) else None

    def between(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Prediction]:
        """Iterate over the predictions with `since` <= creation time < `until`, oldest first.

        Predictions are read in pages.

        Args:
            since: start of the period, with a time zone. By default, there is no lower limit.
            until: end of the period, with a time zone. By default, this is the current time.
        """
        first = _SMALLEST_ID if since is None else first_id_at(since)
        end = first_id_at(until or self._clock.now() + _ONE_SECOND)
        while page := self._predictions.between(first, end, _PAGE_SIZE):
            yield from page
            first = UUID(int=page[-1].id.int + 1)

    def require_all(self) -> None:
        """Raise RepositoryUnavailable if some predictions can't be read, for example if only a spool is available."""
        self._predictions.between(_SMALLEST_ID, _SMALLEST_ID, 1)

    def check(self) -> None:
        """Raise RepositoryUnavailable if the repository can't currently store a batch."""
        self._predictions.check()

    def erase(self, ids: Sequence[UUID | str | int]) -> Removed:
        """Erase predictions and their sales so that they are never stored again. Safe to call again with the same ids.

        Args:
            ids: prediction ids or lab ids (see HasLabIds). Unknown prediction ids are accepted, because these
                predictions may still be in a spool.

        Raises:
            UnknownPrediction: if a prediction id is invalid or a lab id is unknown.
        """
        erased = [UUID(str(id_)) if is_uuid(str(id_)) else self.one(id_).id for id_ in ids]
        # Sales are erased first. If this fails midway, a retry must still be able to look up the predictions' lab ids.
        # Sales are erased again at the end, because more may have been recorded in the meantime.
        sales = self._sales.erase(erased)
        predictions = self._predictions.erase(erased)
        return Removed(predictions, sales + self._sales.erase(erased))

    def prune(self, keep: timedelta) -> Removed:
        """Delete the predictions older than the retention period `keep`, and their idempotency keys and sales."""
        before = first_id_at(self._clock.now() - keep)
        # Keys are deleted first. If a key outlived its predictions, a retried request would create them with old ids.
        _prune_all(self._keys.prune, before)
        return Removed(_prune_all(self._predictions.prune, before), _prune_all(self._sales.prune, before))


def _prune_all(prune: Callable[[UUID, int], int], before: UUID) -> int:
    total, pruned = 0, _PAGE_SIZE
    while pruned == _PAGE_SIZE:
        pruned = prune(before, _PAGE_SIZE)
        total += pruned
    return total
