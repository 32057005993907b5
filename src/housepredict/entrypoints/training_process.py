"""A training in a process of its own: `python -m housepredict.entrypoints.training_process`, started by the service.

It is told what to do in JSON on its standard input, which may hold secrets and leaves no trace. On its standard output
it says, a line of JSON each, `{"begun": ID}` as soon as it has, and `{"error": KIND, "message": …}` if it fails.
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
from housepredict.entrypoints.telemetry import configured, of_request, set_up_logging, traced
from housepredict.entrypoints.training_processes import from_json

_NICENESS = 10
_LONGEST_MESSAGE = 10_000

_log = logging.getLogger(__name__)


def main() -> int:
    """Do what standard input says. Returns the exit code."""
    say = _channel()
    _make_room()
    settings, request, asked_by = from_json(sys.stdin.buffer.read())
    set_up_logging(settings)
    of_request.set(asked_by)
    try:
        with (
            configured(settings.tracing) as provider,
            traced(provider, "train", asked_by.get("traceparent")),
            Application(settings) as application,
        ):
            application.run_training(request, lambda id_: say({"begun": str(id_)}))
    except TrainingInProgress as error:
        say({"error": "TrainingInProgress", "training": error.training and str(error.training)})
    except HousepredictError as error:
        # an adapter's own kind of error is not known to the service
        kind = next(each for each in type(error).__mro__ if each.__module__ == HousepredictError.__module__)
        say({"error": kind.__name__, "message": str(error)[:_LONGEST_MESSAGE]})
    else:
        return 0
    return 1


def _channel() -> Callable[[dict[str, Any]], None]:
    """Standard output, for what is said to the service alone: what libraries print goes where the log goes."""
    channel = os.dup(1)  # which no process that is started from here inherits
    os.dup2(2, 1)

    def say(what: dict[str, Any]) -> None:
        try:
            os.write(channel, dumps(what).encode() + b"\n")
        except BrokenPipeError:
            _log.warning("nobody listens any more: the service has ended")

    return say


def _make_room() -> None:
    """Leave half of the cores, and all that are asked for, to who serves."""
    os.nice(_NICENESS)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # joblib starts as many processes, and scikit-learn as many threads. In each of those processes there is one thread,
    # unless a variable says otherwise: then there would be the square of them
    os.environ["LOKY_MAX_CPU_COUNT"] = str(max(cores // 2, 1))
    os.environ.pop("OMP_NUM_THREADS", None)
    for library in ("OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


if __name__ == "__main__":
    sys.exit(main())
