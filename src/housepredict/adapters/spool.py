"""A prediction repository that survives outages of the database: pending predictions wait in a spool on disk.

Erased predictions stay erased, even if some process still has them in its spool. The database decides: `erase` and
`prune` return after it has committed them, and from then on its appends ignore these ids, so draining a spool can't
restore a prediction. A read takes the predictions in the spool first, then asks the database which of them were erased
or pruned, and reads the database last. So it respects every erasure committed before it began, and finds a prediction
that is being drained in one of the two. A read also erases these ids in the spool, so that they stay hidden in the next
outage. If the spool can't be written, they are hidden in memory.

In this module, `behind` is the repository that the spool is in front of, usually PostgreSQL.
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

_BATCH_SIZE = 500
_LOWEST_ID = UUID(int=0)

_random = SystemRandom()  # drawing from the shared generator would change the results of code that seeds it
_log = logging.getLogger(__name__)


class ClosableRepository(PredictionRepository, Protocol):
    """A repository with connections to close."""

    def close(self) -> None:
        """Close its connections."""


@frozen
class Backoff:
    """Exponential backoff with jitter: delays in seconds double from `first` to `cap`, minus up to half at random."""

    first: float = 0.1
    cap: float = 5.0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after `failures` in a row. After 0, it is the pause between two passes."""
        max_delay = min(self.cap, self.first * 2.0 ** min(failures - 1, 30)) if failures else self.cap
        return max_delay * _random.uniform(0.5, 1.0)


def in_thread(append: Callable[[], None], done: Done) -> None:
    """Call `append` in a thread. The running event loop then calls `done` with the exception it raised, or None."""

    def run() -> Exception | None:
        try:
            append()
        except Exception as error:  # noqa: BLE001  # `done` must be called in any case
            return error
        return None

    future = asyncio.get_running_loop().run_in_executor(None, run)
    future.add_done_callback(lambda finished: done(finished.result()))


