"""What the service tells Prometheus: how the model is doing, as of the moment that somebody asks.

To add a metric, yield it from the part that it belongs to, or write another part and name it in `registry_of`; then
document it in docs/reference/metrics.md. A part that fails is left out of the answer.
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
from housepredict.domain.usecases import RealizedSales
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


def counted(meter: Meter) -> Iterator[Metric]:
    """The metrics of the requests, batches and commits of a service."""
    meter.publish()
    requests = HistogramMetricFamily(
        "http_server_request_duration_seconds",
        "Duration of requests.",
        labels=("http_request_method", "http_route", "http_response_status_code"),
    )
    refusals = CounterMetricFamily(
        "housepredict_refusals",
        "Requests that were refused, for each rule that they broke.",
        labels=("problem", "rule"),
    )
    batches = HistogramMetricFamily(
        "housepredict_batch_houses", "Houses that were estimated at once.", labels=("lane",)
    )
    commits = HistogramMetricFamily(
        "housepredict_commit_duration_seconds", "Duration of commits of predictions.", labels=("lane",)
    )
    generations = GaugeMetricFamily(
        "housepredict_model_generation",
        "The promotion by which the version in service serves; 0 if none is known.",
        labels=("worker",),
    )
    histograms = {REQUESTS: (requests, SECONDS), BATCHES: (batches, HOUSES), COMMITS: (commits, SECONDS)}
    waiting = 0.0
    for (what, *labels), cells in sorted(meter.tally.read().items()):
        if what == REFUSALS:
            refusals.add_metric(labels, cells[0])
        elif what == WAITING:
            waiting = cells[0]
        elif what == GENERATION:
            generations.add_metric(labels, cells[0])
        else:
            family, bounds = histograms[what]
            family.add_metric(labels, *_histogram(bounds, cells))
    yield from (requests, refusals, batches, commits, generations)
    yield GaugeMetricFamily("housepredict_pending_houses", "Houses that wait to be estimated.", waiting)


def _histogram(bounds: Sequence[float], cells: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """The buckets, each with all below it, and the sum."""
    names = [*(str(bound) for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(cells[: len(names)]), strict=True)), cells[-1]


_log = logging.getLogger(__name__)

REVIEWED_EVERY = 60.0
"""Seconds for which drift is told again as it was measured, which reads thousands of predictions."""

MEASURED_EVERY = 600.0
"""Seconds for which accuracy is, which reads all sales."""

T = TypeVar("T")
Part = Callable[[], Iterator[Metric]]


@define
class Remembered(Generic[T]):
    """Something that is computed at most once in a while, and anew after a failure. Threads may share it."""

    _compute: Callable[[], T]
    _seconds: float
    _monotonic: Callable[[], float]
    _last: tuple[float, T] | None = None
    _lock: Lock = field(factory=Lock, repr=False)

    def __call__(self) -> T:
        """What was computed last, or now if that is too long ago. Raises what computing it raises."""
        with self._lock:
            now = self._monotonic()
            if self._last is None or now - self._last[0] >= self._seconds:
                self._last = now, self._compute()
            return self._last[1]


@define(eq=False)  # a registry keeps it as a key
class PartsCollector:
    """Collects the parts that can tell something at the moment."""

    _parts: Sequence[Part]

    def collect(self) -> Iterator[Metric]:
        """The metrics of each part, all of a part or none."""
        for part in self._parts:
            try:
                yield from list(part())
            except HousepredictError as error:
                _log.debug("metrics are left out: %s", error)
            except Exception:  # noqa: BLE001  # one that is logged, and must not hide what the others tell
                _log.exception("metrics are left out")


def registry_of(
    application: Application, meter: Meter, monotonic: Callable[[], float] = time.monotonic
) -> CollectorRegistry:
    """A registry of an application's metrics and of what was counted of its requests, and of nothing else."""

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


def _model_in_service(application: Application) -> Iterator[Metric]:
    serving = application.live_model.current()
    model = InfoMetricFamily("housepredict_model", "The model version in service.")
    model.add_metric((), {"version": serving.version.name})
    yield model


def _model_refused(application: Application) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "housepredict_model_refused",
        "1 if the version in service may not be the promoted one, for a check that failed or a store out of reach.",
        int(application.live_model.refusal is not None),
    )


def _spool(application: Application) -> Iterator[Metric]:
    backlog = application.records.backlog()
    if backlog is not None:
        yield GaugeMetricFamily(
            "housepredict_spool_pending", "Predictions that wait for the database.", backlog.pending
        )
        yield GaugeMetricFamily(
            "housepredict_spool_dead_letters", "Predictions that the database refused for good.", backlog.dead_letters
        )
        age = (datetime.now(UTC) - backlog.oldest).total_seconds() if backlog.oldest else 0.0
        yield GaugeMetricFamily(
            "housepredict_spool_oldest_age_seconds", "For how long the oldest of those that wait has waited.", age
        )


def _accuracy(application: Application, returned: RealizedSales) -> Iterator[Metric]:
    rows = returned.rows.get(application.live_model.current().version.name, ())
    yield GaugeMetricFamily(
        "housepredict_accuracy_sales",
        "Sales that came back of the version in service, and that its estimates are measured by.",
        len(rows),
    )
    if rows:
        measured = measure(rows)
        yield GaugeMetricFamily(
            "housepredict_accuracy_mdape_ratio",
            "Median absolute error of those estimates, as a share of the price.",
            measured.mdape / 100,
        )
        yield GaugeMetricFamily(
            "housepredict_accuracy_median_ratio",
            "Median of estimate and price, divided: 1 is neither high nor low.",
            measured.median_ratio,
        )


def _drift(drift: Drift) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "housepredict_drift_predictions", "Predictions of the version in service that were reviewed for drift.", drift.n
    )
    psi = GaugeMetricFamily(
        "housepredict_drift_psi", "Population stability index of a feature since training.", labels=("feature",)
    )
    chance = GaugeMetricFamily(
        "housepredict_drift_chance_psi",
        "What the index of a feature stays below in 99 of 100 cases if nothing moved.",
        labels=("feature",),
    )
    beyond = GaugeMetricFamily(
        "housepredict_out_of_range_ratio",
        "Share of the predictions that warn of a feature, from 0 to 1.",
        labels=("feature",),
    )
    for each in drift.features:
        _add(psi, chance, each.shift, each.name)
        if each.out_of_range is not None:
            beyond.add_metric((each.name,), each.out_of_range / 100)
    estimates = GaugeMetricFamily(
        "housepredict_drift_estimates_psi", "Population stability index of the estimates since training."
    )
    by_chance = GaugeMetricFamily(
        "housepredict_drift_estimates_chance_psi",
        "What the index of the estimates stays below in 99 of 100 cases if nothing moved.",
    )
    _add(estimates, by_chance, drift.estimates)
    yield from (psi, chance, beyond, estimates, by_chance)


def _add(psi: GaugeMetricFamily, chance: GaugeMetricFamily, shift: Shift, *labels: str) -> None:
    """Nothing of too few estimates: whoever is woken by a threshold should not be woken by chance."""
    if shift.psi is not None and shift.chance is not None and shift.movement is not Movement.TOO_FEW:
        psi.add_metric(labels, shift.psi)
        chance.add_metric(labels, shift.chance)
