"""Predictions kept in this process: for tests, notebooks, and services whose estimates need not outlive them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock
from uuid import UUID

from attrs import define, field

from housepredict.domain.estimates import Prediction
from housepredict.domain.identifiers import first_id_at, next_id


@define
class InMemoryPredictions:
    """A PredictionRepository that forgets everything when the process ends. Threads may share it."""

    _by_id: dict[UUID, Prediction] = field(factory=dict, init=False, repr=False)
    _erased: set[UUID] = field(factory=set, init=False, repr=False)
    _watermark: UUID = field(default=UUID(int=0), init=False, repr=False)  # ids below it were pruned
    _ids: list[UUID] = field(factory=list, init=False, repr=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch, all or nothing. Ignores predictions whose id is known, was erased or was pruned."""
        # reversed: of two with the same id the first counts, as in every other repository
        given = {each.id: each for each in reversed(predictions)}
        with self._lock:
            # asked of each: the difference of two dictionaries' keys goes through all of both
            for new in sorted(each for each in given if each not in self._by_id and not self._is_erased(each)):
                self._by_id[new] = given[new]
                insort(self._ids, new)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first, at most `limit`; only those with an id below `before` if given."""
        with self._lock:
            end = len(self._ids) if before is None else bisect_left(self._ids, before)
            return [self._by_id[each] for each in reversed(self._ids[max(end - limit, 0) : end])]

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """The predictions with these ids, in the order of their ids; those that are not known are left out."""
        with self._lock:
            return [self._by_id[each] for each in sorted(set(ids)) if each in self._by_id]

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """The predictions with ids from `first` on and below `end`, oldest first, at most `limit`."""
        with self._lock:
            start, stop = bisect_left(self._ids, first), bisect_left(self._ids, end)
            return [self._by_id[each] for each in self._ids[start : min(start + limit, stop)]]

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids. Returns how many of them were known. They are never stored again."""
        with self._lock:
            self._erased.update(ids)
            known = [self._by_id.pop(each) for each in set(ids) if each in self._by_id]
            self._ids = sorted(self._by_id)
            return len(known)

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers below `before`. Returns the number."""
        with self._lock:
            oldest = sorted(each for each in self._by_id.keys() | self._erased if each < before)[:limit]
            for each in oldest:
                self._by_id.pop(each, None)
            self._erased.difference_update(oldest)
            self._ids = sorted(self._by_id)
            reached = [_not_ahead(before)] if len(oldest) < limit else []
            self._watermark = max([self._watermark, *reached, *map(next_id, oldest[-1:])])
            return len(oldest)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these ids that were erased or pruned."""
        with self._lock:
            return [each for each in ids if self._is_erased(each)]

    def _is_erased(self, identifier: UUID) -> bool:
        return identifier < self._watermark or identifier in self._erased

    def check(self) -> None:
        """Return: memory is always there."""


def _not_ahead(identifier: UUID) -> UUID:
    """An id, or the first of this millisecond if it lies in the future: the ids that come next must not be refused."""
    now = datetime.now(UTC)
    return identifier if identifier < first_id_at(now + timedelta(milliseconds=1)) else first_id_at(now)
