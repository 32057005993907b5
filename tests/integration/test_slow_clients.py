"""Silent, slow, endless and malformed clients are disconnected and do not affect others."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import pytest
from attrs import define, field

from housepredict.entrypoints.http.server.protocol import MIN_UPLOAD_RATE
from tests.integration.services import (
    LAB_HOUSE,
    PREDICT,
    Answer,
    Service,
    assert_refused,
    get,
    post,
    running,
    send,
    stored,
)
from tests.integration.test_shared_service import eventually

SHORT = {"HOUSEPREDICT_CLIENT_TIMEOUT": "0.2", "HOUSEPREDICT_IDLE_TIMEOUT": "0.2"}
LOSSY = "campaign.broken lossy"
HEADERS = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Endless: "
BODY = PREDICT + b"Content-Length: 1000000\r\n\r\n{"
CHUNKS = PREDICT + b"Transfer-Encoding: chunked\r\n\r\n"
UPLOAD = b"POST /train HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 9000000\r\n\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service"), "--demo", **SHORT) as made:
        yield made


@pytest.fixture
def connection(service: Service) -> Iterator[socket.socket]:
    with service.connect() as made:
        yield made


@pytest.fixture
def stream(connection: socket.socket) -> Iterator[IO[bytes]]:
    with connection.makefile("rb") as made:
        yield made


def test_silent_client_is_disconnected(stream: IO[bytes]) -> None:
    assert Answer.read(stream) is None


def test_idle_client_is_disconnected(connection: socket.socket, stream: IO[bytes]) -> None:
    for _ in range(2):
        connection.sendall(post(LAB_HOUSE))
        answer = Answer.read(stream)
        assert answer
        assert (answer.status, answer.closes) == (200, False)
    assert Answer.read(stream) is None


def test_stalled_requests_time_out(service: Service) -> None:
    beginnings = [b"P", HEADERS, BODY, CHUNKS, CHUNKS + b"1\r\n{\r\n0\r\nTrailer: x", UPLOAD + b"price"]
    with ExitStack() as opened:
        late = []
        for begun in beginnings:
            for before in (b"", post(LAB_HOUSE)):
                connection = opened.enter_context(service.connect())
                connection.sendall(before + begun)
                stream = opened.enter_context(connection.makefile("rb"))
                if before:
                    answer = Answer.read(stream)
                    assert answer
                    assert (answer.status, answer.closes) == (200, False)
                late.append(stream)
        for stream in late:
            assert_refused(Answer.read(stream), 408, "request-timeout")
            assert Answer.read(stream) is None


def test_slow_upload_is_accepted_above_minimum_rate(
    service: Service, connection: socket.socket, stream: IO[bytes]
) -> None:
    connection.sendall(UPLOAD)
    for _ in range(8):
        connection.sendall(b"\n" * MIN_UPLOAD_RATE)
        refused, _, _ = select.select([connection], [], [], 0.5)
        assert not refused
    assert_refused(Answer.read(stream), 408, "request-timeout")
    folder = service.log.parent / "data" / "uploads"
    eventually(lambda: not list(folder.iterdir()))


@pytest.mark.parametrize(
    ("request_", "status", "problem"),
    [
        (HEADERS + b"x" * 70_000 + b"\r\n\r\n", 431, "headers-too-large"),
        (HEADERS + b"x\r\n" + b"x:\r\n" * 70_000 + b"\r\n", 431, "headers-too-large"),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 431, "headers-too-large"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        (b"nonsense\r\n\r\n", 400, "malformed-request"),
        (PREDICT + b"Content-Length: many\r\n\r\n", 400, "malformed-request"),
        (CHUNKS + b"nonsense\r\n", 400, "malformed-request"),
    ],
    ids=["long header", "many headers", "long address", "non-ASCII", "not HTTP", "length", "chunk"],
)
@pytest.mark.parametrize("before", [b"", post(LAB_HOUSE)], ids=["first", "second"])
def test_oversized_or_malformed_request_is_rejected(
    connection: socket.socket, stream: IO[bytes], before: bytes, request_: bytes, status: int, problem: str
) -> None:
    connection.sendall(before + request_)
    if before:
        answer = Answer.read(stream)
        assert answer
        assert answer.status == 200
    assert_refused(Answer.read(stream), status, problem)


@pytest.mark.parametrize("endless", [HEADERS, CHUNKS + b"1\r\n{\r\n0\r\nTrailer: "], ids=["headers", "trailers"])
def test_endless_headers_are_rejected(connection: socket.socket, stream: IO[bytes], endless: bytes) -> None:
    with suppress(ConnectionError):
        connection.sendall(endless)
        while True:
            connection.sendall(b"x" * 10_000)
    assert_refused(Answer.read(stream), 431, "headers-too-large")


@define
class Slow:
    """A client that sends a byte now and then and reads nothing."""

    connection: socket.socket
    begins: bytes
    byte: bytes = b"x"
    ended: bool = field(default=False, init=False)

    def send_byte(self) -> None:
        try:
            self.connection.send(self.byte)
        except ConnectionError:
            self.ended = True


def slow_clients(service: Service, opened: ExitStack, begins: bytes, count: int) -> list[Slow]:
    made = []
    for _ in range(count):
        connection = opened.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(service.address)
        connection.sendall(begins)
        made.append(Slow(connection, begins))
    return made


def check_other_clients_are_served(folder: Path, module: str) -> None:
    with running(folder, "--demo", module=module, **SHORT) as service, ExitStack() as opened:
        house = send(service, post([LAB_HOUSE] * 1000))
        acknowledged = [each["id"] for each in house.document["predictions"]]
        tricklers = [*slow_clients(service, opened, HEADERS, 64), *slow_clients(service, opened, BODY, 64)]
        # the operating system alone buffers some megabytes of unread data
        unread = slow_clients(service, opened, get("/predictions?limit=1000") * 20 + HEADERS, 8)
        silent = slow_clients(service, opened, b"", 64)
        while not all(each.ended for each in (*tricklers, *unread)):
            answer = send(service, post(LAB_HOUSE))
            assert answer.status == 200
            acknowledged.append(answer.document["id"])
            for each in (*tricklers, *unread):
                each.send_byte()
        for each in tricklers:
            with each.connection.makefile("rb") as stream:
                assert_refused(Answer.read(stream), 408, "request-timeout")
        for each in silent:
            assert each.connection.recv(1) == b""
        assert service.stop() == 0
    assert sorted(acknowledged) == stored(folder)


def test_slow_clients_do_not_block_others(tmp_path: Path) -> None:
    check_other_clients_are_served(tmp_path / "sound", "housepredict")
    with pytest.raises(AssertionError):
        check_other_clients_are_served(tmp_path / "lossy", LOSSY)
