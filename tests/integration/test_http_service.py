"""The service in a process of its own, with all kinds of clients."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.integration.services import (
    JSON,
    LAB_HOUSE,
    LAB_PRICE,
    PREDICT,
    Service,
    answer_to,
    failing,
    finished,
    read_answer,
    running,
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service"), "--demo", HOUSEPREDICT_MAX_BODY="2048") as made:
        yield made


def test_greeting_request_returns_tutorial_price(service: Service) -> None:
    words = shlex.split(service.greeting.splitlines()[-1])
    assert words[:4] == ["curl", "-X", "POST", f"{service.url}/predict"]
    assert words[4:6] == ["-H", "Content-Type: application/json"]
    assert json.loads(words[7]) == LAB_HOUSE
    answer = httpx2.post(words[3], content=words[7], headers=JSON)
    assert answer.status_code == 200
    assert answer.json()["prediction"] == LAB_PRICE
    assert answer.json()["input"] == LAB_HOUSE
    assert httpx2.get(f"{service.url}/predictions").json()["predictions"][0]["predicted_price"] == LAB_PRICE


def test_demonstration_is_labeled_everywhere(service: Service) -> None:
    assert "synthetic" in service.greeting
    assert "synthetic" in service.log.read_text()
    (warning,) = httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).json()["warnings"]
    assert warning["code"] == "demonstration"


def test_response_has_date_header_and_no_server_header(service: Service) -> None:
    headers = httpx2.get(f"{service.url}/health/live").headers
    assert "Date" in headers
    assert "Server" not in headers


def test_head_response_has_no_body(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        stream = connection.makefile("rb")
        head = b"".join(iter(stream.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 200")
        assert read_answer(stream) == (200, b'{"status":"alive"}')


def test_removed_setting_logs_warning(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", HOUSEPREDICT_RATE_LIMIT="1/h") as service:
        assert [httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).status_code for _ in range(2)] == [200, 200]
        assert "HOUSEPREDICT_RATE_LIMIT was removed and has no effect: limit requests" in service.log.read_text()


def test_body_over_limit_is_rejected_early(service: Service) -> None:
    for framing, body in (
        (b"Transfer-Encoding: chunked\r\n\r\n", b"800\r\n" + b" " * 2048 + b"\r\n1\r\n \r\n"),
        (b"Content-Length: 2049\r\n\r\n", b""),
    ):
        with service.connect() as connection:
            status, answer = answer_to(connection, PREDICT + framing + body)
            assert status == 413
            assert json.loads(answer)["type"] == "urn:housepredict:problem:body-too-large"


def test_connection_survives_rejected_body(service: Service) -> None:
    with service.connect() as connection:
        stream = connection.makefile("rb")
        connection.sendall(PREDICT + b"Content-Length: 100000\r\n\r\n" + b" " * 100_000)
        assert read_answer(stream)[0] == 413
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(stream)[0] == 200


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    sizes = [1000, 2000, "x", 3000]
    requests = b""
    for size in sizes:
        body = json.dumps({**LAB_HOUSE, "size": size}).encode()
        requests += PREDICT + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with service.connect() as connection:
        connection.sendall(requests)
        stream = connection.makefile("rb")
        answers = [read_answer(stream) for _ in sizes]
    assert [status for status, _ in answers] == [200, 200, 422, 200]
    assert [json.loads(body)["input"]["size"] for status, body in answers if status == 200] == [1000, 2000, 3000]


@pytest.mark.parametrize("pieces", [1, 2, 9])
def test_http2_upgrade_offer_is_answered_in_http1(service: Service, pieces: int) -> None:
    body = json.dumps(LAB_HOUSE).encode()
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    sent = PREDICT + offer + b"Content-Length: %d\r\n\r\n" % len(body) + body
    sent += b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n" + b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"
    size = -(-len(sent) // pieces)
    with service.connect() as connection:
        stream = connection.makefile("rb")
        for start in range(0, len(sent), size):
            connection.sendall(sent[start : start + size])
        answers = [read_answer(stream) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 200]
    assert json.loads(answers[0][1])["input"] == LAB_HOUSE
    assert [b"alive" in answers[1][1], b"extensions" in answers[2][1]] == [True, True]


def test_many_pipelined_upgrade_offers_are_answered(service: Service) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    with service.connect() as connection:
        stream = connection.makefile("rb")
        connection.sendall(request * 2000)
        assert {read_answer(stream)[0] for _ in range(2000)} == {200}


def non_access_lines(service: Service) -> list[str]:
    """Return all log lines except the access log."""
    lines = service.log.read_text().splitlines()
    return [line for line in lines if json.loads(line)["logger"] != "housepredict.access"]


def test_disconnecting_clients_log_no_errors(service: Service) -> None:
    before = non_access_lines(service)
    for part in (
        b"",
        b"POST",
        PREDICT,
        PREDICT + b"Content-Length: 40\r\n\r\n{",
        PREDICT + b"Content-Length: 0\r\n\r\n",
    ):
        for linger in (struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)):  # a reset, and an orderly close
            with service.connect() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(part)
    assert httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).status_code == 200
    assert non_access_lines(service) == before


def test_forwarded_headers_do_not_grant_loopback_access(service: Service) -> None:
    for header in ("X-Forwarded-For", "Forwarded"):
        answer = httpx2.post(f"{service.url}/train", headers={header: "127.0.0.1"})
        assert answer.status_code == 403


def test_predictions_survive_restart(tmp_path: Path) -> None:
    with running(tmp_path, "--demo") as first:
        sent = httpx2.post(f"{first.url}/predict", json=[LAB_HOUSE] * 3).json()["predictions"]
        assert first.stop() == 0
    with running(tmp_path, "--demo") as second:
        stored_predictions = httpx2.get(f"{second.url}/predictions").json()["predictions"]
    assert [each["id"] for each in stored_predictions] == [each["id"] for each in sent][::-1]


def test_predictions_survive_kill(tmp_path: Path) -> None:
    with running(tmp_path, "--demo") as first:
        sent = httpx2.post(f"{first.url}/predict", json=LAB_HOUSE).json()
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    with running(tmp_path, "--demo") as second:
        assert httpx2.get(f"{second.url}/predictions").json()["predictions"][0]["id"] == sent["id"]


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_answers_accepted_requests(tmp_path: Path, with_signal: int) -> None:
    body = json.dumps(LAB_HOUSE).encode()
    with running(tmp_path, "--demo") as service, service.connect() as connection:
        connection.sendall(PREDICT + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
        stream = connection.makefile("rb")
        # from here on, the service waits for the body
        assert stream.readline().startswith(b"HTTP/1.1 100")
        assert stream.readline() == b"\r\n"
        service.process.send_signal(with_signal)
        connection.sendall(body)
        status, answer = read_answer(stream)
        assert (status, json.loads(answer)["prediction"]) == (200, LAB_PRICE)
        assert service.process.wait(30) == 0
        assert service.process.stdout
        assert service.process.stdout.read() == ""


def test_service_without_model_explains_training(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        assert "housepredict train" in service.greeting
        assert httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).status_code == 503
        assert httpx2.get(f"{service.url}/health/ready").status_code == 503
        assert httpx2.get(f"{service.url}/health").status_code == 200


def test_token_from_environment_is_required(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", HOUSEPREDICT_TOKEN="an-example-of-a-token") as service:
        assert httpx2.post(f"{service.url}/train").status_code == 401


def test_retrained_demonstration_stays_in_service(tmp_path: Path) -> None:
    with running(tmp_path, "--demo") as service:
        trained = httpx2.post(f"{service.url}/train", timeout=600)
        assert trained.status_code == 200, trained.text
        assert trained.json()["message"] == "Model retrained successfully"
        answer = httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).json()
        assert (answer["prediction"], answer["model_version"]) == (LAB_PRICE, trained.json()["model_version"])
    with running(tmp_path) as service:
        assert trained.json()["model_version"] in service.greeting


def test_port_in_use_is_reported_in_one_line(service: Service, tmp_path: Path) -> None:
    port = str(urlsplit(service.url).port)
    code, line = failing("--port", port, "--data-dir", str(tmp_path))
    assert code == 1
    assert port in line


def test_unusable_storage_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    code, line = failing("--port", "0", "--data-dir", str(tmp_path / "data"))
    assert code == 5
    assert "data" in line


def test_unreachable_database_spools_predictions_and_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"postgresql://me:s3cret@127.0.0.1:{port}/mldata"
    with running(tmp_path, "--demo", HOUSEPREDICT_DATABASE_URL=url, HOUSEPREDICT_MODELS="folder") as service:
        assert httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).status_code == 200
        read = httpx2.get(f"{service.url}/predictions").json()
        assert read["predictions"][0]["predicted_price"] == LAB_PRICE
        assert (read["spool"]["pending"], read["spool"]["database"]) == (1, "unavailable")
        ready = httpx2.get(f"{service.url}/health/ready")
        assert ready.status_code == 200
        assert f"127.0.0.1:{port}" in ready.json()["checks"]["predictions"]["spool"]["reason"]
    log = service.log.read_text()
    assert "predictions are pending in the spool" in log
    assert "s3cret" not in log


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_missing_extra_names_package_to_install(missing: str) -> None:
    without = f"import sys; sys.modules[{missing!r}] = None"
    ended = finished("-c", f"{without}; from housepredict.entrypoints.cli.main import main; sys.exit(main(['serve']))")
    assert ended.returncode == 6
    assert "housepredict[serve]" in ended.stderr


def test_serving_loads_no_scikit_learn_or_driver(tmp_path: Path) -> None:
    script = """
import sys
from starlette.testclient import TestClient
from housepredict import asgi_app
with TestClient(asgi_app()) as client:
    assert client.post("/predict", json={"size": 2500, "bedrooms": 3, "age": 10}).status_code == 200
    assert client.get("/predictions").status_code == 200
print(*({"sklearn", "scipy", "joblib", "psycopg", "pyarrow", "uvicorn"} & sys.modules.keys()))
"""
    ended = finished("-c", script, HOUSEPREDICT_DEMO="1", HOUSEPREDICT_DATA_DIR=str(tmp_path))
    assert (ended.returncode, ended.stdout.split()) == (0, []), ended.stderr


def test_lossy_service_loses_predictions(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", module="campaign.broken lossy") as service:
        assert httpx2.post(f"{service.url}/predict", json=LAB_HOUSE).status_code == 200
        assert httpx2.get(f"{service.url}/predictions").json()["predictions"] == []
