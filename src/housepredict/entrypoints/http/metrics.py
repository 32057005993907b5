"""The metrics for Prometheus, collected when they are asked for.

To add a metric, describe it in `_HELP`, yield it from the part that it belongs to, or from a new part in `registry_of`,
and document it in docs/reference/metrics.md. A part that fails is left out of the answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from threading import Lock
from typing import Generic, TypeVar

from attrs import define, field
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import CollectorRegistry

from housepredict.domain.errors import HousepredictError
from housepredict.domain.evaluation.drift import Drift, Movement, Shift
from housepredict.domain.evaluation.held_out import measure
from housepredict.domain.usecases.review import RealizedSales
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.request_metrics import (
    BATCHES,
    COMMITS,
    GENERATION,
    HOUSES,
    REFUSALS,
    REQUESTS,
    SECONDS,
    WAITING,
    Meter,
)

_log = logging.getLogger(__name__)

REVIEWED_EVERY = 60.0
"""Seconds between measurements of drift, which read thousands of predictions."""

MEASURED_EVERY = 600.0
"""Seconds between measurements of accuracy, which read all sales."""

_HELP = {
    "http_server_request_duration_seconds": "Duration of requests.",
    "housepredict_refusals": "Requests that were refused, for each rule that they broke.",
    "housepredict_batch_houses": "Houses that were estimated at once.",
    "housepredict_commit_duration_seconds": "Duration of commits of predictions.",
    "housepredict_pending_houses": "Houses that wait to be estimated.",
    "housepredict_model": "The model version in service.",
    "housepredict_model_generation": "The promotion by which the version in service serves; 0 if none is known.",
    "housepredict_model_refused": "1 if the version in service may not be the promoted one, for a check that failed or "
    "a store out of reach.",
    "housepredict_spool_pending": "Predictions that wait for the database.",
    "housepredict_spool_dead_letters": "Predictions that the database refused for good.",
    "housepredict_spool_oldest_age_seconds": "For how long the oldest of those that wait has waited.",
    "housepredict_accuracy_sales": "Sales that came back of the version in service, and that its estimates are "
    "measured by.",
    "housepredict_accuracy_mdape_ratio": "Median absolute error of those estimates, as a share of the price.",
    "housepredict_accuracy_median_ratio": "Median of estimate and price, divided: 1 is neither high nor low.",
    "housepredict_drift_predictions": "Predictions of the version in service that were reviewed for drift.",
    "housepredict_drift_psi": "Population stability index of a feature since training.",
    "housepredict_drift_chance_psi": "What the index of a feature stays below in 99 of 100 cases if nothing moved.",
    "housepredict_out_of_range_ratio": "Share of the predictions that warn of a feature, from 0 to 1.",
    "housepredict_drift_estimates_psi": "Population stability index of the estimates since training.",
    "housepredict_drift_estimates_chance_psi": "What the index of the estimates stays below in 99 of 100 cases if "
    "nothing moved.",
}

T = TypeVar("T")
Part = Callable[[], Iterator[Metric]]


@define
class Remembered(Generic[T]):
    """A value that is computed again after some seconds, or after a failure. Threads may share it."""

    _compute: Callable[[], T]
    _seconds: float
    _monotonic: Callable[[], float]
    _last: tuple[float, T] | None = None
    _lock: Lock = field(factory=Lock, repr=False)

    def __call__(self) -> T:
        """The last value, or a new one if that is too old. Raises what computing it raises."""
        with self._lock:
            now = self._monotonic()
            if self._last is None or now - self._last[0] >= self._seconds:
                self._last = now, self._compute()
            return self._last[1]


@define(eq=False)  # a registry keeps it as a key
class PartsCollector:
    """Collects the metrics of all parts that do not fail."""

    _parts: Sequence[Part]

    def collect(self) -> Iterator[Metric]:
        """The metrics of each part, all of a part or none."""
        for part in self._parts:
            try:
                yield from list(part())
            except HousepredictError as error:
                _log.debug("metrics are left out: %s", error)
            except Exception:  # noqa: BLE001  # the other parts must be seen all the same
                _log.exception("metrics are left out")


def registry_of(
    application: Application, meter: Meter, monotonic: Callable[[], float] = time.monotonic
) -> CollectorRegistry:
    """A registry of an application's metrics and of its requests, and of nothing else."""

    def review() -> Drift:
        return application.review_drift()  # which opens what it needs only now

    def sales() -> RealizedSales:
        return application.review_accuracy.returned()

    reviewed = Remembered(review, REVIEWED_EVERY, monotonic)
    returned = Remembered(sales, MEASURED_EVERY, monotonic)
    parts: Sequence[Part] = (
        lambda: _model_in_service(application),
        lambda: _model_refused(application),
        lambda: counted(meter),
        lambda: _spool(application),
        lambda: _drift(reviewed()),
        lambda: _accuracy(application, returned()),
    )
    registry = CollectorRegistry()
    registry.register(PartsCollector(parts))
    return registry


