"""`GET /metrics`: the metrics for Prometheus, also while parts of the service fail."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from attrs import define, evolve
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from housepredict.adapters.live_model import LiveModel
from housepredict.adapters.memory import InMemoryPredictions
from housepredict.domain.errors import RefusedModel, RepositoryUnavailable
from housepredict.domain.estimates import Prediction
from housepredict.domain.evaluation.drift import DRIFTED, MIN_ESTIMATES, MOVING
from housepredict.domain.ports import Backlog
from housepredict.domain.usecases.review import MAX_REVIEWED
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.metrics import ACCURACY_INTERVAL_S, DRIFT_INTERVAL_S, PartsCollector, registry_of
from housepredict.entrypoints.http.request_metrics import Meter, SharedCounters
from tests.docs.environment import ROOT
from tests.http_service import LabModel, application, lab_version, served, version_with_snapshot
from tests.unit.test_http_drift import UnreadablePredictions

PAGE = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
DRIFT_PAGE = (ROOT / "docs/how-to/watch-for-drift.md").read_text(encoding="utf-8")
HOUSES = [{"size": 1000 + 2 * row, "bedrooms": 1 + row % 5, "age": row % 50} for row in range(0, 1000, 9)]


@define
class SpoolingPredictions(InMemoryPredictions):
    """In-memory predictions with a backlog, as with a spool."""

    fault: RepositoryUnavailable | None = None

    def backlog(self) -> Backlog:
        if self.fault:
            raise self.fault
        return Backlog(3, datetime.now(UTC) - timedelta(seconds=5), 1)

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        return self.recent(limit, before), self.backlog()

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        self.append(predictions)


def read_metrics(made: Application) -> Mapping[str, Metric]:
    """Return the metrics by name, as Prometheus parses them."""
    with served(made) as client:
        client.post("/predict", json={})
        response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {each.name: each for each in text_string_to_metric_families(response.text)}


def values(metric: Metric) -> dict[str, float]:
    return {each.labels.get("feature", ""): each.value for each in metric.samples}


def full_application() -> Application:
    made = application(version_with_snapshot())
    made.storage.predictions = SpoolingPredictions()
    predictions = made.predict(HOUSES)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    price = predictions[0].price * 1.25
    made.record_sales([{"prediction": str(predictions[0].id), "price": price, "date": tomorrow}])
    return made


REQUEST_METRICS = {
    "http_server_request_duration_seconds",
    "housepredict_refusals",
    "housepredict_batch_houses",
    "housepredict_commit_duration_seconds",
    "housepredict_pending_houses",
}
MODEL_METRICS = {
    "housepredict_model_info",
    "housepredict_model_generation",
    "housepredict_model_refused",
}


def test_metrics_are_documented_with_type_and_labels() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    exposed = {
        name + ("_total" if each.type == "counter" else ""): (
            each.type,
            {label for sample in each.samples for label in sample.labels},
        )
        for name, each in read_metrics(full_application()).items()
    }
    assert exposed == documented
    assert all(name.startswith(("housepredict_", "http_server_")) for name in exposed)


@pytest.mark.parametrize(
    "threshold",
    [
        f"| `stable` | below {MOVING}",
        f"| `drifted` | above {DRIFTED} |",
        f"below {MIN_ESTIMATES} predictions",
        f"every {DRIFT_INTERVAL_S:.0f} seconds",
        f"every {ACCURACY_INTERVAL_S:.0f} seconds",
        f"the newest {MAX_REVIEWED:,}",
    ],
)
def test_pages_have_the_thresholds(threshold: str) -> None:
    assert threshold in PAGE + DRIFT_PAGE


def test_metrics_have_expected_values() -> None:
    metrics = read_metrics(full_application())
    assert metrics["housepredict_model_info"].samples[0].labels == {"version": "lab"}
    assert values(metrics["housepredict_model_refused"]) == {"": 0}
    assert values(metrics["housepredict_model_generation"]) == {"": 1}
    assert values(metrics["housepredict_spool_pending"]) == {"": 3}
    assert values(metrics["housepredict_spool_dead_letters"]) == {"": 1}
    assert values(metrics["housepredict_drift_predictions"]) == {"": len(HOUSES)}
    assert 5 < values(metrics["housepredict_spool_oldest_age_seconds"])[""] < 60
    assert values(metrics["housepredict_accuracy_sales"]) == {"": 1}
    assert values(metrics["housepredict_accuracy_mdape_ratio"])[""] == pytest.approx(0.2)
    assert values(metrics["housepredict_accuracy_median_ratio"])[""] == pytest.approx(0.8)
    psi = values(metrics["housepredict_drift_psi"])
    assert psi.keys() == {"size", "bedrooms", "age"}
    assert all(0 <= each < MOVING for each in psi.values())
    assert values(metrics["housepredict_out_of_range_ratio"]) == dict.fromkeys(psi, 0)


def test_generation_is_0_for_demo_and_without_a_model() -> None:
    for made in application(demo=True), application():
        assert values(read_metrics(made)["housepredict_model_generation"]) == {"": 0}


def test_ratios_are_between_0_and_1() -> None:
    made = application(version_with_snapshot())
    made.predict([HOUSES[0], HOUSES[0] | {"size": 9000}])
    assert values(read_metrics(made)["housepredict_out_of_range_ratio"]) == {"size": 0.5, "bedrooms": 0, "age": 0}


def test_psi_is_absent_with_too_few_predictions() -> None:
    made = application(version_with_snapshot())
    made.predict(HOUSES[: MIN_ESTIMATES - 1])
    metrics = read_metrics(made)
    assert values(metrics["housepredict_drift_predictions"]) == {"": MIN_ESTIMATES - 1}
    assert not [sample for name, each in metrics.items() if name.endswith("_psi") for sample in each.samples]


def test_ratios_are_absent_without_predictions() -> None:
    assert read_metrics(application(version_with_snapshot()))["housepredict_out_of_range_ratio"].samples == []


def test_drift_metrics_are_absent_without_a_snapshot() -> None:
    metrics = read_metrics(application(lab_version())).keys()
    assert metrics == MODEL_METRICS | REQUEST_METRICS | {"housepredict_accuracy_sales"}


def test_refused_version_is_reported() -> None:
    def refuse(*_: object) -> LabModel:
        raise RefusedModel

    made = application(version_with_snapshot(), load=refuse)
    metrics = read_metrics(made)
    assert MODEL_METRICS - metrics.keys() == {"housepredict_model_info"}
    assert values(metrics["housepredict_model_generation"]) == {"": 0}
    assert values(metrics["housepredict_model_refused"]) == {"": 1}


def test_unavailable_database_omits_only_its_metrics() -> None:
    made = application(version_with_snapshot())
    predictions = made.storage.predictions = UnreadablePredictions()
    with served(made) as client:
        predictions.fault = RepositoryUnavailable("at db.internal")
        text = client.get("/metrics").text
    named = {each.name for each in text_string_to_metric_families(text)}
    assert named == MODEL_METRICS | REQUEST_METRICS | {"housepredict_accuracy_sales"}


def test_unreadable_spool_omits_only_its_metrics() -> None:
    made = application(version_with_snapshot())
    made.storage.predictions = SpoolingPredictions(fault=RepositoryUnavailable())
    metrics = read_metrics(made).keys()
    assert not [each for each in metrics if "spool" in each]
    assert "housepredict_drift_predictions" in metrics


def test_failed_collector_is_logged_and_omitted(caplog: pytest.LogCaptureFixture) -> None:
    good = Metric("good", "", "gauge")

    def failing() -> list[Metric]:
        raise ZeroDivisionError

    collected = PartsCollector([lambda: iter(failing()), lambda: iter([good])]).collect()
    assert list(collected) == [good]
    assert "ZeroDivisionError" in caplog.text


def test_drift_review_is_cached_for_a_minute() -> None:
    made, now = full_application(), 0.0
    registry = registry_of(made, Meter.of(SharedCounters.of(1)), lambda: now)

    def reviewed() -> float:
        [count] = re.findall(
            r"^housepredict_drift_predictions (\S+)$", generate_latest(registry).decode(), re.MULTILINE
        )
        return float(count)

    assert reviewed() == len(HOUSES)
    made.predict(HOUSES)
    now = DRIFT_INTERVAL_S - 1
    assert reviewed() == len(HOUSES)
    now = DRIFT_INTERVAL_S
    assert reviewed() == 2 * len(HOUSES)


def test_failed_review_is_retried_at_once() -> None:
    made = application(version_with_snapshot())
    predictions = made.storage.predictions = UnreadablePredictions(fault=RepositoryUnavailable())
    registry = registry_of(made, Meter.of(SharedCounters.of(1)), lambda: 0.0)
    assert b"drift" not in generate_latest(registry)
    predictions.fault = None
    assert b"drift" in generate_latest(registry)


def test_apps_have_separate_metrics() -> None:
    version, artifact = lab_version()
    other = application((evolve(version, name="other"), artifact))
    assert isinstance(other.live_model, LiveModel)
    first = read_metrics(application(lab_version()))["housepredict_model_info"].samples[0].labels
    second = read_metrics(other)["housepredict_model_info"].samples[0].labels
    assert (first["version"], second["version"]) == ("lab", "other")
