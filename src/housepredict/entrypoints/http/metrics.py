"""Prometheus metrics, collected at each scrape.

A part is a function that yields some of the metrics. If a part fails, the scrape still returns the metrics of the other
parts. To add a metric, describe it in `_HELP`, yield it from an existing or new part in `registry_of`, and document it
in docs/reference/metrics.md.
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

DRIFT_INTERVAL_S = 60.0
"""The minimum time in seconds between drift measurements. Each measurement reads thousands of predictions."""

ACCURACY_INTERVAL_S = 600.0
"""The minimum time in seconds between accuracy measurements. Each measurement reads all sales."""

_HELP = {
    "http_server_request_duration_seconds": "Duration of requests.",
    "housepredict_refusals": "Rejected requests, by problem and violated rule.",
    "housepredict_batch_houses": "Houses per batch.",
    "housepredict_commit_duration_seconds": "Duration of the commits that store predictions.",
    "housepredict_pending_houses": "Houses waiting to be estimated.",
    "housepredict_model": "The model version in service.",
    "housepredict_model_generation": "Generation number of the version's promotion, or 0 if unknown.",
    "housepredict_model_refused": "1 if the version in service may not be the promoted one, because the promoted "
    "version failed a check or the model store is unavailable.",
    "housepredict_spool_pending": "Predictions in the spool, waiting for the database.",
    "housepredict_spool_dead_letters": "Predictions that the database rejected permanently.",
    "housepredict_spool_oldest_age_seconds": "Age of the oldest prediction in the spool.",
    "housepredict_accuracy_sales": "Realized sales used to measure the accuracy of the version in service.",
    "housepredict_accuracy_mdape_ratio": "Median absolute error of the estimates, relative to the sale price.",
    "housepredict_accuracy_median_ratio": "Median ratio of estimate to sale price. 1 is unbiased.",
    "housepredict_drift_predictions": "Predictions by the version in service used to measure drift.",
    "housepredict_drift_psi": "Population stability index (PSI) of a feature, relative to the training sales.",
    "housepredict_drift_chance_psi": "99th percentile of a feature's PSI if nothing has drifted.",
    "housepredict_out_of_range_ratio": "Share of predictions with a warning about a feature, from 0 to 1.",
    "housepredict_drift_estimates_psi": "Population stability index (PSI) of the estimates, relative to the training "
    "sales.",
    "housepredict_drift_estimates_chance_psi": "99th percentile of the estimates' PSI if nothing has drifted.",
}

T = TypeVar("T")
Part = Callable[[], Iterator[Metric]]


@define
class CachedValue(Generic[T]):
    """A value that is computed at most once every `seconds`. After an error, the next call tries again. Thread-safe."""

    _compute: Callable[[], T]
    _seconds: float
    _monotonic: Callable[[], float]
    _last: tuple[float, T] | None = None
    _lock: Lock = field(factory=Lock, repr=False)

    def __call__(self) -> T:
        """Return the cached value, or compute it again if it is too old. Pass on errors from the computation."""
        with self._lock:
            now = self._monotonic()
            if self._last is None or now - self._last[0] >= self._seconds:
                self._last = now, self._compute()
            return self._last[1]


@define(eq=False)  # registries use it as a key
class PartsCollector:
    """Collects metrics from several parts, and skips parts that fail."""

    _parts: Sequence[Part]

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics from each part that doesn't fail."""
        for part in self._parts:
            try:
                yield from list(part())
            except HousepredictError as error:
                _log.debug("some metrics are unavailable: %s", error)
            except Exception:  # noqa: BLE001  # a failure must not hide the metrics of other parts
                _log.exception("some metrics are unavailable")


def registry_of(
    application: Application, meter: Meter, monotonic: Callable[[], float] = time.monotonic
) -> CollectorRegistry:
    """Create a registry with the metrics for an application and its requests.

    `monotonic` is the clock that limits how often drift and accuracy are measured.
    """

    # These are functions because the application opens the resources of a use case at its first use.
    def review() -> Drift:
        return application.review_drift()

    def realized_sales() -> RealizedSales:
        return application.review_accuracy.returned()

    drift = CachedValue(review, DRIFT_INTERVAL_S, monotonic)
    sales = CachedValue(realized_sales, ACCURACY_INTERVAL_S, monotonic)
    parts: Sequence[Part] = (
        lambda: _model_in_service(application),
        lambda: _model_refused(application),
        lambda: request_families(meter),
        lambda: _spool(application),
        lambda: _drift(drift()),
        lambda: _accuracy(application, sales()),
    )
    registry = CollectorRegistry()
    registry.register(PartsCollector(parts))
    return registry


def _gauge(name: str, value: float | None = None, labels: Sequence[str] | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, _HELP[name], value, labels)


def _histogram(name: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, _HELP[name], labels=labels)


def request_families(meter: Meter) -> Iterator[Metric]:
    """Yield request, batch and commit metrics, summed over all workers."""
    meter.publish()
    labels = ("http_request_method", "http_route", "http_response_status_code")
    requests = _histogram("http_server_request_duration_seconds", *labels)
    batches = _histogram("housepredict_batch_houses", "lane")
    commits = _histogram("housepredict_commit_duration_seconds", "lane")
    refusals = CounterMetricFamily("housepredict_refusals", _HELP["housepredict_refusals"], labels=("problem", "rule"))
    generations = _gauge("housepredict_model_generation", labels=("worker",))
    histograms = {REQUESTS: (requests, SECONDS), BATCHES: (batches, HOUSES), COMMITS: (commits, SECONDS)}
    waiting = 0.0
    for (metric, *label_values), cells in sorted(meter.tally.read().items()):
        if metric == REFUSALS:
            refusals.add_metric(label_values, cells[0])
        elif metric == WAITING:
            waiting = cells[0]
        elif metric == GENERATION:
            generations.add_metric(label_values, cells[0])
        else:
            family, bounds = histograms[metric]
            names = [*(str(bound) for bound in bounds), "+Inf"]
            buckets = list(zip(names, accumulate(cells[: len(names)]), strict=True))
            family.add_metric(label_values, buckets, cells[-1])
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


def _accuracy(application: Application, sales: RealizedSales) -> Iterator[Metric]:
    rows = sales.rows.get(application.live_model.current().version.name, ())
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
    """Add a shift to the metrics `psi` and `chance`.

    Skip a shift that was measured on too few estimates, because it would cause false alerts.
    """
    if shift.psi is not None and shift.chance is not None and shift.movement is not Movement.TOO_FEW:
        psi.add_metric(labels, shift.psi)
        chance.add_metric(labels, shift.chance)
