"""Start and watch the service's training jobs, which run in separate processes or in threads.

The system may kill a training run that uses too much memory. If the run is a separate process, the service survives.
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
from housepredict.entrypoints.telemetry import request_fields

_log = logging.getLogger(__name__)

_MODULE = "housepredict.entrypoints.training_process"
_POLL_S = 1.0
_MAX_START_S = 120.0  # allowed for a process to load its libraries and start training
_NOT_BEGUN = "The training process ended before the training started: see the log."
_NOT_STARTED = f"The training did not start within {_MAX_START_S:g} seconds: see the log."
_STOPPED = "The service stopped before the training started."
_GRACE_S = 5.0  # allowed for a process to end after SIGTERM
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
    """A request to start a training job.

    Attributes:
        again: the name of a version to retrain on the same sales and with the same options. If it isn't None, the other
            attributes are ignored.
        location: the sales file. None selects the synthetic sales, unless `with_recorded` is set.
        options: the training options.
        policy: when to promote the version.
        with_recorded: whether to add the recorded sales. If `location` is None, they are added to the promoted
            version's sales file. If that version has no sales file, the recorded sales are used alone.
    """

    again: str | None = None
    location: str | None = None
    options: TrainingOptions = field(factory=TrainingOptions)
    policy: PromotionPolicy = PromotionPolicy.IF_BETTER
    with_recorded: bool = False


@frozen
class TrainingOrder:
    """The data sent to a training process on standard input. `log_fields` are the log fields of the HTTP request."""

    settings: Settings
    request: TrainingRequest
    log_fields: Mapping[str, str]

    def to_json(self) -> bytes:
        """Serialize to JSON."""
        return _converter.dumps(self).encode()

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Deserialize from JSON."""
        return _converter.loads(document, cls)


@frozen(eq=False)
class TrainingJob:
    """A running training job. When the job ends, the future `ended` completes, with an error if the job failed."""

    id: UUID
    ended: Future[None]


class TrainingJobs(Protocol):
    """Starts training jobs."""

    def start(self, request: TrainingRequest) -> TrainingJob:
        """Start a training job. Returns as soon as the job holds the training lock and is in the training history.

        If the job promotes a version, that version is in service by the time `ended` completes.

        Raises:
            TrainingInProgress: if another training run holds the training lock.
            HousepredictError: if the training job could not start.
        """


