"""Training jobs: what a service asks for, and the processes or threads that train.

A training may take all memory and all cores, and be killed for it. In a process of its own it takes neither from the
service, and its death does not affect the service.
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
from typing import IO, Any, Protocol, Self, assert_never
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
_POLL_S = 1.0
_MAX_START_S = 120.0  # for a process to load its libraries and to begin
_NOT_BEGUN = "The process that was to train ended before it had begun: see the log."
_NOT_STARTED = f"The process that was to train had not begun after {_MAX_START_S:g} seconds: see the log."
_STOPPED = "The service stopped before the training had begun."
_GRACE_S = 5.0  # for a process to end after SIGTERM
_ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.HousepredictError)
}

_converter = make_converter()
_converter.register_structure_hook(Path, lambda value, _: Path(value))
_converter.register_unstructure_hook(Path, str)


@frozen
class TrainingRequest:
    """What to train on: the sales of the version `again`, with its options, or the sales at a location, together with
    the recorded sales if `with_recorded`. Without a location, `with_recorded` adds them to the file of the promoted
    version, or takes them alone.
    """

    again: str | None = None
    location: str | None = None
    options: TrainingOptions = field(factory=TrainingOptions)
    policy: PromotionPolicy = PromotionPolicy.IF_BETTER
    with_recorded: bool = False


@frozen
class TrainingOrder:
    """What a training process reads from its standard input; `asked_by` identifies the HTTP request in logs."""

    settings: Settings
    request: TrainingRequest
    asked_by: Mapping[str, str]

    def to_json(self) -> bytes:
        """Return the order as JSON."""
        return _converter.dumps(self).encode()

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Return the order that a JSON document holds."""
        return _converter.loads(document, cls)


@frozen(eq=False)
class TrainingJob:
    """A training that has begun. `ended` is done when it ends, with the error if it made no version."""

    id: UUID
    ended: Future[None]


class TrainingJobs(Protocol):
    """Starts trainings."""

    def start(self, request: TrainingRequest) -> TrainingJob:
        """Start a training and return once it holds the lock and is in the log.

        A version that it promotes is in service when the job has `ended`.

        Raises:
            TrainingInProgress: if another training holds the lock.
            HousepredictError: if the training could not begin.
        """


