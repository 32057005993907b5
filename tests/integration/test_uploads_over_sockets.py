"""Sales uploads over raw sockets: truncated, chunked, and with `Expect: 100-continue`."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.services import Service, running

ROWS = "".join(f"{100 * row},{row % 4},{15_000 * row + row % 7}\n" for row in range(1, 60))
SALES = f"size,rooms,price\n{ROWS}".encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service"), "--demo") as made:
        yield made


def exchange(service: Service, *parts: bytes, shut: bool = False, before: bytes = b"") -> bytes:
    """Return the response to the parts of a request. The second part is sent after `before` was received."""
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=600) as connection:
        answer = b""
        for each in parts:
            connection.sendall(each)
            while before and before not in answer:
                answer += (piece := connection.recv(65536))
                assert piece, answer
            before = b""
        if shut:
            connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65536):
            answer += piece
        return answer


def head(*headers: str, path: str = "/train?algorithm=linear&promote=never") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def statuses(answer: bytes) -> list[int]:
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


def trained(answer: bytes) -> int:
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    evaluation = document["evaluation"]
    return int(evaluation["trained_on"] + evaluation["held_out"])


@pytest.mark.parametrize("type_", [[], ["Content-Type: application/vnd.ms-excel"]])
def test_chunked_upload_of_any_type_is_trained_on(service: Service, type_: list[str]) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (SALES[:5], SALES[5:300], SALES[300:]))
    answer = exchange(service, head("Transfer-Encoding: chunked", *type_), chunks + b"0\r\n\r\n")
    assert statuses(answer) == [200], answer
    assert trained(answer) == 59


def test_empty_chunked_body_retrains_on_current_sales(service: Service) -> None:
    answer = exchange(service, head("Transfer-Encoding: chunked", path="/train"), b"0\r\n\r\n")
    assert statuses(answer) == [200], answer
    assert trained(answer) == 1000


@pytest.mark.parametrize(
    ("headers", "body"), [([], b""), (["Content-Length: 2", "Content-Type: application/json"], b"{}")]
)
def test_request_without_sales_retrains_on_current_sales(service: Service, headers: list[str], body: bytes) -> None:
    answer = exchange(service, head(*headers, path="/train") + body)
    assert statuses(answer) == [200], answer
    assert trained(answer) == 1000


def test_expect_continue_is_rejected_before_body(service: Service) -> None:
    form = head("Content-Type: application/x-www-form-urlencoded", "Content-Length: 5000", "Expect: 100-continue")
    assert statuses(exchange(service, form)) == [415]


def test_expect_continue_gets_100_continue(service: Service) -> None:
    csv = head("Content-Type: text/csv", f"Content-Length: {len(SALES)}", "Expect: 100-continue")
    answer = exchange(service, csv, SALES, before=b"100 Continue")
    assert statuses(answer) == [100, 200], answer


def test_truncated_upload_is_not_trained_on(service: Service, tmp_path: Path) -> None:
    before = newest(service)
    csv = head("Content-Type: text/csv", f"Content-Length: {len(SALES) + 10}")
    assert 200 not in statuses(exchange(service, csv, SALES, shut=True))
    assert newest(service) == before


def newest(service: Service) -> bytes:
    answer = exchange(service, head(path="/trainings?limit=1").replace(b"POST", b"GET"))
    return answer.partition(b"\r\n\r\n")[2]


def test_form_upload_is_rejected_immediately(service: Service) -> None:
    headers = (
        "Content-Type: multipart/form-data; boundary=x",
        "Prefer: respond-async",
        f"Content-Length: {len(SALES)}",
    )
    answer = exchange(service, head(*headers))
    assert statuses(answer) == [415]
    assert b"curl --data-binary @sales.csv" in answer
