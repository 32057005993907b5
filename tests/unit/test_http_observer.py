"""Observability of requests: ids, metrics and the access log."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.entrypoints.http.observer import SLOW_S, AccessLog, RequestNames
from tests.http_service import LAB_HOUSE, Faulty, application, lab_version, served

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def client(caplog: pytest.LogCaptureFixture) -> Iterator[TestClient]:
    caplog.set_level(logging.INFO)
    with served(application(lab_version(), access_log="all")) as client:
        yield client


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(each)["fields"] for each in caplog.records if each.name == "housepredict.access"]


def counts(client: TestClient, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of a metric by their label values."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples if sample.name == name)
    return {tuple(each.labels[label] for label in sorted(each.labels)): each.value for each in samples}


def requests(client: TestClient) -> dict[tuple[str, ...], float]:
    """Return the number of requests by method, status and route."""
    samples = counts(client, "http_server_request_duration_seconds_count")
    return {labels: count for labels, count in samples.items() if count}


@pytest.mark.parametrize("id_", ["a", "x" * 128, "Root=1-67891233-abcdef012345678912345678", "f/a+b.c:d_e"])
def test_request_id_from_client_is_used(client: TestClient, id_: str) -> None:
    assert client.get("/health", headers={"X-Request-Id": id_}).headers["X-Request-Id"] == id_


@pytest.mark.parametrize("id_", [b"", b"x" * 129, b"a b", b'a"b', "ä".encode(), b"a\tb", b"<script>"])
def test_malformed_request_id_is_replaced(client: TestClient, id_: bytes) -> None:
    answers = [client.get("/health", headers=[(b"x-request-id", value)]) for value in (id_, id_)]
    first, second = (each.headers["X-Request-Id"] for each in answers)
    assert re.fullmatch("[0-9a-f]{24}", first)
    assert first != second


@pytest.mark.parametrize(
    ("value", "is_valid"),
    [
        (PARENT, True),
        (PARENT[:-2] + "00", True),
        ("cc" + PARENT[2:], True),
        ("cc" + PARENT[2:] + "-more", True),
        (PARENT + "-more", False),
        ("ff" + PARENT[2:], False),
        (PARENT.upper(), False),
        (PARENT.replace(TRACE, "0" * 32), False),
        (PARENT.replace("b7ad6b7169203331", "0" * 16), False),
        (PARENT[:-1], False),
        ("", False),
    ],
)
def test_traceparent_is_used_if_valid(value: str, is_valid: bool) -> None:
    assert RequestNames.of([(b"traceparent", value.encode())]).traceparent == (value if is_valid else None)


@given(st.lists(st.tuples(st.sampled_from([b"x-request-id", b"traceparent", b"other"]), st.binary())))
def test_names_from_any_headers_are_ascii(headers: list[tuple[bytes, bytes]]) -> None:
    names = RequestNames.of(headers)
    assert (names.id or b"").isascii()
    assert (names.traceparent or "").isascii()


def test_requests_are_counted_by_method_route_and_status(client: TestClient) -> None:
    client.post("/predict", json=LAB_HOUSE)
    client.post("/predict", json={})
    client.get("/predict")
    client.get("/models/lab")
    client.get("/models/other")
    client.get("/nowhere/at/all")
    client.get("/nowhere/else")
    client.request("BREW", "/")
    assert requests(client) == {
        ("POST", "200", "/predict"): 1,
        ("POST", "400", "/predict"): 1,
        ("GET", "405", "/predict"): 1,
        ("GET", "200", "/models/{name}"): 1,
        ("GET", "404", "/models/{name}"): 1,
        ("GET", "404", "unknown"): 2,
        ("_OTHER", "405", "/"): 1,
    }
    assert requests(client)["GET", "200", "/metrics"] == 1


def test_refusals_are_counted_by_problem_and_rule(client: TestClient) -> None:
    client.post("/predict", json={"size": -1, "bedrooms": -1, "age": "old"})
    client.post("/predict", content="{", headers={"Content-Type": "application/json"})
    assert counts(client, "housepredict_refusals_total") == {
        ("invalid-houses", "bounds"): 1,
        ("invalid-houses", "type"): 1,
        ("not-json", ""): 1,
    }


def test_batches_and_commits_are_counted(client: TestClient) -> None:
    client.post("/predict", json=[LAB_HOUSE] * 3)
    assert counts(client, "housepredict_batch_houses_sum")["plain",] == 3
    assert counts(client, "housepredict_commit_duration_seconds_count")["plain",] == 1
    assert counts(client, "housepredict_pending_houses") == {(): 0}


def test_failed_commits_are_timed() -> None:
    made = application(lab_version())
    made.storage.predictions = faulty = Faulty()
    with served(made) as client:
        faulty.fault = RepositoryUnavailable()
        assert client.post("/predict", json=LAB_HOUSE).status_code == 503
        assert counts(client, "housepredict_commit_duration_seconds_count")["plain",] == 1


def test_apps_count_requests_separately(client: TestClient) -> None:
    with served(application(lab_version())) as other:
        client.get("/health")
        assert requests(other) == {}
        assert requests(client) == {("GET", "200", "/health"): 1}


def test_access_log_omits_request_content(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    named = {"X-Request-Id": "one", "traceparent": PARENT}
    client.post("/predict?explain=false", json=LAB_HOUSE, headers=named)
    [line] = lines(caplog)
    assert line.pop("duration_ms") >= 0
    assert line == {
        "request_id": "one",
        "traceparent": PARENT,
        "trace_id": TRACE,
        "method": "POST",
        "route": "/predict",
        "status": 200,
        "stands_for": 1,
        "model_version": "lab",
    }


def test_access_log_names_version_of_inference(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    inputs = [{"name": name, "datatype": "INT64", "shape": [1], "data": [value]} for name, value in LAB_HOUSE.items()]
    assert client.post("/v2/models/housepredict/infer", json={"inputs": inputs}).status_code == 200
    [line] = lines(caplog)
    assert line["model_version"] == "lab"


def test_access_log_names_problem_of_refusal(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    client.get("/models/secret-name")
    [line] = lines(caplog)
    assert (line["route"], line["status"], line["problem"]) == ("/models/{name}", 404, "unknown-version")
    assert "secret" not in str(line)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("all", [1, 1, 1, 1, 1]), ("sampled", [1, 0, 1, 1, 2]), ("errors", [0, 0, 1, 1, 0]), ("none", [0] * 5)],
)
def test_access_log_mode_selects_requests(mode: str, expected: list[int]) -> None:
    log = AccessLog(mode)
    passing = [
        (False, 0.0, 100.0),
        (False, 0.0, 100.9),
        (True, 0.0, 100.9),
        (False, SLOW_S, 100.9),
        (False, 0.0, 101.0),
    ]
    assert [log.stands_for(*each) for each in passing] == expected


@given(st.lists(st.floats(0, 0.3), max_size=50))
def test_sampled_log_counts_each_request_once(pauses: list[float]) -> None:
    log, now, total = AccessLog("sampled"), 1000.0, 0
    for pause in pauses:
        now += pause
        total += log.stands_for(False, 0.0, now)
    assert total + log.stands_for(False, 0.0, now + 2) == len(pauses) + 1