@define
class SpooledPredictions:
    """A PredictionRepository that appends to the database, and during an outage to a local spool.

    A thread connects to the database and drains the spool into it, oldest first. Once the spool is empty, appends go to
    the database again. The timeouts are those of the database's repository: at most one call waits that long in an
    outage. The database ignores known ids, so a batch whose commit is uncertain is sent again.
    """

    _spool: SqliteSpool
    _open_behind: Callable[[], ClosableRepository]
    _backoff: Backoff
    _fatal: tuple[type[RepositoryUnavailable], ...] = ()
    _in_thread: Callable[[Callable[[], None], Done], None] = in_thread
    _behind: ClosableRepository | None = field(default=None, init=False)
    _in_loop: AppendsInLoop | None = field(default=None, init=False)  # `_behind`, if it supports event loops
    # Why the last call of the repository behind failed; None if it succeeded.
    _fault: RepositoryUnavailable | None = field(default=None, init=False)
    # Set while this process has nothing pending, so that appends go to the database. It changes only under
    # `_append_lock`, which appends to the spool hold, too: none can happen between the last drained batch and a change.
    _direct: Event = field(factory=Event, init=False, repr=False)
    _append_lock: Lock = field(factory=Lock, init=False, repr=False)
    # Held while a batch is drained, and while predictions in the spool and behind are counted. To avoid deadlocks, its
    # holder never waits for `_append_lock`.
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
        """Start the thread, and wait up to `patience` seconds until it has tried to reach the database.

        Args:
            spool: stores pending predictions.
            open_behind: connects to the database.
            backoff: the delays between attempts.
            patience: in seconds.
            fatal: errors to raise here if the first attempt fails with one. Other outages don't prevent the start.
        """
        predictions = cls(spool, open_behind, backoff or Backoff(), fatal)
        predictions._thread = Thread(target=predictions._run, name="housepredict-spool", daemon=True)
        predictions._thread.start()
        predictions._tried.wait(patience)
        if isinstance(predictions._fault, fatal):
            predictions.close()
            raise predictions._fault.with_traceback(None)
        return predictions

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
        """Append as `append` does, in a thread if it would block the event loop. Always returns True."""

        def finish(fault: Exception | None) -> None:
            if isinstance(fault, RepositoryUnavailable):
                self._in_thread(partial(self._append_to_spool, predictions, fault), done)
            else:
                done(fault)

        behind = self._in_loop if self._direct.is_set() else None
        if behind is None or not behind.append_in_loop(predictions, finish):
            self._in_thread(partial(self.append, predictions), done)
        return True

    def _append_to_spool(self, predictions: Sequence[Prediction], fault: RepositoryUnavailable) -> None:
        """Store a batch in the spool after a failed append, which the database may have committed nevertheless."""
        with self._append_lock:
            self._stop_direct(fault)
            self._spool.append(predictions)

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch in the database, or raise. Only predictions that it will never accept go to the spool."""
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
                self._wake.set()  # the database is available, so the thread needn't wait

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        return self.recent_and_backlog(limit, before)[0]

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        def read(repository: PredictionRepository) -> Sequence[Prediction]:
            return repository.recent(limit, before)

        reason = None
        try:
            newest = self._query(lambda behind: self._read_spool(behind, read) | _by_id(read(behind)))
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
            known = self._query(read)
        except SpoolUnavailable:
            raise
        except RepositoryUnavailable:
            known = _by_id(self._spool.find(ids))
            if set(ids) - known.keys():  # these may be in the database
                raise
        return [known[id_] for id_ in sorted(known)]

    def between(self, first: UUID, end: UUID, limit: int) -> Sequence[Prediction]:
        def read(repository: PredictionRepository) -> Sequence[Prediction]:
            return repository.between(first, end, limit)

        oldest = self._query(lambda behind: self._read_spool(behind, read) | _by_id(read(behind)))
        return [oldest[id_] for id_ in sorted(oldest)[:limit]]

    def erase(self, ids: Sequence[UUID]) -> int:
        def erase_behind(behind: ClosableRepository) -> int:
            with self._batch_lock:  # a batch drained between two of these calls would be counted twice
                spooled = self._read_spool(behind, lambda spool: spool.find(ids)).keys()
                arrived = _by_id(behind.find(list(spooled)) if spooled else ()).keys()
                return behind.erase(ids) + len(spooled - arrived)

        known = self._query(erase_behind)
        self._spool.erase(ids)
        return known

    def prune(self, before: UUID, limit: int) -> int:
        def prune_both(behind: ClosableRepository) -> int:
            pruned, end = 0, None
            with self._batch_lock:
                for prediction in self._spool.between(_LOWEST_ID, before, limit):
                    pruned += behind.prune(prediction.id, limit - pruned)  # older ones
                    if pruned == limit:
                        break
                    end = next_id(prediction.id)
                    behind.prune(end, 1)  # it may be stored there, too; from now on, its id is ignored there
                    pruned += 1
                else:
                    pruned += behind.prune(before, limit - pruned)
                if end:
                    self._spool.prune(end, sys.maxsize)  # all ids that the database ignores now
            return pruned

        return self._query(prune_both)

    def find_erased(self, ids: Sequence[UUID]) -> Sequence[UUID]:
        return self._query(lambda behind: behind.find_erased(ids))

    def find_by_lab_id(self, number: int) -> Prediction | None:
        # Predictions of the tutorial's service were never in a spool.
        return self._query(lambda behind: behind.find_by_lab_id(number) if isinstance(behind, HasLabIds) else None)

    def check(self) -> None:
        """Check that the database or the spool could store a batch now.

        Raises:
            MisconfiguredRepository: if the database can't become available without a change of its settings.
            RepositoryUnavailable: if neither of them can store a batch.
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
        """Wait up to `timeout` seconds until this process has nothing pending. Returns whether that is so."""
        return self._direct.wait(timeout)

    def close(self, grace: float = 5.0) -> None:
        """Drain the spool for up to `grace` seconds, then close the spool and the database. The rest stays pending."""
        self._stopping.set()
        self._wake.set()
        with ExitStack() as closing:
            # If the thread is still busy, it fails at the closed spool, and its batch stays there.
            closing.callback(self._spool.close)
            if self._thread:
                self._thread.join(grace)
            if self._behind:
                closing.callback(self._behind.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _query(self, query: Callable[[ClosableRepository], T]) -> T:
        """Call `query` with the repository behind. Raises RepositoryUnavailable during an outage."""
        if self._behind is None or self._fault:
            raise RepositoryUnavailable(f"predictions cannot be read or erased: {self._reason}")
        try:
            return query(self._behind)
        except SpoolUnavailable:
            raise
        except RepositoryUnavailable as error:
            with self._append_lock:
                self._stop_direct(error)
            raise

    def _read_spool(
        self, behind: ClosableRepository, read: Callable[[SqliteSpool], Sequence[Prediction]]
    ) -> dict[UUID, Prediction]:
        """Return predictions in the spool that were not erased, by id.

        Callers read the repository behind afterwards: drained predictions are there by then.
        """
        while spooled := _by_id(read(self._spool)):
            erased = behind.find_erased(list(spooled))
            if not erased:
                break
            self._spool.hide(erased)  # and read again: within a limit, other predictions replace them
        return spooled

    @property
    def _reason(self) -> object:
        return self._fault or "the database has not answered yet"

    def _stop_direct(self, fault: RepositoryUnavailable) -> None:
        """Append to the spool from now on. The caller holds `_append_lock`, so that no pass clears the fault."""
        self._report(fault)
        if self._direct.is_set():  # otherwise the thread knows, and retries after its delay
            self._direct.clear()
            self._wake.set()

    def _report(self, error: RepositoryUnavailable) -> None:
        raised_by_open = isinstance(error, self._fatal) and not self._tried.is_set()
        if not raised_by_open and (self._fault is None or str(self._fault) != str(error)):
            level = logging.ERROR if isinstance(error, MisconfiguredRepository) else logging.WARNING
            _log.log(level, "predictions are pending in the spool: %s", error)
        self._fault = error

    def _run(self) -> None:
        failures = 0
        while True:
            stopping = self._stopping.is_set()  # read before the pass: the last pass must follow the last append
            try:
                # False without an error: another process is draining the spool.
                failures = 0 if self._drain() else 1
            except SpoolUnavailable as error:
                _log.warning("the spool cannot be drained: %s", error)
                failures += 1
            except RepositoryUnavailable as error:
                self._report(error)
                failures += 1
            except Exception:  # noqa: BLE001  # the thread must outlive any error of a repository
                _log.exception("draining the spool failed unexpectedly")
                failures += 1
            self._tried.set()
            if stopping:
                return
            self._wake.wait(self._backoff.delay(failures))
            self._wake.clear()

    def _drain(self) -> bool:
        """Drain the spool in one pass. Returns whether appends go to the database now."""
        if self._behind is None:
            self._behind = behind = self._open_behind()
            self._in_loop = behind if isinstance(behind, AppendsInLoop) else None
        self._tried.set()
        with self._spool.draining() as has_lock:
            drained = self._send_pending(self._behind) if has_lock else 0
            if not drained and (self._fault or not self._direct.is_set()):
                self._probe(self._behind)
                self._fault = None
            # A busy service never stops appending. The database is available, so appends can wait for the last batches.
            with self._append_lock:
                drained += self._send_pending(self._behind) if has_lock else 0
                if not self._fault and (has_lock or not self._spool.backlog().pending):
                    self._direct.set()
                else:
                    self._direct.clear()
        if drained:
            _log.info("predictions drained from the spool: %d", drained)
        return self._direct.is_set()

    def _probe(self, behind: ClosableRepository) -> None:
        """Check that the database stores batches. After a fault, `check` isn't enough: it passes on a full disk."""
        behind.check()
        if self._fault:
            with self._batch_lock, suppress(RefusedPredictions):  # the process that drains the spool handles it
                behind.append(self._spool.oldest(1))

    def _send_pending(self, behind: ClosableRepository) -> int:
        """Send pending predictions until a batch is not full. Returns the number sent."""
        sent = 0
        while True:
            with self._batch_lock:
                batch = self._spool.oldest(_BATCH_SIZE)
                if batch:
                    self._send(behind, batch)
            sent += len(batch)
            if len(batch) < _BATCH_SIZE:
                return sent

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
            _log.error("prediction %s was refused and is a dead letter in the spool now: %s", batch[0].id, error)
            self._spool.add_dead_letter(batch[0], str(error))
        else:
            self._fault = None  # cleared first: an error of the spool below says nothing about the database
            self._spool.remove(batch)


def _by_id(predictions: Iterable[Prediction]) -> dict[UUID, Prediction]:
    return {prediction.id: prediction for prediction in predictions}
