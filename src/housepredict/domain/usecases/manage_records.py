"""The stored predictions: looked up, listed, exported, erased and pruned."""

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
"""The largest number that a prediction may have in the tutorial's table, whose column is an integer."""
_FIRST_OF_ALL = UUID(int=0)
_ONE_SECOND = timedelta(seconds=1)
_PAGE = 1000  # so few that no statement takes long, and no lock is held long


@frozen
class Removed:
    """The number of deleted predictions and sales."""

    predictions: int
    sales: int


@define
class Records:
    """Read stored predictions, and delete them together with the sales recorded for them.

    Each method raises RepositoryUnavailable.
    """

    _predictions: PredictionRepository
    _sales: SaleRepository
    _clock: Clock
    _keys: PredictionKeys

    def one(self, id: UUID | str | int) -> Prediction:  # noqa: A002  # what it is called everywhere
        """The prediction with an id, or with its number in the tutorial's table. Raises UnknownPrediction."""
        text = str(id)
        prediction = None
        if is_uuid(text):
            prediction = next(iter(self._predictions.find([UUID(text)])), None)
        elif _LAB_ID.fullmatch(text) and int(text) <= MAX_LAB_ID and isinstance(self._predictions, HasLabIds):
            prediction = self._predictions.find_by_lab_id(int(text))
        if prediction is None:
            raise UnknownPrediction(f"no prediction {text[:100]} is remembered")
        return prediction

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first; see PredictionRepository."""
        return self._predictions.recent(limit, before)

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog | None]:
        """The newest predictions, and the backlog at that time; None for a repository that has none. See HasBacklog."""
        if isinstance(self._predictions, HasBacklog):
            return self._predictions.recent_and_backlog(limit, before)
        return self.recent(limit, before), None

    def backlog(self) -> Backlog | None:
        """The predictions that have not reached the database; None for a repository without a backlog."""
        return self._predictions.backlog() if isinstance(self._predictions, HasBacklog) else None

    def between(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Prediction]:
        """The predictions made from `since` on and before `until` (by default now), oldest first, read page by page.

        Both times have a time zone.
        """
        first = _FIRST_OF_ALL if since is None else first_id_at(since)
        end = first_id_at(until or self._clock.now() + _ONE_SECOND)
        while page := self._predictions.between(first, end, _PAGE):
            yield from page
            first = UUID(int=page[-1].id.int + 1)

    def require_all(self) -> None:
        """Raise RepositoryUnavailable unless all predictions can be read: those in a spool are not all."""
        self._predictions.between(_FIRST_OF_ALL, _FIRST_OF_ALL, 1)

    def check(self) -> None:
        """Return if a batch could be stored now."""
        self._predictions.check()

    def erase(self, ids: Sequence[UUID | str | int]) -> Removed:
        """Erase predictions and their sales, by ids or by numbers in the tutorial's table. Safe to repeat.

        An erased id is never stored again, even if it is unknown now: it may be in a spool. Raises UnknownPrediction
        for a text that is no id, and for an unknown number.
        """
        erased = [UUID(str(id_)) if is_uuid(str(id_)) else self.one(id_).id for id_ in ids]
        # the sales first: the number of an erased prediction can't be looked up again; and once more, for the sales
        # that were recorded until the prediction was erased
        sales = self._sales.erase(erased)
        predictions = self._predictions.erase(erased)
        return Removed(predictions, sales + self._sales.erase(erased))

    def prune(self, keep: timedelta) -> Removed:
        """Delete predictions that are older than `keep`, their keys and their sales, a page at a time."""
        before = first_id_at(self._clock.now() - keep)
        # the keys first: a key that outlived its predictions would have them made again, with old ids
        _all(self._keys.prune, before)
        return Removed(_all(self._predictions.prune, before), _all(self._sales.prune, before))


def _all(prune: Callable[[UUID, int], int], before: UUID) -> int:
    total, pruned = 0, _PAGE
    while pruned == _PAGE:
        pruned = prune(before, _PAGE)
        total += pruned
    return total
