"""A prediction repository that survives database outages, because it stores pending predictions in a spool on disk.

Erased predictions stay erased, even if a process still has them in its spool. `erase` and `prune` return only after the
database has committed the deletion. From then on, the database ignores appends with the deleted ids, so draining a
spool can't restore a prediction.

A read takes three steps. It reads the spool, asks the database which of those predictions were erased or pruned, and
then reads the database. Therefore, a read omits every prediction whose erasure was committed before the read began, and
it can't miss a prediction that is being drained. A read also deletes erased predictions from the spool, so that reads
during the next outage don't return them. If the spool can't be written, the reading process remembers the ids of the
erased predictions and omits these predictions from its reads.

In this module, `behind` means the repository behind the spool, which is usually PostgreSQL.
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
    """A PredictionRepository with connections that must be closed."""

    def close(self) -> None:
        """Close the connections."""


@frozen
class Backoff:
    """The delays between attempts to drain the spool: exponential backoff with jitter.

    After the first failure, the delay is `first` seconds. It doubles with each further failure, up to `cap` seconds.
    After a success, the next attempt isn't urgent, so the delay is `cap`. Each delay is shortened at random by up to
    half.
    """

    first: float = 0.1
    cap: float = 5.0

    def delay(self, failures: int) -> float:
        """Return how many seconds to wait after `failures` consecutive failures, or after a success if this is 0."""
        max_delay = min(self.cap, self.first * 2.0 ** min(failures - 1, 30)) if failures else self.cap
        return max_delay * _random.uniform(0.5, 1.0)


def in_thread(append: Callable[[], None], done: Done) -> None:
    """Call `append` in another thread without waiting.

    Args:
        append: function to call.
        done: callback that the running event loop calls afterwards, with the exception that `append` raised, or with
            None on success.
    """

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
    """A PredictionRepository that appends to the database or, during an outage, to a local spool.

    A background thread connects to the database and drains the spool into it, oldest predictions first. Once the spool
    is empty, appends go to the database again. In an outage, at most one call has to wait for a timeout (which the
    database repository sets). If it is unknown whether a batch was committed, the batch is sent again. This is
    safe, because the database ignores ids that it already stores.
    """

    _spool: SqliteSpool
    _open_behind: Callable[[], ClosableRepository]
    _backoff: Backoff
    _fatal: tuple[type[RepositoryUnavailable], ...] = ()
    _in_thread: Callable[[Callable[[], None], Done], None] = in_thread
    _behind: ClosableRepository | None = field(default=None, init=False)
    _in_loop: AppendsInLoop | None = field(default=None, init=False)  # `_behind`, if it supports event loops
    # Why the last call to the repository behind failed. None if it succeeded.
    _fault: RepositoryUnavailable | None = field(default=None, init=False)
    # Set while this process has nothing pending, so that appends go to the database. It changes only under
    # `_append_lock`. Appends to the spool hold the same lock, so none can happen after the last batch is drained and
    # before this event is set.
    _direct: Event = field(factory=Event, init=False, repr=False)
    _append_lock: Lock = field(factory=Lock, init=False, repr=False)
    # Held while a batch is drained, and while predictions are counted in both the spool and the repository behind. To
    # avoid deadlocks, a thread that holds it never waits for `_append_lock`.
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
        """Start the background thread, and wait until it has tried once to reach the database.

        Args:
            spool: the spool for pending predictions.
            open_behind: function that connects to the database.
            backoff: delays between attempts to reach the database.
            patience: maximum wait for the first attempt, in seconds.
            fatal: classes of errors that this method raises if the first attempt fails with them. After other errors,
                predictions are stored in the spool.
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
        """Start an append from the running event loop; see AppendsInLoop. Always return True.

        If appending would block the event loop, another thread appends.
        """

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
        """Store a batch in the spool after an append failed. The database may have committed the batch anyway."""
        with self._append_lock:
            self._stop_direct(fault)
            self._spool.append(predictions)

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        """Store a batch in the database, and don't spool it during an outage.

        A batch that the database rejects is spooled, so that the rejected predictions become dead letters.

        Raises:
            RepositoryUnavailable: if the database is unavailable.
        """
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
                self._wake.set()  # the database is available, so the thread doesn't need to wait

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
            if set(ids) - known.keys():  # the missing predictions may be in the database
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
                    pruned += behind.prune(prediction.id, limit - pruned)  # older predictions in the database
                    if pruned == limit:
                        break
                    end = next_id(prediction.id)
                    behind.prune(end, 1)  # the database may store it too, and now ignores its id
                    pruned += 1
                else:
                    pruned += behind.prune(before, limit - pruned)
                if end:
                    self._spool.prune(end, sys.maxsize)  # all ids that the database now ignores
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
            MisconfiguredRepository: if the database can't become available without a change to its settings.
            RepositoryUnavailable: if neither the database nor the spool can store a batch.
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
        """Wait up to `timeout` seconds for the spool to be drained. Return whether it was drained."""
        return self._direct.wait(timeout)

    def close(self, grace: float = 5.0) -> None:
        """Drain the spool for up to `grace` seconds, then close it and the database.

        Predictions that could not be drained stay pending in the spool.
        """
        self._stopping.set()
        self._wake.set()
        with ExitStack() as closing:
            # If the thread is still busy, its next access to the closed spool fails, and its batch stays in the spool.
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
        """Return the result of calling `query` with the repository behind the spool.

        Raises:
            RepositoryUnavailable: during an outage.
        """
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
        """Return the spooled predictions that `read` selects and that were not erased, by id.

        Callers must read the repository behind the spool after this call, not before. Otherwise, they could miss
        predictions that are drained between the two reads.
        """
        while spooled := _by_id(read(self._spool)):
            erased = behind.find_erased(list(spooled))
            if not erased:
                break
            self._spool.hide(erased)  # then read again, because other predictions may now be within the limit
        return spooled

    @property
    def _reason(self) -> object:
        return self._fault or "the database has not responded yet"

    def _stop_direct(self, fault: RepositoryUnavailable) -> None:
        """Record a database fault, and send all appends to the spool from now on. Callers must hold `_append_lock`."""
        self._report(fault)
        if self._direct.is_set():  # otherwise the thread already knows, and retries after its delay
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
                # `_drain` returns False if another process is draining the spool.
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
        """Send all pending predictions to the database, unless another process is draining the spool.

        Return whether appends now go directly to the database.
        """
        if self._behind is None:
            self._behind = behind = self._open_behind()
            self._in_loop = behind if isinstance(behind, AppendsInLoop) else None
        self._tried.set()
        with self._spool.draining() as has_lock:
            drained = self._send_pending(self._behind) if has_lock else 0
            if not drained and (self._fault or not self._direct.is_set()):
                self._probe(self._behind)
                self._fault = None
            # A busy service never stops appending, so block appends while the last batches are sent. The wait is short,
            # because the database is available.
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
        """Check that the database can store a batch.

        After a fault, also append a pending prediction, because `behind.check` succeeds even if the disk of the
        database server is full.
        """
        behind.check()
        if self._fault:
            with self._batch_lock, suppress(RefusedPredictions):  # handled by the process that drains the spool
                behind.append(self._spool.oldest(1))

    def _send_pending(self, behind: ClosableRepository) -> int:
        """Send pending predictions in batches until none are left. Return the number of predictions sent."""
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
            self._fault = None  # cleared first, because a spool error below says nothing about the database
            self._spool.remove(batch)


def _by_id(predictions: Iterable[Prediction]) -> dict[UUID, Prediction]:
    return {prediction.id: prediction for prediction in predictions}
