"""`GET /metrics`: what Prometheus is told, and what it is told while something fails."""

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
from tests.unit.test_http_drift import Unreadable

PAGE = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
ON_DRIFT = (ROOT / "docs/how-to/watch-for-drift.md").read_text(encoding="utf-8")
HOUSES = [{"size": 1000 + 2 * row, "bedrooms": 1 + row % 5, "age": row % 50} for row in range(0, 1000, 9)]


@define
class Behind(InMemoryPredictions):
    """Predictions that are behind, as those with a spool may be."""

    fault: RepositoryUnavailable | None = None

    def backlog(self) -> Backlog:
        if self.fault:
            raise self.fault
        return Backlog(3, datetime.now(UTC) - timedelta(seconds=5), 1)

    def recent_and_backlog(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Prediction], Backlog]:
        return self.recent(limit, before), self.backlog()

    def append_shared(self, predictions: Sequence[Prediction]) -> None:
        self.append(predictions)


def told(made: Application) -> Mapping[str, Metric]:
    """The metrics by name, as Prometheus reads them."""
    with served(made) as client:
        client.post("/predict", json={})
        response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {each.name: each for each in text_string_to_metric_families(response.text)}


def values(metric: Metric) -> dict[str, float]:
    return {each.labels.get("feature", ""): each.value for each in metric.samples}


def everything() -> Application:
    made = application(version_with_snapshot())
    made.storage.predictions = Behind()
    predictions = made.predict(HOUSES)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    price = predictions[0].price * 1.25
    made.record_sales([{"prediction": str(predictions[0].id), "price": price, "date": tomorrow}])
    return made


OF_REQUESTS = {
    "http_server_request_duration_seconds",
    "housepredict_refusals",
    "housepredict_batch_houses",
    "housepredict_commit_duration_seconds",
    "housepredict_pending_houses",
}
OF_MODELS = {
    "housepredict_model_info",
    "housepredict_model_generation",
    "housepredict_model_refused",
}


def test_every_metric_is_documented_with_its_type_and_its_labels() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", PAGE, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    there = {
        name + ("_total" if each.type == "counter" else ""): (
            each.type,
            {label for sample in each.samples for label in sample.labels},
        )
        for name, each in told(everything()).items()
    }
    assert there == documented
    assert all(name.startswith(("housepredict_", "http_server_")) for name in there)


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
def test_the_pages_have_the_thresholds_that_hold(threshold: str) -> None:
    assert threshold in PAGE + ON_DRIFT


def test_they_tell_what_is_the_case() -> None:
    found = told(everything())
    assert found["housepredict_model_info"].samples[0].labels == {"version": "lab"}
    assert values(found["housepredict_model_refused"]) == {"": 0}
    assert values(found["housepredict_model_generation"]) == {"": 1}
    assert values(found["housepredict_spool_pending"]) == {"": 3}
    assert values(found["housepredict_spool_dead_letters"]) == {"": 1}
    assert values(found["housepredict_drift_predictions"]) == {"": len(HOUSES)}
    assert 5 < values(found["housepredict_spool_oldest_age_seconds"])[""] < 60
    assert values(found["housepredict_accuracy_sales"]) == {"": 1}
    assert values(found["housepredict_accuracy_mdape_ratio"])[""] == pytest.approx(0.2)
    assert values(found["housepredict_accuracy_median_ratio"])[""] == pytest.approx(0.8)
    psi = values(found["housepredict_drift_psi"])
    assert psi.keys() == {"size", "bedrooms", "age"}
    assert all(0 <= each < MOVING for each in psi.values())
    assert values(found["housepredict_out_of_range_ratio"]) == dict.fromkeys(psi, 0)


def test_generation_of_the_demonstration_and_without_a_model_is_0() -> None:
    for made in application(demo=True), application():
        assert values(told(made)["housepredict_model_generation"]) == {"": 0}


def test_shares_are_from_0_to_1() -> None:
    made = application(version_with_snapshot())
    made.predict([HOUSES[0], HOUSES[0] | {"size": 9000}])
    assert values(told(made)["housepredict_out_of_range_ratio"]) == {"size": 0.5, "bedrooms": 0, "age": 0}


def test_of_too_few_estimates_no_index_is_told() -> None:
    made = application(version_with_snapshot())
    made.predict(HOUSES[: MIN_ESTIMATES - 1])
    found = told(made)
    assert values(found["housepredict_drift_predictions"]) == {"": MIN_ESTIMATES - 1}
    assert not [sample for name, each in found.items() if name.endswith("_psi") for sample in each.samples]


def test_without_estimates_no_share_is_told() -> None:
    assert told(application(version_with_snapshot()))["housepredict_out_of_range_ratio"].samples == []


def test_a_version_without_a_snapshot_has_no_drift() -> None:
    found = told(application(lab_version())).keys()
    assert found == OF_MODELS | OF_REQUESTS | {"housepredict_accuracy_sales"}


def test_a_version_that_is_refused_is_told_of() -> None:
    def refuse(*_: object) -> LabModel:
        raise RefusedModel

    made = application(version_with_snapshot(), load=refuse)
    found = told(made)
    assert OF_MODELS - found.keys() == {"housepredict_model_info"}
    assert values(found["housepredict_model_generation"]) == {"": 0}
    assert values(found["housepredict_model_refused"]) == {"": 1}


def test_a_database_that_is_away_leaves_its_metrics_out_and_no_others() -> None:
    made = application(version_with_snapshot())
    predictions = made.storage.predictions = Unreadable()
    with served(made) as client:
        predictions.fault = RepositoryUnavailable("at db.internal")
        text = client.get("/metrics").text
    named = {each.name for each in text_string_to_metric_families(text)}
    assert named == OF_MODELS | OF_REQUESTS | {"housepredict_accuracy_sales"}


def test_a_spool_that_cannot_be_read_leaves_the_rest() -> None:
    made = application(version_with_snapshot())
    made.storage.predictions = Behind(fault=RepositoryUnavailable())
    found = told(made).keys()
    assert not [each for each in found if "spool" in each]
    assert "housepredict_drift_predictions" in found


def test_a_part_that_fails_in_an_unexpected_way_is_logged_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    good = Metric("good", "", "gauge")

    def failing() -> list[Metric]:
        raise ZeroDivisionError

    collected = PartsCollector([lambda: iter(failing()), lambda: iter([good])]).collect()
    assert list(collected) == [good]
    assert "ZeroDivisionError" in caplog.text


def test_drift_is_reviewed_once_a_minute() -> None:
    made, now = everything(), 0.0
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


def test_a_review_that_failed_is_tried_again_at_once() -> None:
    made = application(version_with_snapshot())
    predictions = made.storage.predictions = Unreadable(fault=RepositoryUnavailable())
    registry = registry_of(made, Meter.of(SharedCounters.of(1)), lambda: 0.0)
    assert b"drift" not in generate_latest(registry)
    predictions.fault = None
    assert b"drift" in generate_latest(registry)


def test_two_apps_have_metrics_of_their_own() -> None:
    version, artifact = lab_version()
    other = application((evolve(version, name="other"), artifact))
    assert isinstance(other.live_model, LiveModel)
    first = told(application(lab_version()))["housepredict_model_info"].samples[0].labels
    second = told(other)["housepredict_model_info"].samples[0].labels
    assert (first["version"], second["version"]) == ("lab", "other")
