"""What all workers counted together, as Prometheus is told of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from housepredict.entrypoints.http.meter import (
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
    yield GaugeMetricFamily("housepredict_waiting_houses", "Houses that wait to be estimated.", waiting)


def _histogram(bounds: Sequence[float], cells: Sequence[float]) -> tuple[list[tuple[str, float]], float]:
    """The buckets, each with all below it, and the sum."""
    names = [*(str(bound) for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(cells[: len(names)]), strict=True)), cells[-1]
