"""Where predictions are remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

from attrs import frozen

from housepredict.domain.estimates import Prediction


class PredictionRepository(Protocol):
    """Remembers every prediction. Raises RepositoryUnavailable when it cannot."""

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch durably, all or nothing. Ignores predictions whose id is known, was erased or was pruned.

        Raises RefusedPredictions, if the repository can tell, for a batch that it will never take.
        """

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest predictions, newest first, at most `limit`; only those with an id below `before` if given."""

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """The predictions with these ids, each once, in the order of their ids; ids that are not known are left out.

        Raises RepositoryUnavailable, too, where it cannot tell of an id whether it is known.
        """

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """The predictions with ids from `first` on and below `end`, oldest first, at most `limit`.

        Raises RepositoryUnavailable, too, where it cannot tell all of them.
        """

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids durably, all or nothing. Returns how many of them were known.

        An erased id, known or not, is never stored again: appends ignore it, also those that are in flight. After this
        returns, no read gives it. Raises RepositoryUnavailable where that cannot be promised now.
        """

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers with ids below `before`. Returns the
        number deleted.

        A deleted id is never stored again. A repository can remember that without the markers, by a watermark above the
        newest id that it has deleted: ids are times, so appends may ignore all ids below it. The watermark must stay
        below the ids that come next, whatever `before` is: the clock of the caller may be wrong.
        """

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these ids that were erased or pruned, whether they were ever stored here or not.

        Raises RepositoryUnavailable, too, where it cannot tell of an id.
        """

    def check(self) -> None:
        """Return if a batch could be recorded now."""


@runtime_checkable
class AppendsInLoop(Protocol):
    """A PredictionRepository that can also be called by an event loop, which it does not block."""

    def append_in_loop(self, predictions: Sequence[Prediction], done: Callable[[Exception | None], None]) -> bool:
        """Begin to store a batch as `append` does. To be called in a running event loop.

        Returns:
            Whether it has begun. The event loop calls `done` afterwards, when the batch is stored, or with the error
            that `append` would raise. If it has not begun, nothing was sent, and `append` is to be called in a thread.
        """


@runtime_checkable
class AppendsShared(Protocol):
    """A PredictionRepository whose `append` may store a batch where other processes do not find it yet."""

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch as `append` does, where every process finds it when this returns.

        For predictions whose ids other processes may store as well: the first batch counts for all of them.

        Raises:
            RepositoryUnavailable: if the database cannot be reached. It may have stored the batch nevertheless.
        """


@runtime_checkable
class TakenOver(Protocol):
    """A repository that has taken over the predictions of the tutorial's service, which numbered them."""

    def of_lab(self, number: int) -> Prediction | None:
        """The prediction that had this number there; None if there is none. Raises RepositoryUnavailable."""


class RepositoryOpener(Protocol):
    """Opens a repository of other people's making."""

    def __call__(self, url: str) -> AbstractContextManager[PredictionRepository]:
        """The repository that a URL names, which is closed when its context is left. Raises RepositoryUnavailable."""


@frozen
class Backlog:
    """Predictions that are recorded here and have not reached the repository behind.

    `waiting` is how many will be tried again, `oldest` the time of the first of them; `set_aside` were refused for
    good and are kept. `reason` is why the repository behind takes none at the moment; None if it does.
    """

    waiting: int
    oldest: datetime | None
    set_aside: int
    reason: str | None = None

    def __bool__(self) -> bool:
        return bool(self.waiting or self.set_aside or self.reason)


@runtime_checkable
class Backlogged(Protocol):
    """A repository that may be behind: other readers do not see yet what waits here."""

    def backlog(self) -> Backlog:
        """What has not got through. Raises RepositoryUnavailable."""

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        """The newest predictions as `recent` reads them, and the backlog at that time.

        A page that lacks what the repository behind holds comes with the reason in its backlog. Asked afterwards,
        `backlog` may know of none any more.
        """
