"""Requests over a socket to `housepredict serve`: answers of the server itself, and its shortcut for estimates.

The service runs as a process of its own, with the system's clock and random ids. Both are masked.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import field, frozen

from tests.golden.masks import mask_document, mask_text

_ALIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
_HOUSE = b'{"size": 2500, "bedrooms": 3, "age": 10}'
_PREDICT = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_LENGTH = b"Content-Length: %d\r\n"
_MASKS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"^date: .*", re.IGNORECASE | re.MULTILINE), "date: TIME"),
    (re.compile(r"^x-request-id: .*", re.IGNORECASE | re.MULTILINE), "x-request-id: ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.+]{8,}"), "TIME"),
)


@frozen
class RawRequest:
    """Bytes that are sent over a new connection. The server closes it.

    Args:
        about: the title in the recorded file.
        content: the bytes; they include `Connection: close` if the server would otherwise keep the connection open.
        beside: the number of other open connections.
        is_slow: whether the answer takes seconds. It is then sent before all others.
    """

    about: str
    content: bytes
    beside: int = 0
    is_slow: bool = False

    def send(self, port: int) -> socket.socket:
        """Send the bytes. Returns the connection."""
        connection = _connection(port)
        connection.sendall(self.content)
        return connection

    def entry(self, port: int, sent: socket.socket | None) -> dict[str, Any]:
        """Send the bytes unless they were sent. Returns every answer on the connection."""
        with ExitStack() as stack:
            for _ in range(self.beside):
                _keep_open(stack, port)
            connection = stack.enter_context(sent or self.send(port))
            answer = b""
            # A server that closes before it has read everything resets the connection after its answer.
            with suppress(ConnectionResetError):
                while part := connection.recv(65_536):
                    answer += part
        return {"request": self.about, "answers": list(_answers(answer))}


@frozen
class Server:
    """Requests to one service, in order.

    Args:
        name: the title in the recorded file.
        requests: the requests.
        environment: the settings, as environment variables.
    """

    name: str
    requests: Sequence[RawRequest]
    environment: Mapping[str, str] = field(factory=dict)

    def answers(self) -> list[dict[str, Any]]:
        """Start the service and send every request. Returns the entries to record."""
        with _served(self.environment) as port:
            sent = {request: request.send(port) for request in self.requests if request.is_slow}
            return [request.entry(port, sent.get(request)) for request in self.requests]


def _answers(received: bytes) -> Iterator[Any]:
    """Split received bytes into answers: the lines of each head, and the document in the body."""
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        found = re.search(rb"^content-length: (\d+)", head, re.IGNORECASE | re.MULTILINE)
        length = int(found[1]) if found else 0
        body, received = received[:length], received[length:]
        document = {"body": mask_document(json.loads(_masked(body)))} if body else {}
        yield {"head": _masked(head).splitlines(), **document}


def _masked(answer: bytes) -> str:
    text = mask_text(answer.decode().replace("\r\n", "\n"))
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return text


def _keep_open(stack: ExitStack, port: int) -> None:
    """Open a connection that stays open. Retries while the server still counts an earlier connection."""
    while True:
        connection = stack.enter_context(_connection(port))
        connection.sendall(_ALIVE)
        if connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200":
            return


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


@contextmanager
def _served(environment: Mapping[str, str]) -> Iterator[int]:
    """Run a service. Yields its port."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("HOUSEPREDICT_", "DB_", "OTEL_"))
    }
    with TemporaryDirectory(prefix="golden-") as folder, (Path(folder) / "log").open("w") as log:
        command = [sys.executable, "-m", "housepredict", "serve", "--demo", "--port", "0", "--data-dir", folder]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**clean, **environment}
        ) as process:
            try:
                assert process.stdout
                lines: Iterator[str] = iter(process.stdout.readline, "")
                found = next(found for line in lines if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
                yield int(found[1])
            finally:
                process.terminate()
                process.wait(60)


def _predicting(body: bytes, *headers: bytes, path: bytes = b"/predict") -> bytes:
    lines = b"".join(header + b"\r\n" for header in (*headers, b"Connection: close"))
    return _PREDICT.replace(b"/predict", path) + _LENGTH % len(body) + lines + b"\r\n" + body


SOCKETS: Mapping[str, Sequence[Server]] = {
    "sockets": (
        Server(
            "a server",
            (
                RawRequest("POST /predict", _predicting(_HOUSE)),
                RawRequest("POST /predict, a list", _predicting(b"[" + _HOUSE + b"]")),
                RawRequest("POST /predict?explain=true", _predicting(_HOUSE, path=b"/predict?explain=true")),
                RawRequest(
                    "POST /predict, a warning", _predicting(json.dumps({"size": 9e3, "bedrooms": 9, "age": 1}).encode())
                ),
                RawRequest("POST /predict, violations", _predicting(b'{"size": "big", "age": 10, "pool": true}')),
                RawRequest("POST /predict, no JSON", _predicting(b"{")),
                RawRequest(
                    "POST /predict, without a body", _PREDICT + b"Connection: close\r\nContent-Length: 0\r\n\r\n"
                ),
                RawRequest(
                    "POST /predict, twice in one connection",
                    _PREDICT + _LENGTH % len(_HOUSE) + b"\r\n" + _HOUSE + _predicting(_HOUSE),
                ),
                RawRequest(
                    "POST /predict, in chunks",
                    _PREDICT
                    + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n28\r\n"
                    + _HOUSE
                    + b"\r\n0\r\n\r\n",
                ),
                RawRequest("POST /predict, 100-continue", _predicting(_HOUSE, b"Expect: 100-continue")),
                RawRequest("POST /predict, too large", _predicting(b" " * 2000)),
                RawRequest("HTTP/1.0", b"GET /health/live HTTP/1.0\r\n\r\n"),
                RawRequest("malformed", b"nonsense\r\n\r\n"),
                RawRequest("malformed, a length", _PREDICT + b"Content-Length: many\r\n\r\n"),
                RawRequest("too large headers", _ALIVE[:-2] + b"X-Endless: " + b"x" * 70_000 + b"\r\n\r\n"),
                RawRequest("a body that does not arrive", _PREDICT + b"Content-Length: 1000\r\n\r\n{", is_slow=True),
                RawRequest("one connection too many", b"", beside=4),
            ),
            {
                "HOUSEPREDICT_MAX_BODY": "1024",
                "HOUSEPREDICT_CLIENT_TIMEOUT": "1",
                "HOUSEPREDICT_MAX_CONNECTIONS": "4",
                "HOUSEPREDICT_DATABASE_URL": "memory:",
            },
        ),
    ),
}
