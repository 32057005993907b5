"""A spool whose faults differ from those of the database, and that shows no prediction known to be erased.

A spool may be readable and not writable: the file is locked, or the disk is full. Then ids that the database calls
erased cannot be erased in the spool. They are hidden in memory instead until the spool takes them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from attrs import define, field

from housepredict.adapters.spooled.spool import Spool
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import Backlog

_log = logging.getLogger(__name__)


class SpoolUnavailable(RepositoryUnavailable):
    """The spool cannot be read or written. The database may be available."""


@define
class GuardedSpool:
    """A Spool that raises SpoolUnavailable, and leaves ids out of reads whose erasure it could not store."""

    _spool: Spool
    _hidden: set[UUID] = field(factory=set, init=False)

    def append(self, predictions: Sequence[Prediction]) -> None:
        """See Spool."""
        with _translated():
            self._spool.append(predictions)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """See Spool."""
        return self._visible(lambda larger: self._spool.recent(larger, before), limit)

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """See Spool."""
        return self._visible(lambda _: self._spool.find(ids), len(ids))

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """See Spool."""
        return self._visible(lambda larger: self._spool.between(first, end, larger), limit)

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids. Where this raises SpoolUnavailable, they are hidden until a later call can store them."""
        self._hidden.update(ids)
        pending = set(self._hidden)
        with _translated():
            known = self._spool.erase(list(pending))
        self._hidden.difference_update(pending)
        return known

    def hide(self, ids: Sequence[UUID]) -> None:
        """Erase these ids in the spool if it can be written; leave them out of reads in any case."""
        try:
            self.erase(ids)
        except SpoolUnavailable as error:
            _log.warning("%d erased predictions are hidden, since the spool is not writable: %s", len(ids), error)

    def prune(self, before: UUID, limit: int) -> int:
        """See Spool."""
        with _translated():
            return self._spool.prune(before, limit)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """See Spool."""
        with _translated():
            return self._spool.find_erased(ids)

    def check(self) -> None:
        """See Spool."""
        with _translated():
            self._spool.check()

    def oldest(self, limit: int) -> Sequence[Prediction]:
        """See Spool. Includes hidden predictions: the database ignores them, and they leave the spool."""
        with _translated():
            return self._spool.oldest(limit)

    def remove(self, predictions: Sequence[Prediction]) -> None:
        """See Spool."""
        with _translated():
            self._spool.remove(predictions)

    def set_aside(self, refused: Prediction, reason: str) -> None:
        """See Spool."""
        with _translated():
            self._spool.set_aside(refused, reason)

    def backlog(self) -> Backlog:
        """See Spool."""
        with _translated():
            return self._spool.backlog()

    @contextmanager
    def emptying(self) -> Iterator[bool]:
        """See Spool."""
        # Faults of the database pass through here as well, so these are not translated.
        with self._spool.emptying() as mine:
            yield mine

    def close(self) -> None:
        """See Spool."""
        with _translated():
            self._spool.close()

    def _visible(self, read: Callable[[int], Sequence[Prediction]], limit: int) -> Sequence[Prediction]:
        hidden = set(self._hidden)
        # At most that many rows of the larger page are hidden, so that the page stays full.
        with _translated():
            rows = read(limit + len(hidden))
        return [row for row in rows if row.id not in hidden][:limit]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RepositoryUnavailable as error:
        raise SpoolUnavailable(*error.args) from error
