"""Metrics and logs of a service: they cover all workers and contain no secrets."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration.services import LAB_HOUSE, Answer, Service, get, post, running, send

TOKEN = "t0ken-that-nobody-may-see"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"
FEATURES = {"size": 2718.28, "bedrooms": 3, "age": 31}
SENSITIVE = (TOKEN, "2718.28", "s3cret", "private-street")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    variables = {"HOUSEPREDICT_TOKEN": TOKEN, "HOUSEPREDICT_ACCESS_LOG": "all", "HOUSEPREDICT_LOG_LEVEL": "debug"}
    with running(folder, "--demo", "--workers", "2", **variables) as service:
        yield service


def logged(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def estimates(service: Service) -> float:
    """Return the number of estimates according to the metrics."""
    text = send(service, get("/metrics")).body.decode()
    return sum(
        float(value)
        for value in re.findall(
            r'^http_server_request_duration_seconds_count\{.*http_route="/predict".*\} (\S+)$', text, re.MULTILINE
        )
    )


def test_metrics_of_any_worker_include_all_workers(service: Service) -> None:
    before = estimates(service)
    for _ in range(40):  # each on a new connection, so that both workers accept some
        send(service, post(LAB_HOUSE))
    counts = {estimates(service) for _ in range(10)}
    assert counts == {before + 40}


def test_metrics_survive_killed_workers(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", "--workers", "2") as service:
        for _ in range(10):
            send(service, post(LAB_HOUSE))
        for victim in service.workers():
            os.kill(victim, signal.SIGKILL)
            while victim in service.workers():
                pass
        assert estimates(service) == 10


def test_express_lane_keeps_request_and_trace_ids(service: Service) -> None:
    named = f"X-Request-Id: from-outside\r\ntraceparent: {PARENT}\r\nHost".encode()
    with service.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(post(LAB_HOUSE).replace(b"Host", named) + post(LAB_HOUSE) + post({}))
        answers = [Answer.read(stream) for _ in range(3)]
    ids = [answer.headers[b"x-request-id"].decode() for answer in answers if answer]
    assert ids[0] == "from-outside"
    assert len(set(ids)) == 3
    lines: dict[str, dict[str, Any]] = {}
    while len(lines) < 3:  # the line is written after the response is sent
        lines = {each["request_id"]: each for each in logged(service) if each.get("request_id") in ids}
    assert [lines[id_]["status"] for id_ in ids] == [200, 200, 400]
    assert lines["from-outside"]["trace_id"] == TRACE
    assert lines["from-outside"]["model_version"] == "demonstration"
    assert lines[ids[2]]["problem"] == "missing-feature"


def test_log_and_metrics_contain_no_secrets_or_inputs(service: Service) -> None:
    url, wrong = service.url, {"Authorization": "Bearer s3cret-s3cret-s3cret"}
    right = {"Authorization": f"Bearer {TOKEN}"}
    httpx2.post(f"{url}/predict", json=FEATURES)
    httpx2.post(f"{url}/predict?explain=true", json=FEATURES)
    httpx2.post(f"{url}/predict", json=[FEATURES, {**FEATURES, "age": "private-street"}])
    httpx2.post(f"{url}/predict", json={**FEATURES, "private-street": 1})
    named = {"X-Request-Id": "private-street !"}
    httpx2.post(f"{url}/predict?private-street=1", content="private-street", headers=named)
    httpx2.get(f"{url}/private-street?q=private-street")
    httpx2.post(f"{url}/train", headers=wrong)
    httpx2.post(f"{url}/models/private-street/promote", headers=right)
    sale = {"prediction": "private-street", "price": 2718.28, "date": "s3cret"}
    httpx2.post(f"{url}/sales", headers=right, json=sale)
    with service.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(get("/metrics") + b"private-street\r\n\r\n")
        assert Answer.read(stream)
        stream.read()
    log = service.log.read_text()
    assert len(logged(service)) > 9
    assert [each for each in SENSITIVE if each in log] == []
    metrics = httpx2.get(f"{url}/metrics").text
    assert [each for each in SENSITIVE if each in metrics] == []
