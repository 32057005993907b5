"""A repository that survives the loss of the one behind it: what that does not take waits in a spool on disk.

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
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from random import SystemRandom
from threading import Event, Lock, Thread
from typing import Protocol, Self, TypeVar
from uuid import UUID

from attrs import define, evolve, field, frozen

from housepredict.adapters.sqlite.spool_file import SpoolUnavailable, SqliteSpool
from housepredict.domain.errors import MisconfiguredRepository, RefusedPredictions, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.identifiers import next_id
from housepredict.domain.ports import AppendsInLoop, Backlog, HasLabIds, PredictionRepository

T = TypeVar("T")
Done = Callable[[Exception | None], None]

_BATCH = 500
_FIRST_OF_ALL = UUID(int=0)

_chance = SystemRandom()  # code that seeds the shared generator wants its numbers for itself
_log = logging.getLogger(__name__)


class ClosableRepository(PredictionRepository, Protocol):
    """A repository that holds something open."""

    def close(self) -> None:
        """Let go of it."""


@frozen
class Backoff:
    """How long to wait after a failure, in seconds: twice as long each time, up to `cap`, minus a random part."""

    first: float = 0.1
    cap: float = 5.0

    def delay(self, failures: int) -> float:
        """The wait after so many failures in a row; after none, until the next look at what other processes left."""
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


@define
class SpooledPredictions:
    """Appends to the repository behind it; from the first failure on, to the spool until that is drained.

    A thread opens the repository behind and drains the spool into it, oldest first. That repository sets the deadlines:
    an append or a read waits for it once in an outage. It ignores known ids, so a batch whose commit was uncertain is
    sent again.
    """

    _spool: SqliteSpool
    _open_behind: Callable[[], ClosableRepository]
    _backoff: Backoff
    _fatal: tuple[type[RepositoryUnavailable], ...] = ()
    _in_thread: Callable[[Callable[[], None], Done], None] = in_thread
    _behind: ClosableRepository | None = field(default=None, init=False)
    _in_loop: AppendsInLoop | None = field(default=None, init=False)  # the same, if it is one
    # why the last call of the repository behind failed
    _fault: RepositoryUnavailable | None = field(default=None, init=False)
    # Set while nothing of this process is pending: appends go straight through. Cleared and set under the lock, which
    # an append to the spool holds too: none slips in between the last batch that is drained and the flag.
    _direct: Event = field(factory=Event, init=False, repr=False)
    _append_lock: Lock = field(factory=Lock, init=False, repr=False)
    # Held while a batch is drained, and while predictions are counted that may be in the spool or behind. Its holder
    # does not wait for `_append_lock`.
    _batch_lock: Lock = field(factory=Lock, init=False, repr=False)
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
        """Start, waiting up to `patience` seconds for the repository behind, whether it is available or not.

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
        with self._append_lock:
            behind = self._behind if self._direct.is_set() else None
            if behind is None:
                self._spool.append(predictions)
                return
        try:
            behind.append(predictions)
        except RepositoryUnavailable as fault:
            self._append_to_spool(predictions, fault)

    def append_in_loop(self, predictions: Sequence[Prediction], done: Done) -> bool:
        """Append as `append` does; a thread waits for what would block the event loop. Returns True."""

        def ended(fault: Exception | None) -> None:
            if isinstance(fault, RepositoryUnavailable):
                self._in_thread(partial(self._append_to_spool, predictions, fault), done)
            else:
                done(fault)

        behind = self._in_loop if self._direct.is_set() else None
        if behind is None or not behind.append_in_loop(predictions, ended):
            self._in_thread(partial(self.append, predictions), done)
        return True

    def _append_to_spool(self, predictions: Sequence[Prediction], fault: RepositoryUnavailable) -> None:
        """Record in the spool what the repository behind has not taken, or may not have."""
        with self._append_lock:
            self._stop_direct(fault)
            self._spool.append(predictions)

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Record a batch behind, and never in the spool; only a batch that is refused for good becomes dead letters."""
        if self._behind is None:
            raise RepositoryUnavailable(f"predictions cannot be stored: {self._reason}")
        try:
            self._behind.append(predictions)
        except RefusedPredictions:
            self.append(predictions)
        except RepositoryUnavailable as fault:
            with self._append_lock:
                self._stop_direct(fault)
            raise
        else:
            if self._fault:
                self._fault = None
                self._wake.set()  # the end of a pause need not be waited for

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return self.recent_and_backlog(limit, before)[0]

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        def read(repository: PredictionRepository) -> Sequence[Prediction]:
            return repository.recent(limit, before)

        reason = None
        try:
            newest = self._ask(lambda behind: self._read_spool(behind, read) | _by_id(read(behind)))
        except SpoolUnavailable:
            raise
        except RepositoryUnavailable as error:
            newest, reason = _by_id(read(self._spool)), str(error)
        backlog = self.backlog()
        backlog = evolve(backlog, reason=backlog.reason or reason)
        return [newest[id_] for id_ in sorted(newest, reverse=True)[:limit]], backlog

    def find(self, ids: Sequence[UUID]) -> Sequence[Prediction]:
        def read(behind: ClosableRepository) -> dict[UUID, Prediction]:
            spooled = self._read_spool(behind, lambda spool: spool.find(ids))
            elsewhere = list(set(ids) - spooled.keys())
            return spooled | _by_id(behind.find(elsewhere) if elsewhere else ())

        try:
            known = self._ask(read)
        except SpoolUnavailable:
            raise
        except RepositoryUnavailable:
            known = _by_id(self._spool.find(ids))
            if set(ids) - known.keys():  # these may be behind
                raise
        return [known[id_] for id_ in sorted(known)]

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        def read(repository: PredictionRepository) -> Sequence[Prediction]:
            return repository.between(first, end, limit)

        oldest = self._ask(lambda behind: self._read_spool(behind, read) | _by_id(read(behind)))
        return [oldest[id_] for id_ in sorted(oldest)[:limit]]

    def erase(self, ids: Sequence[UUID]) -> int:
        def erase_behind(behind: ClosableRepository) -> int:
            with self._batch_lock:  # a batch that is drained between two of these calls would be counted twice
                spooled = self._read_spool(behind, lambda spool: spool.find(ids)).keys()
                arrived = _by_id(behind.find(list(spooled)) if spooled else ()).keys()
                return behind.erase(ids) + len(spooled - arrived)

        known = self._ask(erase_behind)
        self._spool.erase(ids)
        return known

    def prune(self, before: UUID, limit: int) -> int:
        def prune_both(behind: ClosableRepository) -> int:
            pruned, end = 0, None
            with self._batch_lock:
                for prediction in self._spool.between(_FIRST_OF_ALL, before, limit):
                    pruned += behind.prune(prediction.id, limit - pruned)  # those that are older
                    if pruned == limit:
                        break
                    end = next_id(prediction.id)
                    behind.prune(end, 1)  # where it may be stored, too, and is refused from now on
                    pruned += 1
                else:
                    pruned += behind.prune(before, limit - pruned)
                if end:
                    self._spool.prune(end, sys.maxsize)  # all that is refused behind
            return pruned

        return self._ask(prune_both)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        return self._ask(lambda behind: behind.find_erased(ids))

    def find_by_lab_id(self, number: int) -> Prediction | None:
        # none of them was ever in the spool
        return self._ask(lambda behind: behind.find_by_lab_id(number) if isinstance(behind, HasLabIds) else None)

    def check(self) -> None:
        """Return if a batch could be stored in one of the two now.

        Raises:
            MisconfiguredRepository: if no wait makes the repository behind available.
            RepositoryUnavailable: if neither takes a batch.
        """
        if self._direct.is_set() and self._behind:
            try:
                self._behind.check()
            except RepositoryUnavailable as error:
                with self._append_lock:
                    self._stop_direct(error)
            else:
                return
        if isinstance(self._fault, MisconfiguredRepository):
            raise self._fault.with_traceback(None)
        self._spool.check()

    def backlog(self) -> Backlog:
        return evolve(self._spool.backlog(), reason=str(self._fault) if self._fault else None)

    def drained(self, timeout: float) -> bool:
        """Whether nothing of this process is pending and appends go straight through, within `timeout` seconds."""
        return self._direct.wait(timeout)

    def close(self, grace: float = 5.0) -> None:
        """Try once more to drain the spool, for up to `grace` seconds, and close both. What is pending stays there."""
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

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _ask(self, question: Callable[[ClosableRepository], T]) -> T:
        """Ask the repository behind, which the spool alone can't replace. Raises RepositoryUnavailable."""
        if self._behind is None or self._fault:
            raise RepositoryUnavailable(f"predictions cannot be looked for: {self._reason}")
        try:
            return question(self._behind)
        except SpoolUnavailable:
            raise
        except RepositoryUnavailable as error:
            with self._append_lock:
                self._stop_direct(error)
            raise

    def _read_spool(
        self, behind: ClosableRepository, read: Callable[[SqliteSpool], Sequence[Prediction]]
    ) -> dict[UUID, Prediction]:
        """Predictions in the spool that are not erased, by id. The repository behind is read afterwards: what leaves
        the spool has arrived there by then.
        """
        while spooled := _by_id(read(self._spool)):
            erased = behind.find_erased(list(spooled))
            if not erased:
                break
            # and read again: others take the place of these
            self._spool.hide(erased)
        return spooled

    @property
    def _reason(self) -> object:
        return self._fault or "the database has not answered yet"

    def _stop_direct(self, fault: RepositoryUnavailable) -> None:
        """Append to the spool from now on. The caller holds the lock: no pass that ends now clears the fault."""
        self._report(fault)
        if self._direct.is_set():  # else the thread knows, and tries again when its pause is over
            self._direct.clear()
            self._wake.set()

    def _report(self, error: RepositoryUnavailable) -> None:
        raised_by_open = isinstance(error, self._fatal) and not self._tried.is_set()
        if not raised_by_open and (self._fault is None or str(self._fault) != str(error)):
            level = logging.ERROR if isinstance(error, MisconfiguredRepository) else logging.WARNING
            _log.log(level, "predictions wait in the spool: %s", error)
        self._fault = error

    def _run(self) -> None:
        failures = 0
        while True:
            stopping = self._stopping.is_set()  # before the pass: the last one comes after the last append
            try:
                # neither drained nor failed: another process drains it, and is done soon
                failures = 0 if self._drain() else 1
            except SpoolUnavailable as error:
                _log.warning("the spool cannot be drained: %s", error)
                failures += 1
            except RepositoryUnavailable as error:
                self._report(error)
                failures += 1
            except Exception:  # noqa: BLE001  # the thread must outlive whatever a repository raises
                _log.exception("emptying the spool failed unexpectedly")
                failures += 1
            self._tried.set()
            if stopping:
                return
            self._wake.wait(self._backoff.delay(failures))
            self._wake.clear()

    def _drain(self) -> bool:
        """Drain the spool in one pass. Returns whether appends go straight through now."""
        if self._behind is None:
            self._behind = behind = self._open_behind()
            self._in_loop = behind if isinstance(behind, AppendsInLoop) else None
        self._tried.set()
        with self._spool.draining() as mine:
            moved = self._send_pending(self._behind) if mine else 0
            if not moved and (self._fault or not self._direct.is_set()):
                self._probe(self._behind)
                self._fault = None
            # It is available, so appends may wait while it takes what came meanwhile: a busy service leaves no gap.
            with self._append_lock:
                moved += self._send_pending(self._behind) if mine else 0
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
            with self._batch_lock, suppress(RefusedPredictions):  # a dead letter, for the process that drains the spool
                behind.append(self._spool.oldest(1))

    def _send_pending(self, behind: ClosableRepository) -> int:
        """Send all that is pending, but not what others append meanwhile. Returns the number of predictions."""
        moved = 0
        while True:
            with self._batch_lock:
                batch = self._spool.oldest(_BATCH)
                if batch:
                    self._send(behind, batch)
            moved += len(batch)
            if len(batch) < _BATCH:
                return moved

    def _send(self, behind: ClosableRepository, batch: Sequence[Prediction]) -> None:
        try:
            behind.append(batch)
        except RefusedPredictions as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._send(behind, batch[:middle])
                self._send(behind, batch[middle:])
                return
            self._fault = None
            _log.error("prediction %s is set aside in the spool: %s", batch[0].id, error)
            self._spool.add_dead_letter(batch[0], str(error))
        else:
            self._fault = None  # before the spool is written: its faults are not those of the repository behind
            self._spool.remove(batch)


def _by_id(predictions: Iterable[Prediction]) -> dict[UUID, Prediction]:
    return {prediction.id: prediction for prediction in predictions}
