"""The hot route is implemented twice, below ASGI and above. Both give the same responses."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from housepredict.entrypoints.http.batching import Estimator
from housepredict.entrypoints.http.observer import Observer
from housepredict.entrypoints.http.request_metrics import Meter, SharedCounters
from housepredict.entrypoints.http.server.express import ExpressProtocol
from housepredict.entrypoints.http.server.server import Server
from housepredict.entrypoints.http.service_state import RunningService, ServiceState
from housepredict.entrypoints.settings import Settings
from tests.http_service import application, lab_version
from tests.integration.services import LAB_HOUSE, Answer, Service, get, post, running, send

VOLATILE = re.compile(rb'"(id|created_at)":"[^"]*"|urn:uuid:[0-9a-f-]*')
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
BODIES = [
    json.dumps(LAB_HOUSE).encode(),
    b' {"age":10 ,"bedrooms":3,\n"size":2500.50}',
    json.dumps([LAB_HOUSE, {"size": 900, "bedrooms": 1, "age": 0}]).encode(),
    b'{"size": 2500, "bedrooms": 3, "age": 1e1}',
    b'{"size": 2500, "bedrooms": 9, "age": 10}',
    b'{"size": 2500, "bedrooms": 3}',
    b'{"size": "2500", "bedrooms": true, "age": NaN, "pool": 1}',
    b'{"size": 2500, "size": 2500, "bedrooms": 3, "age": 10}',
    b'[{"size": 2500, "bedrooms": 3, "age": 10}, {"size": -1}]',
    b'{"size": 1e15, "bedrooms": 3, "age": 10}',
    b"[]",
    b"7",
    b"{",
    b"\xff\xfe",
    b" ",
    b"[" * 30_000,
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service"), "--demo") as made:
        yield made


def plain_request(body: bytes) -> bytes:
    return HEAD + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def comparable(answer: Answer) -> tuple[Any, ...]:
    differing = (b"date", b"content-length", b"x-request-id")
    headers = {name: value for name, value in answer.headers.items() if name not in differing}
    return answer.status, headers, VOLATILE.sub(b"", answer.body)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_express_lane_response_matches_asgi(service: Service, body: bytes) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1], body[1:]) if part)
    chunked = HEAD + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert comparable(send(service, plain_request(body))) == comparable(send(service, chunked))


def test_split_and_pipelined_requests_are_answered_in_order(service: Service) -> None:
    first, *more = [
        plain_request(json.dumps({**LAB_HOUSE, "size": size}).encode()) for size in (999, 1000, 1001, 1002, 1003)
    ]
    with service.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(first)
        answers = [Answer.read(stream)]
        for part in (more[0][:30], more[0][30:-4], more[0][-4:] + more[1][:50], more[1][50:], *more[2:]):
            connection.sendall(part)
        answers += [Answer.read(stream) for _ in more]
    assert [answer and answer.document["input"]["size"] for answer in answers] == [999, 1000, 1001, 1002, 1003]


def test_explain_request_leaves_lane(service: Service) -> None:
    usual = plain_request(BODIES[0])
    for query, explained in ((b"", False), (b"?", False), (b"?explain=false", False), (b"?explain=true", True)):
        answer = send(service, usual.replace(b"/predict", b"/predict" + query, 1))
        assert answer.status == 200
        assert ("explanation" in json.loads(answer.body)) is explained


def test_other_content_types_and_codings_leave_lane(service: Service) -> None:
    body = json.dumps(LAB_HOUSE).encode()
    as_table = send(service, plain_request(body).replace(b"Host", b"Accept: Text/CSV\r\nHost", 1))
    assert as_table.headers[b"content-type"] == b"text/csv; charset=utf-8"
    packed = gzip.compress(body)
    assert send(service, plain_request(packed).replace(b"Host", b"Content-Encoding: gzip\r\nHost", 1)).status == 200
    table = send(service, plain_request(b"size,bedrooms,age\n2500,3,10").replace(b"application/json", b"text/csv", 1))
    assert len(table.document["predictions"]) == 1
    many = plain_request(json.dumps([LAB_HOUSE] * 100).encode())
    for accepted, coding in ((b"gzip, deflate", b"gzip"), (b"identity", None)):
        answer = send(service, many.replace(b"Host", b"Accept-Encoding: %b\r\nHost" % accepted, 1))
        assert answer.headers.get(b"content-encoding") == coding
        content = gzip.decompress(answer.body) if coding else answer.body
        assert len(json.loads(content)["predictions"]) == 100
    compact = plain_request(b"[%b]" % b",".join([b'{"size":2500,"bedrooms":3,"age":1}'] * 60))
    assert send(service, compact.replace(b"Host", b"Accept-Encoding: gzip\r\nHost", 1)).headers[b"content-encoding"]


def test_cross_origin_request_leaves_lane(tmp_path: Path) -> None:
    from_a_page = post(LAB_HOUSE).replace(b"Host", b"Origin: https://prices.example\r\nHost", 1)
    with running(tmp_path, "--demo", HOUSEPREDICT_CORS_ORIGINS="https://prices.example") as open_service:
        answer, other = (send(open_service, request) for request in (from_a_page, post(LAB_HOUSE)))
    assert (answer.status, other.status) == (200, 200)
    assert answer.headers[b"access-control-allow-origin"] == b"https://prices.example"
    assert b"access-control-allow-origin" not in other.headers


def test_unusual_headers_leave_lane(service: Service) -> None:
    body = json.dumps(LAB_HOUSE).encode()
    length = b"Content-Length: %d\r\n" % len(body)
    for headers, status in {
        b"Content-Type: application/json; charset=utf-8\r\n": 200,
        b"Content-Type: application/json\r\nExpect: 100-continue\r\n": 100,
        b"Content-Type: application/json\r\nContent-Type: application/json\r\n": 415,
        b"Content-Type: text/plain\r\n": 415,
        b"": 415,
    }.items():
        with service.connect() as connection, connection.makefile("rb") as stream:
            connection.sendall(HEAD + headers + length + b"\r\n" + body)
            assert int(stream.readline().split()[1]) == status


def test_mixed_pipelined_requests_are_answered_in_order(service: Service) -> None:
    requests = [post({**LAB_HOUSE, "size": 1000 + number}) for number in range(6)]
    requests[1::2] = [get("/health/live"), get("/nowhere"), post({})]
    with service.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(b"".join(requests))
        answers = [Answer.read(stream) for _ in requests]
    assert [answer.status for answer in answers if answer] == [200, 200, 200, 404, 200, 400]
    assert [answer.document["input"]["size"] for answer in answers[::2] if answer] == [1000, 1002, 1004]


def test_connection_close_header_closes_connection(service: Service) -> None:
    with service.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(post(LAB_HOUSE).replace(b"Host", b"Connection: close\r\nHost"))
        answer = Answer.read(stream)
        assert answer
        assert (answer.status, answer.closes) == (200, True)
        assert stream.read() == b""


class Wire(asyncio.Transport):
    """A transport that queues the data written by a protocol."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 5000), "peername": ("127.0.0.1", 50000)})
        self.written: asyncio.Queue[bytes] = asyncio.Queue()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.put_nowait(bytes(data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Do nothing, because all data has already been delivered."""

    def resume_reading(self) -> None:
        """Do nothing."""


def test_express_lane_responds_without_app(tmp_path: Path) -> None:
    async def scene() -> Sequence[bytes]:
        made = application(lab_version())
        settings = Settings(tmp_path)
        app = Starlette()  # an app without routes
        server = Server(app, settings, lambda: None)
        server.config.load()
        estimator = Estimator(made.live_model, made.predict, 10_000, 10, 10)
        observer = Observer.of((), Meter.of(SharedCounters.of(1)), "none", None)
        app.state.service = ServiceState(embedded=False, running=RunningService(made, observer, estimator, estimator))
        made.live_model.current()
        protocol_options: dict[str, Any] = {
            "config": server.config,
            "server_state": server.server_state,
            "app_state": {},
        }
        connection, wire = ExpressProtocol(settings, **protocol_options), Wire()
        connection.connection_made(wire)
        try:
            for size in (2500, 999, 998):  # the second request arrives before the first is answered
                connection.data_received(post({**LAB_HOUSE, "size": size}))
            return [await wire.written.get() for _ in range(3)]
        finally:
            await asyncio.to_thread(estimator.close)

    answers = asyncio.run(scene())
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 3
    assert [json.loads(answer.partition(b"\r\n\r\n")[2])["input"]["size"] for answer in answers] == [2500, 999, 998]


@pytest.mark.parametrize(
    "changed",
    [
        "_start_asgi_task",
        "on_response_complete",
        "body",
        "keep_alive",
        "more_body",
        "message_event",
        "response_complete",
        "response_started",
        "pipeline",
        "late keep_alive",
        "late body",
        "late scope",
    ],
)
def test_uvicorn_with_changed_internals_disables_lane(tmp_path: Path, changed: str) -> None:
    module = "tests.integration.changed_uvicorn"
    with running(tmp_path, "--demo", module=module, CHANGED=changed) as service:
        answers: list[Answer | None] = []
        for _ in range(2):
            with service.connect() as connection, connection.makefile("rb") as stream:
                answers.clear()
                for count in (2, 1, 1, 2):
                    connection.sendall(plain_request(BODIES[0]) * count)
                    answers += [Answer.read(stream) for _ in range(count)]
                connection.sendall(plain_request(BODIES[5]) + get("/health/live"))
                answers += [Answer.read(stream) for _ in range(2)]
            assert [answer and answer.status for answer in answers] == [200] * 6 + [400, 200]
        log = service.log.read_text()
        assert log.count("is not supported (") == 1
        assert "Traceback" not in log
    assert len({answer.document["id"] for answer in answers[:6] if answer}) == 6