def _gauge(name: str, value: float | None = None, labels: Sequence[str] | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, _HELP[name], value, labels)


def _histogram(name: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, _HELP[name], labels=labels)


def counted(meter: Meter) -> Iterator[Metric]:
    """The metrics of the requests, batches and commits of a service."""
    meter.publish()
    labels = ("http_request_method", "http_route", "http_response_status_code")
    requests = _histogram("http_server_request_duration_seconds", *labels)
    batches = _histogram("housepredict_batch_houses", "lane")
    commits = _histogram("housepredict_commit_duration_seconds", "lane")
    refusals = CounterMetricFamily("housepredict_refusals", _HELP["housepredict_refusals"], labels=("problem", "rule"))
    generations = _gauge("housepredict_model_generation", labels=("worker",))
    histograms = {REQUESTS: (requests, SECONDS), BATCHES: (batches, HOUSES), COMMITS: (commits, SECONDS)}
    waiting = 0.0
    for (what, *values), cells in sorted(meter.tally.read().items()):
        if what == REFUSALS:
            refusals.add_metric(values, cells[0])
        elif what == WAITING:
            waiting = cells[0]
        elif what == GENERATION:
            generations.add_metric(values, cells[0])
        else:
            family, bounds = histograms[what]
            names = [*(str(bound) for bound in bounds), "+Inf"]
            buckets = list(zip(names, accumulate(cells[: len(names)]), strict=True))
            family.add_metric(values, buckets, cells[-1])
    yield from (requests, refusals, batches, commits, generations)
    yield _gauge("housepredict_pending_houses", waiting)


def _model_in_service(application: Application) -> Iterator[Metric]:
    model = InfoMetricFamily("housepredict_model", _HELP["housepredict_model"])
    model.add_metric((), {"version": application.live_model.current().version.name})
    yield model


def _model_refused(application: Application) -> Iterator[Metric]:
    yield _gauge("housepredict_model_refused", int(application.live_model.refusal is not None))


def _spool(application: Application) -> Iterator[Metric]:
    backlog = application.records.backlog()
    if backlog is not None:
        age = (datetime.now(UTC) - backlog.oldest).total_seconds() if backlog.oldest else 0.0
        yield _gauge("housepredict_spool_pending", backlog.pending)
        yield _gauge("housepredict_spool_dead_letters", backlog.dead_letters)
        yield _gauge("housepredict_spool_oldest_age_seconds", age)


def _accuracy(application: Application, returned: RealizedSales) -> Iterator[Metric]:
    rows = returned.rows.get(application.live_model.current().version.name, ())
    yield _gauge("housepredict_accuracy_sales", len(rows))
    if rows:
        accuracy = measure(rows)
        yield _gauge("housepredict_accuracy_mdape_ratio", accuracy.mdape / 100)
        yield _gauge("housepredict_accuracy_median_ratio", accuracy.median_ratio)


def _drift(drift: Drift) -> Iterator[Metric]:
    yield _gauge("housepredict_drift_predictions", drift.n)
    psi = _gauge("housepredict_drift_psi", labels=("feature",))
    chance = _gauge("housepredict_drift_chance_psi", labels=("feature",))
    out_of_range = _gauge("housepredict_out_of_range_ratio", labels=("feature",))
    for feature in drift.features:
        _add(psi, chance, feature.shift, feature.name)
        if feature.out_of_range is not None:
            out_of_range.add_metric((feature.name,), feature.out_of_range / 100)
    estimates = _gauge("housepredict_drift_estimates_psi")
    estimates_chance = _gauge("housepredict_drift_estimates_chance_psi")
    _add(estimates, estimates_chance, drift.estimates)
    yield from (psi, chance, out_of_range, estimates, estimates_chance)


def _add(psi: GaugeMetricFamily, chance: GaugeMetricFamily, shift: Shift, *labels: str) -> None:
    """Add a shift, unless it is of too few estimates: an alert on these would be due to chance."""
    if shift.psi is not None and shift.chance is not None and shift.movement is not Movement.TOO_FEW:
        psi.add_metric(labels, shift.psi)
        chance.add_metric(labels, shift.chance)
