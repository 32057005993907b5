"""The bundled dashboard and alert rules use metrics that the service exports."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from promql_parser import parse

from tests.docs.environment import ROOT
from tests.http_service import LAB_HOUSE, served
from tests.unit.test_http_metrics import full_application

ASSETS = ROOT / "docs" / "assets"
PROMETHEUS_NAMES = {"up", "job", "instance"}
_IN_STRINGS = re.compile(r'"[^"]*"')
_NAMES = re.compile(r"\b(?:housepredict|http_server)_\w+|\bup\b")
_LABELS = re.compile(r"(\w+)=~?\"")
_GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((ASSETS / "alerts.yaml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    document = json.loads((ASSETS / "dashboard.json").read_text(encoding="utf-8"))
    return [each for each in document["panels"] if each["type"] != "row"]


def expressions() -> list[str]:
    asked = [rule["expr"] for rule in rules()]
    asked += [target["expr"] for panel in panels() for target in panel["targets"]]
    return [each.replace("$__rate_interval", "5m").replace("$job", "housepredict") for each in asked]


@pytest.fixture(scope="module")
def metric_texts() -> tuple[str, str]:
    """The metrics in the Prometheus and OpenMetrics text formats."""
    with served(full_application()) as client:
        client.post("/predict", json={})
        client.post("/predict", json=LAB_HOUSE)
        text = client.get("/metrics")
        openmetrics = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    return text.text, openmetrics.text


def test_metric_formats_agree(metric_texts: tuple[str, str]) -> None:
    text, openmetrics = metric_texts
    readers = (read_text, text), (read_openmetrics, openmetrics)
    named = [{each.name for family in read(answer) for each in family.samples} for read, answer in readers]
    assert named[0] == named[1]


@pytest.mark.parametrize("expression", expressions(), ids=range(len(expressions())))
def test_expressions_use_exported_metrics_and_labels(expression: str, metric_texts: tuple[str, str]) -> None:
    parse(expression)  # raises ValueError
    samples = [sample for family in read_text(metric_texts[0]) for sample in family.samples]
    metrics = {sample.name for sample in samples} | PROMETHEUS_NAMES
    labels = {label for sample in samples for label in sample.labels} | PROMETHEUS_NAMES
    assert set(_NAMES.findall(_IN_STRINGS.sub("", expression))) <= metrics
    grouped = {label.strip() for group in _GROUPED.findall(expression) for label in group.split(",")}
    assert {*_LABELS.findall(expression), *grouped} <= labels


def test_alert_rules_are_complete() -> None:
    alert_rules = rules()
    assert len({rule["alert"] for rule in alert_rules}) == len(alert_rules) > 5
    for rule in alert_rules:
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")


def test_dashboard_panels_are_described_and_do_not_overlap() -> None:
    all_panels = panels()
    cells = [
        (x, y)
        for panel in all_panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in all_panels)