@define
class TrainingProcesses:
    """Trains in separate processes, and watches them."""

    _settings: Settings
    _trainings: TrainingHistory
    _look: Callable[[], None]
    _closed: Event = field(factory=Event, init=False, repr=False)

    def start(self, request: TrainingRequest) -> TrainingJob:
        """See TrainingJobs."""
        # In a new session, and so in a new process group, the process gets none of the service's signals, and can be
        # ended together with its children.
        process = subprocess.Popen(  # noqa: S603  # this interpreter, and a module of our own
            [sys.executable, "-m", _MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdin  # noqa: S101  # for the type checker
        assert process.stdout  # noqa: S101
        try:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(TrainingOrder(self._settings, request, of_request.get()).to_json())
            job = TrainingJob(self._wait_for_start(process, process.stdout), Future())
            Thread(target=self._watch, args=(process, job), name="training", daemon=True).start()
        except BaseException:
            # no thread watches this process
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
        deadline = time.monotonic() + _MAX_START_S
        while not is_readable(output.fileno(), _POLL_S):
            if self._closed.is_set():
                raise errors.TrainingBroken(_STOPPED)
            if time.monotonic() >= deadline:
                raise errors.TrainingBroken(_NOT_STARTED)
        report = _read(output.readline())  # a process writes each line at once
        if "begun" in report:
            return UUID(report["begun"])
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        raise _error(report, _NOT_BEGUN)

    def _watch(self, process: subprocess.Popen[bytes], job: TrainingJob) -> None:
        """Complete the job when its training ends, whatever goes wrong meanwhile: a client may wait for it."""
        error: errors.HousepredictError | None
        try:
            error = self._wait_for_end(process, job)
        except Exception:  # noqa: BLE001  # logs and stores may be plug-ins
            _log.exception("watching training %s failed unexpectedly", job.id)
            error = errors.TrainingBroken("What became of the training is not known: see the log.")
        if error:
            job.ended.set_exception(error)
        else:
            job.ended.set_result(None)

    def _wait_for_end(self, process: subprocess.Popen[bytes], job: TrainingJob) -> errors.HousepredictError | None:
        """Wait for a process, end it if the job is cancelled, and record its end. Return why it made no version."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_S)
                break
            if self._is_cancelling(job):
                break
        _end_group(process)
        assert process.stdout  # noqa: S101
        with process.stdout:
            report = _read(process.stdout.read())
        why = _ending(process.returncode)
        try:
            record = self._trainings.over(job.id, why)
        except errors.HousepredictError as error:  # the next reader of the log records it
            _log.error("the end of training %s is not logged: %s", job.id, error)
            return _error(report, why) if process.returncode else error
        match record.state:
            case TrainingState.CANCELLED:
                return errors.TrainingCancelled()
            case TrainingState.FAILED:
                why = (record.outcome and record.outcome.error) or why
                _log.warning("training %s failed: %s", job.id, why)
                return _error(report, why)
            case TrainingState.SUCCEEDED | TrainingState.RUNNING:
                self._look()  # the next request finds the version in service
                return None
            case _:
                assert_never(record.state)

    def _is_cancelling(self, job: TrainingJob) -> bool:
        """Return whether the job is to be cancelled; False while the log cannot be read."""
        try:
            return self._trainings.is_cancelling(job.id)
        except Exception as error:  # noqa: BLE001  # the training goes on meanwhile
            _log.warning("whether training %s is to be cancelled is not known: %s", job.id, error)
            return False


@define
class TrainingThreads:
    """Trains in threads of this process, whose memory holds the stores."""

    _run: Callable[[TrainingRequest, StartListener], None]
    _look: Callable[[], None]

    def start(self, request: TrainingRequest) -> TrainingJob:
        """See TrainingJobs."""
        begun: Future[UUID] = Future()
        ended: Future[None] = Future()

        def work() -> None:
            try:
                self._run(request, begun.set_result)
                self._look()
            except Exception as error:  # noqa: BLE001  # passed on to the waiting caller
                (ended if begun.done() else begun).set_exception(error)
            else:
                ended.set_result(None)

        Thread(target=work, name="training", daemon=True).start()
        return TrainingJob(begun.result(), ended)


def _ending(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"The process that trained was ended by {signal.Signals(-code).name}."
    return f"The process that trained ended with {code}: see the log."


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, which would otherwise wait for work for minutes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        until = time.monotonic() + _GRACE_S
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < until:
                if process.poll() is not None:
                    with suppress(ChildProcessError):  # its orphans are children of process 1, which may be this one
                        os.waitpid(-process.pid, os.WNOHANG)
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except (ProcessLookupError, PermissionError):  # nothing is left but zombies
            break
    process.wait()


def _read(line: bytes) -> Mapping[str, Any]:
    """Return the report in a line; an empty one if the process was killed while it wrote."""
    with suppress(ValueError):
        report = json.loads(line)
        if isinstance(report, dict):
            return report
    return {}


def _error(report: Mapping[str, Any], otherwise: str) -> errors.HousepredictError:
    kind = _ERRORS.get(report.get("error", ""))
    if kind is errors.TrainingInProgress:
        return errors.TrainingInProgress(training=UUID(report["training"]) if report["training"] else None)
    if kind is None or issubclass(kind, errors.BrokenRules | errors.InvalidSettings):
        kind = errors.TrainingBroken
    return kind(report.get("message", otherwise))


def is_readable(descriptor: int, seconds: float) -> bool:
    """Return whether a descriptor has data, or has reached its end, within a number of seconds."""
    readiness = select.poll()  # unlike select.select, for descriptors above 1,023 as well
    readiness.register(descriptor, select.POLLIN)
    return bool(readiness.poll(1000 * seconds))
