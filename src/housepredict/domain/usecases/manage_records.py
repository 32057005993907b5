"""The predictions that are remembered: looked up, read in their order, and forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from attrs import define, frozen

from housepredict.domain.errors import UnknownPrediction
from housepredict.domain.estimates import Prediction
from housepredict.domain.identifiers import first_id_at, is_uuid
from housepredict.domain.ports import Clock, HasLabIds, PredictionKeys, PredictionRepository, SaleRepository

_LAB_ID = re.compile(r"[1-9]\d{0,9}", re.ASCII)
MAX_LAB_ID = 2**31 - 1
"""The largest number that a prediction may have in the tutorial's table, whose column is an integer."""
_FIRST_OF_ALL = UUID(int=0)
_ONE_SECOND = timedelta(seconds=1)
_PAGE = 1000  # so few that no statement takes long, and no lock is held long


@frozen
class Removed:
    """How many predictions and sales were known and are no more."""

    predictions: int
    sales: int


@define
class Records:
    """Look up and read what was estimated, and forget it together with the sales that came back for it."""

    _predictions: PredictionRepository
    _sales: SaleRepository
    _clock: Clock
    _keys: PredictionKeys

    def one(self, id: UUID | str | int) -> Prediction:  # noqa: A002  # what it is called everywhere
        """The prediction with an id, or with the number that it had in the tutorial's table.

        Raises UnknownPrediction, or RepositoryUnavailable.
        """
        text = str(id)
        if is_uuid(text):
            found = next(iter(self._predictions.find([UUID(text)])), None)
        elif _LAB_ID.fullmatch(text) and int(text) <= MAX_LAB_ID and isinstance(self._predictions, HasLabIds):
            found = self._predictions.find_by_lab_id(int(text))
        else:
            found = None
        if found is None:
            raise UnknownPrediction(f"no prediction {text[:100]} is remembered")
        return found

    def between(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[Prediction]:
        """What was estimated from `since` on and before `until`, which have a zone, oldest first; read as it is asked
        for. Without `until` it ends at what is estimated now. Raises RepositoryUnavailable, also on the way.
        """
        first = _FIRST_OF_ALL if since is None else first_id_at(since)
        end = first_id_at(until or self._clock.now() + _ONE_SECOND)
        while page := self._predictions.between(first, end, _PAGE):
            yield from page
            first = UUID(int=page[-1].id.int + 1)

    def require_all(self) -> None:
        """Raise RepositoryUnavailable while some predictions cannot be read: what waits in a spool is not all."""
        self._predictions.between(_FIRST_OF_ALL, _FIRST_OF_ALL, 1)

    def erase(self, ids: Sequence[UUID | str | int]) -> Removed:
        """Forget predictions for good, by their ids or their numbers in the tutorial's table, and the sales of them.

        An id that is not known is never recorded from now on: it may wait somewhere. Raises UnknownPrediction for
        what is no id, or no number of a prediction, and RepositoryUnavailable; then it may be asked for again.
        """
        found = [UUID(str(each)) if is_uuid(str(each)) else self.one(each).id for each in ids]
        # the sales first: of a prediction that is gone, nobody knows the number that it had. And those, too, that were
        # recorded until it was gone.
        sales = self._sales.erase(found)
        predictions = self._predictions.erase(found)
        return Removed(predictions, sales + self._sales.erase(found))

    def prune(self, keep: timedelta) -> Removed:
        """Forget predictions that are older than `keep`, their keys and the sales of them, some at a time.

        Raises RepositoryUnavailable; what was forgotten until then is.
        """
        before = first_id_at(self._clock.now() - keep)
        # the keys first: one that outlived its predictions would have them made again, with ids of long ago
        _all(self._keys.prune, before)
        return Removed(_all(self._predictions.prune, before), _all(self._sales.prune, before))


def _all(prune: Callable[[UUID, int], int], before: UUID) -> int:
    total, pruned = 0, _PAGE
    while pruned == _PAGE:
        pruned = prune(before, _PAGE)
        total += pruned
    return total
