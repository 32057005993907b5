"""Trainings that somebody waits for, or not: what a service asks for, and the process beside it that does it.

A training may take all the memory and all the cores that there are, and be killed for it. In a process of its own it
takes neither from who serves, and takes nobody along.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import IO, Any, Protocol, assert_never
from uuid import UUID

from attrs import define, field, frozen
from cattrs.preconf.json import make_converter

from housepredict.domain import errors
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.training_status import TrainingState
from housepredict.domain.usecases.training_history import StartListener, TrainingHistory
from housepredict.entrypoints.settings import Settings
from housepredict.entrypoints.telemetry import of_request

_log = logging.getLogger(__name__)

_MODULE = "housepredict.entrypoints.training_process"
_LOOK_EVERY = 1.0  # seconds
_LONGEST_START = 120.0  # seconds for a process to load what it takes, and to begin
_NOT_BEGUN = "The process that was to train ended before it had begun: see the log."
_NOT_STARTED = f"The process that was to train had not begun after {_LONGEST_START:g} seconds: see the log."
_STOPPED = "The service stopped before the training had begun."
_GRACE = 5.0  # seconds for a process that was told to end, before it is made to
_KNOWN = {
    each.__name__: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, errors.HousepredictError)
}


_converter = make_converter()
_converter.register_structure_hook(Path, lambda value, _: Path(value))
_converter.register_unstructure_hook(Path, str)


@frozen
class TrainingRequest:
    """What to train on: the sales of the version `again`, with its options; else those at a location, with those that
    came back if `with_recorded`; of these alone, or with the file of the promoted version, where no location is given.
    """

    again: str | None = None
    location: str | None = None
    options: TrainingOptions = field(factory=TrainingOptions)
    policy: PromotionPolicy = PromotionPolicy.IF_BETTER
    with_recorded: bool = False


@frozen
class _ChildJob:
    settings: Settings
    request: TrainingRequest
    asked_by: Mapping[str, str]


def to_json(settings: Settings, request: TrainingRequest, asked_by: Mapping[str, str]) -> bytes:
    """What the process is told; `asked_by` names the HTTP request that asked for it, as logs have it."""
    return json.dumps(_converter.unstructure(_ChildJob(settings, request, asked_by))).encode()


def from_json(told: bytes) -> tuple[Settings, TrainingRequest, Mapping[str, str]]:
    """What it was told."""
    errand = _converter.structure(json.loads(told), _ChildJob)
    return errand.settings, errand.request, errand.asked_by


@frozen(eq=False)
class Job:
    """A training that has begun. `ended` is done when it is over, and has what kept it from making a version."""

    id: UUID
    ended: Future[None]


class TrainingJobs(Protocol):
    """Starts trainings."""

    def start(self, request: TrainingRequest) -> Job:
        """Return as soon as it has begun: it has the lock, and the log tells of it. Raises TrainingInProgress, or
        whatever else kept it from beginning. A version that it promotes is in service when it has `ended`.
        """


@define
class TrainingProcesses:
    """Trains in processes of their own, and watches them."""

    _settings: Settings
    _trainings: TrainingHistory
    _look: Callable[[], None]
    _closed: Event = field(factory=Event, init=False, repr=False)

    def start(self, request: TrainingRequest) -> Job:
        """See TrainingJobs."""
        # a session, and with it a process group, of its own: no signal for the service is for it, and it can be ended
        # with whatever it starts
        process = subprocess.Popen(  # noqa: S603  # this interpreter, and a module of our own
            [sys.executable, "-m", _MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdin  # noqa: S101  # for the type checker
        assert process.stdout  # noqa: S101
        try:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(to_json(self._settings, request, of_request.get()))
            job = Job(self._wait_for_start(process, process.stdout), Future())
            Thread(target=self._watch, args=(process, job), name="training", daemon=True).start()
        except BaseException:
            # Nobody would watch this process.
            process.stdout.close()
            _end_group(process)
            raise
        return job

    def close(self) -> None:
        """Stop waiting for processes that have not begun to train. Trainings that have begun go on."""
        self._closed.set()

    def _wait_for_start(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> UUID:
        """Wait for the first line of a process, and return the id of its training.

        Raises:
            HousepredictError: if the process reports an error, ends or stays silent, or if the jobs are closed.
        """
        deadline = time.monotonic() + _LONGEST_START
        while not is_readable(output.fileno(), _LOOK_EVERY):
            if self._closed.is_set():
                raise errors.TrainingBroken(_STOPPED)
            if time.monotonic() >= deadline:
                raise errors.TrainingBroken(_NOT_STARTED)
        report = _read(output.readline())  # a process writes each line at once
        if "begun" in report:
            return UUID(report["begun"])
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        raise _error(report, _NOT_BEGUN)

    def _watch(self, process: subprocess.Popen[bytes], job: Job) -> None:
        """See a training through to its end, whatever goes wrong on the way: a client may wait for it."""
        error: errors.HousepredictError | None
        try:
            error = self._see_through(process, job)
        except Exception:  # noqa: BLE001  # whatever a log or a store comes up with
            _log.exception("watching training %s failed unexpectedly", job.id)
            error = errors.TrainingBroken("What became of the training is not known: see the log.")
        if error:
            job.ended.set_exception(error)
        else:
            job.ended.set_result(None)

    def _see_through(self, process: subprocess.Popen[bytes], job: Job) -> errors.HousepredictError | None:
        """End it if somebody asked for that, and log its end if it cannot itself. Returns why it made no version."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_EVERY)
                break
            if self._is_cancelling(job):
                break
        _end_group(process)
        assert process.stdout  # noqa: S101
        with process.stdout:
            said = _read(process.stdout.read())
        why = _ending(process.returncode)
        try:
            record = self._trainings.over(job.id, why)
        except errors.HousepredictError as error:  # the next reader of the log finds out that it is over
            _log.error("the end of training %s is not logged: %s", job.id, error)
            return _error(said, why) if process.returncode else error
        match record.state:
            case TrainingState.CANCELLED:
                return errors.TrainingCancelled()
            case TrainingState.FAILED:
                why = (record.outcome and record.outcome.error) or why
                _log.warning("training %s failed: %s", job.id, why)
                return _error(said, why)
            case TrainingState.SUCCEEDED | TrainingState.RUNNING:
                self._look()  # so that the next request finds it in service
                return None
            case _:
                assert_never(record.state)

    def _is_cancelling(self, job: Job) -> bool:
        """Whether somebody asked it to end; False while the log cannot tell, for whatever reason."""
        try:
            return self._trainings.is_cancelling(job.id)
        except Exception as error:  # noqa: BLE001  # the training goes on meanwhile
            _log.warning("whether training %s is to be cancelled is not known: %s", job.id, error)
            return False


