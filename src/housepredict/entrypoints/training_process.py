"""Run a training job in a process that the service starts: `python -m housepredict.entrypoints.training_process`.

The process reads a TrainingOrder from standard input, because secrets in arguments or variables would be visible to
other processes. It writes lines of JSON to standard output: `{"begun": ID}` when the training run has started, and
`{"error": CLASS, "message": …}` if the run fails.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from json import dumps
from typing import Any

from housepredict.domain.errors import HousepredictError, TrainingInProgress
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.telemetry import configured, request_fields, set_up_logging, traced
from housepredict.entrypoints.training_processes import TrainingOrder

_NICENESS = 10
_MAX_MESSAGE = 10_000  # characters

_log = logging.getLogger(__name__)


def main() -> int:
    """Read a TrainingOrder from standard input and run it. Returns the exit code."""
    report = _reporter()
    _leave_cores_to_service()
    order = TrainingOrder.from_json(sys.stdin.buffer.read())
    set_up_logging(order.settings)
    request_fields.set(order.log_fields)
    try:
        with (
            configured(order.settings.tracing) as provider,
            traced(provider, "train", order.log_fields.get("traceparent")),
            Application(order.settings) as application,
        ):
            application.run_training(order.request, lambda id_: report({"begun": str(id_)}))
    except TrainingInProgress as error:
        report({"error": "TrainingInProgress", "training": error.training and str(error.training)})
    except HousepredictError as error:
        # report the closest class that the service knows, since adapters may define their own
        kind = next(base for base in type(error).__mro__ if base.__module__ == HousepredictError.__module__)
        report({"error": kind.__name__, "message": str(error)[:_MAX_MESSAGE]})
    else:
        return 0
    return 1


def _reporter() -> Callable[[dict[str, Any]], None]:
    """Redirect standard output to standard error.

    Returns a function that writes JSON to the original standard output.
    """
    channel = os.dup(1)  # not inherited by child processes
    os.dup2(2, 1)

    def report(document: dict[str, Any]) -> None:
        try:
            os.write(channel, dumps(document).encode() + b"\n")
        except BrokenPipeError:
            _log.warning("the service that started this training has ended")

    return report


def _leave_cores_to_service() -> None:
    """Use only half of the cores, and lower the priority of this process below that of the service."""
    os.nice(_NICENESS)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # This limits joblib's processes and scikit-learn's threads. OMP_NUM_THREADS must not be set: it would apply within
    # each of joblib's processes, which otherwise have one thread.
    os.environ["LOKY_MAX_CPU_COUNT"] = str(max(cores // 2, 1))
    os.environ.pop("OMP_NUM_THREADS", None)
    for library in ("OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


if __name__ == "__main__":
    sys.exit(main())
