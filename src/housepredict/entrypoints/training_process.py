"""A training in a process of its own: `python -m housepredict.entrypoints.training_process`, started by the service.

It is told what to do in JSON on its standard input, which may hold secrets and leaves no trace. On its standard output
it says, a line of JSON each, `{"begun": ID}` as soon as it has, and `{"error": KIND, "message": …}` if it fails.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from json import dumps, loads
from pathlib import Path
from typing import Any

from attrs import field, frozen
from cattrs.preconf.json import make_converter

from housepredict.domain.errors import HousepredictError, TrainingInProgress
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.ports import no_progress
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.usecases import Begun
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import Settings
from housepredict.entrypoints.telemetry import configured, of_request, set_up_logging, traced

MODULE = "housepredict.entrypoints.training_process"
_NICENESS = 10
_LONGEST_MESSAGE = 10_000

_log = logging.getLogger(MODULE)
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
class _Errand:
    settings: Settings
    request: TrainingRequest
    asked_by: Mapping[str, str]


def to_json(settings: Settings, request: TrainingRequest, asked_by: Mapping[str, str]) -> bytes:
    """What the process is told; `asked_by` names the HTTP request that asked for it, as logs have it."""
    return dumps(_converter.unstructure(_Errand(settings, request, asked_by))).encode()


def from_json(told: bytes) -> tuple[Settings, TrainingRequest, Mapping[str, str]]:
    """What it was told."""
    errand = _converter.structure(loads(told), _Errand)
    return errand.settings, errand.request, errand.asked_by


def run(application: Application, request: TrainingRequest, begun: Begun) -> None:
    """Train as a service does: nobody is there to decide about a version that can be compared on nothing.

    Raises what Train raises, UnknownModel if the version `again` is not there, or MissingExtra.
    """
    if request.again is not None:
        application.train.again(application.version(request.again), no_progress, begun=begun)
        return
    source, options = application.sales_to_train_on(
        request.location, request.options, with_recorded=request.with_recorded
    )
    application.train(source, options, no_progress, request.policy, if_incomparable=False, begun=begun)


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
            run(application, request, lambda id_: say({"begun": str(id_)}))
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