@define
class TrainingProcesses:
    """TrainingJobs that run in separate processes. A thread watches each process.

    `look` is called when a job has succeeded. It puts any newly promoted version in service.
    """

    _settings: Settings
    _trainings: TrainingHistory
    _look: Callable[[], None]
    _closed: Event = field(factory=Event, init=False, repr=False)

    def start(self, request: TrainingRequest) -> TrainingJob:
        """Start a training job (see TrainingJobs)."""
        # A new session (and therefore a new process group) shields the process from the service's signals, and makes it
        # possible to end the process together with its children.
        process = subprocess.Popen(  # noqa: S603  # runs this interpreter with our module
            [sys.executable, "-m", _MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdin  # noqa: S101  # for the type checker
        assert process.stdout  # noqa: S101
        try:
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(TrainingOrder(self._settings, request, request_fields.get()).to_json())
            job = TrainingJob(self._wait_for_start(process, process.stdout), Future())
            Thread(target=self._watch, args=(process, job), name="training", daemon=True).start()
        except BaseException:
            # no thread watches this process
            process.stdout.close()
            _end_group(process)
            raise
        return job

    def close(self) -> None:
        """Stop waiting for training jobs to start. Training jobs that are already running continue."""
        self._closed.set()

    def _wait_for_start(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> UUID:
        """Wait for the first line that a process writes, and return the id of its training run.

        Raises:
            HousepredictError: if the process reports an error, ends without a report or takes too long, or if `close`
                is called.
        """
        deadline = time.monotonic() + _MAX_START_S
        while not is_readable(output.fileno(), _POLL_S):
            if self._closed.is_set():
                raise errors.TrainingBroken(_STOPPED)
            if time.monotonic() >= deadline:
                raise errors.TrainingBroken(_NOT_STARTED)
        report = _read(output.readline())  # a process writes each line in a single call
        if "begun" in report:
            return UUID(report["begun"])
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        raise _error(report, _NOT_BEGUN)

    def _watch(self, process: subprocess.Popen[bytes], job: TrainingJob) -> None:
        """Complete `job.ended` when the process ends, even after unexpected errors, so that no client waits forever."""
        error: errors.HousepredictError | None
        try:
            error = self._wait_for_end(process, job)
        except Exception:  # noqa: BLE001  # logs and stores may be plug-ins, which can raise anything
            _log.exception("watching training %s failed unexpectedly", job.id)
            error = errors.TrainingBroken("The outcome of the training is unknown: see the log.")
        if error:
            job.ended.set_exception(error)
        else:
            job.ended.set_result(None)

    def _wait_for_end(self, process: subprocess.Popen[bytes], job: TrainingJob) -> errors.HousepredictError | None:
        """Wait for a process to end, or end it if the job is cancelled. Logs the outcome, and returns any error."""
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
        reason = _describe_exit(process.returncode)
        try:
            record = self._trainings.over(job.id, reason)
        except errors.HousepredictError as error:  # the next process that reads the log records the end
            _log.error("the end of training %s could not be logged: %s", job.id, error)
            return _error(report, reason) if process.returncode else error
        match record.state:
            case TrainingState.CANCELLED:
                return errors.TrainingCancelled()
            case TrainingState.FAILED:
                reason = (record.outcome and record.outcome.error) or reason
                _log.warning("training %s failed: %s", job.id, reason)
                return _error(report, reason)
            case TrainingState.SUCCEEDED | TrainingState.RUNNING:
                self._look()  # puts the new version in service for the next request
                return None
            case _:
                assert_never(record.state)

    def _is_cancelling(self, job: TrainingJob) -> bool:
        """Return whether cancellation of the job was requested. Returns False if the training log can't be read."""
        try:
            return self._trainings.is_cancelling(job.id)
        except Exception as error:  # noqa: BLE001  # the training run continues in this case
            _log.warning("cannot check whether training %s should be cancelled: %s", job.id, error)
            return False


@define
class TrainingThreads:
    """TrainingJobs that run in threads of this process, for use with in-memory stores.

    `run` runs a training job. `look` is called afterwards and puts any newly promoted version in service.
    """

    _run: Callable[[TrainingRequest, StartListener], None]
    _look: Callable[[], None]

    def start(self, request: TrainingRequest) -> TrainingJob:
        """Start a training job (see TrainingJobs)."""
        begun: Future[UUID] = Future()
        ended: Future[None] = Future()

        def work() -> None:
            try:
                self._run(request, begun.set_result)
                self._look()
            except Exception as error:  # noqa: BLE001  # raised by the future
                (ended if begun.done() else begun).set_exception(error)
            else:
                ended.set_result(None)

        Thread(target=work, name="training", daemon=True).start()
        return TrainingJob(begun.result(), ended)


def _describe_exit(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return f"The training process was killed by {signal.Signals(-code).name}."
    return f"The training process exited with code {code}: see the log."


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its child processes. Otherwise, the child processes would stay idle for minutes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _GRACE_S
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    with suppress(ChildProcessError):  # orphans become children of process 1, which may be this process
                        os.waitpid(-process.pid, os.WNOHANG)
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except (ProcessLookupError, PermissionError):  # only zombie processes are left
            break
    process.wait()


def _read(line: bytes) -> Mapping[str, Any]:
    """Parse a line as a report. Returns an empty report if the process was killed while writing the line."""
    with suppress(ValueError):
        report = json.loads(line)
        if isinstance(report, dict):
            return report
    return {}


def _error(report: Mapping[str, Any], default: str) -> errors.HousepredictError:
    """Return the error in a report, or an error with the message `default` if the report contains none."""
    kind = _ERRORS.get(report.get("error", ""))
    if kind is errors.TrainingInProgress:
        return errors.TrainingInProgress(training=UUID(report["training"]) if report["training"] else None)
    if kind is None or issubclass(kind, errors.BrokenRules | errors.InvalidSettings):
        kind = errors.TrainingBroken
    return kind(report.get("message", default))


def is_readable(descriptor: int, seconds: float) -> bool:
    """Wait up to `seconds` for a descriptor to have data or reach its end. Returns whether it did."""
    readiness = select.poll()  # unlike select.select, it supports descriptors above 1,023
    readiness.register(descriptor, select.POLLIN)
    return bool(readiness.poll(1000 * seconds))
