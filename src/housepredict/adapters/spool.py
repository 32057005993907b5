"""A repository that survives the loss of the one behind it: what that one does not take waits on the local disk.

Erased predictions stay gone, whatever any spool holds. The repository behind decides: `erase` and `prune` return once
it has committed them, and from then on its appends ignore these ids, so no spool can bring one back there. A read takes
what the spool holds first, then asks the repository behind which of that was erased or pruned, and reads there last. So
it sees every erasure that was committed before it began, and a prediction that leaves the spool meanwhile is in one of
the two. What a read learns to be erased it erases in the spool, which never takes that id again: a process that is cut
off once more does not show it either. If the spool cannot be written, the process hides these ids in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from random import SystemRandom
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Protocol, Self, TypeVar
from uuid import UUID

from attrs import define, evolve, field, frozen

from housepredict.adapters.sqlite.spool_file import SpoolUnavailable, SqliteSpool
from housepredict.domain.errors import MisconfiguredRepository, RefusedPredictions, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.ports import AppendsInLoop, Backlog, HasLabIds, PredictionRepository

Done = Callable[[Exception | None], None]

_chance = SystemRandom()  # whoever seeds the shared generator wants its numbers for themselves


class ClosableRepository(PredictionRepository, Protocol):
    """A repository that holds something open."""

    def close(self) -> None:
        """Let go of it."""


@frozen
class Backoff:
    """How long to wait after a failure, in seconds: twice as long each time, up to `cap`, less some chance."""

    first: float = 0.1
    cap: float = 5.0

    def delay(self, failures: int) -> float:
        """The wait after so many failures in a row; after none, the time between looks at what others left behind."""
        longest = min(self.cap, self.first * 2.0 ** min(failures - 1, 30)) if failures else self.cap
        return longest * _chance.uniform(0.5, 1.0)


def in_thread(append: Callable[[], None], done: Done) -> None:
    """Call `append` in a thread; the running event loop then calls `done`, with what `append` has raised."""

    def run() -> Exception | None:
        try:
            append()
        except Exception as error:  # noqa: BLE001  # `done` is called in any case
            return error
        return None

    future = asyncio.get_running_loop().run_in_executor(None, run)
    future.add_done_callback(lambda ended: done(ended.result()))


_log = logging.getLogger(__name__)

_BATCH = 500


def empty(
    spool: SqliteSpool,
    behind: PredictionRepository,
    taken: Callable[[], None],
    handing_over: AbstractContextManager[object],
) -> int:
    """Hand over all that waits, but not what others append meanwhile; report each batch that was taken. Each batch is
    handed over in the context `handing_over`.

    Returns the number of predictions. Raises RepositoryUnavailable.
    """
    moved = 0
    while True:
        with handing_over:
            batch = spool.oldest(_BATCH)
            if not batch:
                break
            _hand_over(spool, behind, batch, taken)
        moved += len(batch)
        if len(batch) < _BATCH:
            break
    return moved


def _hand_over(
    spool: SqliteSpool, behind: PredictionRepository, batch: Sequence[Prediction], taken: Callable[[], None]
) -> None:
    try:
        behind.append(batch)
    except RefusedPredictions as error:
        if len(batch) > 1:
            middle = len(batch) // 2
            _hand_over(spool, behind, batch[:middle], taken)
            _hand_over(spool, behind, batch[middle:], taken)
            return
        taken()
        _log.error("prediction %s is set aside in the spool: %s", batch[0].id, error)
        spool.set_aside(batch[0], str(error))
    else:
        taken()  # before the spool is written: its faults are not those of the repository behind
        spool.remove(batch)


T = TypeVar("T")

_FIRST_OF_ALL = UUID(int=0)


@define
class SpooledPredictions:
    """Appends to the repository behind while that takes what it is given, and to the spool from its first failure on.

    A thread opens the repository behind and empties the spool into it, oldest first; once nothing waits, appends go
    straight through again. Deadlines are the business of the repository behind: an append or a read waits for it once
    in an outage. What is known already is ignored there, so a batch whose commit was uncertain is sent again.
    """

    _spool: SqliteSpool
    _open_behind: Callable[[], ClosableRepository]
    _backoff: Backoff
    _fatal: tuple[type[RepositoryUnavailable], ...] = ()
    _in_thread: Callable[[Callable[[], None], Done], None] = in_thread
    _behind: ClosableRepository | None = field(default=None, init=False)
    _in_loop: AppendsInLoop | None = field(default=None, init=False)  # the same, if it is one
    # why the repository behind was not reached when it was tried last
    _fault: RepositoryUnavailable | None = field(default=None, init=False)
    # set: nothing of this process waits, and appends go straight through. Cleared, and set again, under the lock, which
    # an append to the spool holds too: none slips in between what is handed over last and the flag that says so.
    _direct: Event = field(factory=Event, init=False, repr=False)
    _turn: Lock = field(factory=Lock, init=False, repr=False)
    # held while a batch is handed over, and while predictions are counted that may be in the spool or behind. Whoever
    # holds it does not wait for `_turn`.
    _handing_over: Lock = field(factory=Lock, init=False, repr=False)
    _tried: Event = field(factory=Event, init=False, repr=False)
    _wake: Event = field(factory=Event, init=False, repr=False)
    _stopping: Event = field(factory=Event, init=False, repr=False)
    _thread: Thread | None = field(default=None, init=False, repr=False)

    @classmethod
    def open(
        cls,
        spool: SqliteSpool,
        open_behind: Callable[[], ClosableRepository],
        *,
        backoff: Backoff | None = None,
        patience: float = 3.0,
        fatal: tuple[type[RepositoryUnavailable], ...] = (),
    ) -> Self:
        """Start, waiting `patience` seconds at most for the repository behind; whether it is there or not.

        Raises: a fault of the `fatal` kinds, if it is known by then.
        """
        made = cls(spool, open_behind, backoff or Backoff(), fatal)
        made._thread = Thread(target=made._run, name="housepredict-spool", daemon=True)
        made._thread.start()
        made._tried.wait(patience)
        if isinstance(made._fault, fatal):
            made.close()
            raise made._fault.with_traceback(None)
        return made

    def append(self, predictions: Sequence[Prediction]) -> None:
        """Record a batch behind or, if that fails, in the spool. Raises RepositoryUnavailable if neither takes it."""
        with self._turn:
            behind = self._behind if self._direct.is_set() else None
            if behind is None:
                self._spool.append(predictions)
                return
        try:
            behind.append(predictions)
        except RepositoryUnavailable as fault:
            self._take_over(predictions, fault)

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        """As `append`; a thread waits for what would block the event loop. See AppendsInLoop."""

        def ended(fault: Exception | None) -> None:
            if isinstance(fault, RepositoryUnavailable):
                self._in_thread(partial(self._take_over, predictions, fault), done)
            else:
                done(fault)

        behind = self._in_loop if self._direct.is_set() else None
        if behind is None or not behind.append_in_loop(predictions, ended):
            self._in_thread(partial(self.append, predictions), done)
        return True

    def _take_over(self, predictions: Sequence[Prediction], fault: RepositoryUnavailable) -> None:
        """Record in the spool what the repository behind has not taken, or may not have."""
        with self._turn:
            self._lose(fault)
            self._spool.append(predictions)

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Record a batch behind, and not in the spool; see HasBacklog. Only what is refused for good goes there, to
        be set aside.
        """
        if self._behind is None:
            raise RepositoryUnavailable(f"predictions cannot be stored: {self._reason()}")
        try:
            self._behind.append(predictions)
        except RefusedPredictions:
            self.append(predictions)
        except RepositoryUnavailable as fault:
            with self._turn:
                self._lose(fault)
            raise
        else:
            self._recover()

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        """The newest of what is spooled and what is behind; the former alone while the latter is known to be away."""
        return self.recent_and_backlog(limit, before)[0]

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        """As `recent`; what is behind may be back, and the spool empty, by the time that `backlog` is asked."""

        def read(repository: PredictionRepository) -> Sequence[Prediction]:
            return repository.recent(limit, before)

        reason = None
        try:
            found = self._complete(lambda behind: self._spooled(behind, read) | _by_id(read(behind)))
        except SpoolUnavailable:
            raise
        except RepositoryUnavailable as error:
            found, reason = _by_id(read(self._spool)), str(error)
        backlog = self.backlog()
        return [found[each] for each in sorted(found, reverse=True)[:limit]], evolve(
            backlog, reason=backlog.reason or reason
        )

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        """The predictions with these ids, in the order of their ids; those that are not known are left out.

        Raises RepositoryUnavailable for ids that are not in the spool while what is behind is away: they may be there.
        """

        def read(behind: ClosableRepository) -> dict[UUID, Prediction]:
            spooled = self._spooled(behind, lambda spool: spool.find(ids))
            elsewhere = list(set(ids) - spooled.keys())
            return spooled | _by_id(behind.find(elsewhere) if elsewhere else ())

        try:
            found = self._complete(read)
        except SpoolUnavailable:
            raise
        except RepositoryUnavailable:
            found = _by_id(self._spool.find(ids))
            if set(ids) - found.keys():
                raise
        return [found[each] for each in sorted(found)]

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        """The predictions with ids from `first` on and below `end`, oldest first, at most `limit`, of both.

        Raises RepositoryUnavailable while what is behind is away.
        """

        def read(repository: PredictionRepository) -> Sequence[Prediction]:
            return repository.between(first, end, limit)

        found = self._complete(lambda behind: self._spooled(behind, read) | _by_id(read(behind)))
        return [found[each] for each in sorted(found)[:limit]]

    def erase(self, ids: Sequence[UUID]) -> int:
        """Erase these ids. Returns how many of them were known. They are never stored again, nor shown: see above.

        Raises RepositoryUnavailable while what is behind is away.
        """
        known = self._complete(lambda behind: self._erase_behind(behind, ids))
        self._spool.erase(ids)
        return known

    def prune(self, before: UUID, limit: int) -> int:
        """Delete up to `limit` of the oldest predictions and erasure markers below `before`. Returns the number.

        Raises RepositoryUnavailable while what is behind is away.
        """
        return self._complete(lambda behind: self._prune(behind, before, limit))

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        """Those of these ids that were erased or pruned. Raises RepositoryUnavailable while what is behind is away."""
        return self._complete(lambda behind: behind.find_erased(ids))

    def find_by_lab_id(self, number: int) -> Prediction | None:
        """The prediction that had this number in the tutorial's table; none of them was ever in the spool."""
        return self._complete(lambda behind: behind.find_by_lab_id(number) if isinstance(behind, HasLabIds) else None)

    def check(self) -> None:
        """Return if a batch could be recorded somewhere now. Raises MisconfiguredRepository if nothing will mend."""
        if self._direct.is_set() and self._behind:
            try:
                self._behind.check()
            except RepositoryUnavailable as error:
                with self._turn:
                    self._lose(error)
            else:
                return
        if isinstance(self._fault, MisconfiguredRepository):
            raise self._fault.with_traceback(None)
        self._spool.check()

    def backlog(self) -> Backlog:
        """What is in the spool, and why."""
        return evolve(self._spool.backlog(), reason=str(self._fault) if self._fault else None)

    def drained(self, timeout: float) -> bool:
        """Whether nothing of this process waits and appends go straight through, within `timeout` seconds."""
        return self._direct.wait(timeout)

    def close(self, grace: float = 5.0) -> None:
        """Try once more to empty the spool, for `grace` seconds at most, and close both; what is left is kept."""
        self._stopping.set()
        self._wake.set()
        with ExitStack() as closing:
            # a thread that is still busy then fails at the closed spool, in which its batch stays
            closing.callback(self._spool.close)
            if self._thread:
                self._thread.join(grace)
            if self._behind:
                closing.callback(self._behind.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _complete(self, ask: Callable[[ClosableRepository], T]) -> T:
        """What the repository behind says to what the spool alone cannot answer. Raises RepositoryUnavailable."""
        if self._behind is None or self._fault:
            raise RepositoryUnavailable(f"predictions cannot be looked for: {self._reason()}")
        try:
            return ask(self._behind)
        except SpoolUnavailable:
            raise
        except RepositoryUnavailable as error:
            with self._turn:
                self._lose(error)
            raise

    def _spooled(
        self, behind: ClosableRepository, read: Callable[[SqliteSpool], Sequence[Prediction]]
    ) -> dict[UUID, Prediction]:
        """What is read from the spool, by id, of what is not erased. To be called before the repository behind is read:
        what leaves the spool is there by then.
        """
        while found := _by_id(read(self._spool)):
            erased = behind.find_erased(list(found))
            if not erased:
                break
            # and read again: others take the place of these
            self._spool.hide(erased)
        return found

    def _erase_behind(self, behind: ClosableRepository, ids: Sequence[UUID]) -> int:
        with self._handing_over:  # what arrives between two of these calls would be counted twice
            spooled = self._spooled(behind, lambda spool: spool.find(ids)).keys()
            arrived = _by_id(behind.find(list(spooled)) if spooled else ()).keys()
            return behind.erase(ids) + len(spooled - arrived)

    def _prune(self, behind: ClosableRepository, before: UUID, limit: int) -> int:
        with self._handing_over:
            oldest = self._spool.between(_FIRST_OF_ALL, before, 1)
            # a repository that finds less than the limit refuses all below `before`: what is here has to go first
            pruned = behind.prune(oldest[0].id if oldest else before, limit)
            if oldest:
                pruned += self._spool.prune(before, limit - pruned)
                pruned += behind.prune(before, limit - pruned)
            return pruned

    def _reason(self) -> object:
        return self._fault or "the database has not answered yet"

    def _recover(self) -> None:
        """What is behind has taken a batch that did not wait in the spool."""
        if self._fault:
            self._fault = None
            self._wake.set()  # what waits need not wait for the end of a pause

    def _lose(self, fault: RepositoryUnavailable) -> None:
        """Called under the lock, so that no pass that ends now takes the fault for mended."""
        self._note(fault)
        if self._direct.is_set():  # else the thread knows, and comes when its pause is over
            self._direct.clear()
            self._wake.set()

    def _note(self, error: RepositoryUnavailable) -> None:
        raised = isinstance(error, self._fatal) and not self._tried.is_set()
        if not raised and (self._fault is None or str(self._fault) != str(error)):
            level = logging.ERROR if isinstance(error, MisconfiguredRepository) else logging.WARNING
            _log.log(level, "predictions wait in the spool: %s", error)
        self._fault = error

    def _run(self) -> None:
        failures = 0
        while True:
            stopping = self._stopping.is_set()  # before the pass: the last one comes after the last append
            try:
                # neither emptied nor failed: another process has its turn, and is done soon
                failures = 0 if self._pass() else 1
            except SpoolUnavailable as error:
                _log.warning("the spool cannot be drained: %s", error)
                failures += 1
            except RepositoryUnavailable as error:
                self._note(error)
                failures += 1
            except Exception:  # noqa: BLE001  # the thread must outlive whatever a repository comes up with
                _log.exception("emptying the spool failed unexpectedly")
                failures += 1
            self._tried.set()
            if stopping:
                return
            self._wake.wait(self._backoff.delay(failures))
            self._wake.clear()

    def _pass(self) -> bool:
        """Hand over what waits. Whether appends go straight through now."""
        if self._behind is None:
            self._behind = behind = self._open_behind()
            self._in_loop = behind if isinstance(behind, AppendsInLoop) else None
        self._tried.set()
        with self._spool.emptying() as mine:
            moved = self._empty(self._behind) if mine else 0
            if not moved and (self._fault or not self._direct.is_set()):
                self._probe(self._behind)
                self._fault = None
            # it is well, so appends may wait while it takes what came meanwhile: a busy service would leave no gap
            with self._turn:
                moved += self._empty(self._behind) if mine else 0
                if not self._fault and (mine or not self._spool.backlog().pending):
                    self._direct.set()
                else:
                    self._direct.clear()
        if moved:
            _log.info("%d predictions left the spool", moved)
        return self._direct.is_set()

    def _probe(self, behind: ClosableRepository) -> None:
        """Return if the database stores batches. After a fault a check isn't enough, since it passes on a full disk."""
        behind.check()
        if self._fault:
            with self._handing_over, suppress(RefusedPredictions):  # set aside by the process that drains the spool
                behind.append(self._spool.oldest(1))

    def _empty(self, behind: ClosableRepository) -> int:
        return empty(self._spool, behind, self._mended, self._handing_over)

    def _mended(self) -> None:
        self._fault = None


def _by_id(predictions: Iterable[Prediction]) -> dict[UUID, Prediction]:
    return {each.id: each for each in predictions}