@define
class TrainingThreads:
    """Trains in threads of this process: where nothing is kept that another could read."""

    _run: Callable[[TrainingRequest, StartListener], None]
    _look: Callable[[], None]

    def start(self, request: TrainingRequest) -> Job:
        """See TrainingJobs."""
        begun: Future[UUID] = Future()
        ended: Future[None] = Future()

        def work() -> None:
            try:
                self._run(request, begun.set_result)
                self._look()
            except Exception as error:  # noqa: BLE001  # whoever waits is told
                (ended if begun.done() else begun).set_exception(error)
            else:
                ended.set_result(None)

        Thread(target=work, name="training", daemon=True).start()
        return Job(begun.result(), ended)


def _ending(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"The process that trained was ended by {signal.Signals(-code).name}."
    return f"The process that trained ended with {code}: see the log."


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started: helpers of one that was killed would wait for work, for minutes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _GRACE
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < until:
                if process.poll() is not None:
                    with suppress(ChildProcessError):  # where this is process 1, its orphans are ours
                        os.waitpid(-process.pid, os.WNOHANG)
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except (ProcessLookupError, PermissionError):  # nobody is left, or nobody but the dead
            break
    process.wait()


def _read(line: bytes) -> Mapping[str, Any]:
    """What a line says: nothing, if the process was killed before it was whole."""
    with suppress(ValueError):
        said = json.loads(line)
        if isinstance(said, dict):
            return said
    return {}


def _error(said: Mapping[str, Any], otherwise: str) -> errors.HousepredictError:
    kind = _KNOWN.get(said.get("error", ""))
    if kind is errors.TrainingInProgress:
        return errors.TrainingInProgress(training=UUID(said["training"]) if said["training"] else None)
    if kind is None or issubclass(kind, errors.BrokenRules | errors.InvalidSettings):
        return errors.TrainingBroken(said.get("message", otherwise))
    return kind(said.get("message", otherwise))


def is_readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read, or the end, within so many seconds."""
    readiness = select.poll()  # unlike select.select, for descriptors above 1,023 as well
    readiness.register(descriptor, select.POLLIN)
    return bool(readiness.poll(1000 * seconds))
