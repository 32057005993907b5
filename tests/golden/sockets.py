"""Requests over a socket to `housepredict serve`: what only the server itself answers, and its shortcut for estimates.

The service is a process of its own, whose clock and ids nobody can fix: they are masked.
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
class Sending:
    """Bytes that are sent over a connection of their own, of which the server says the last word.

    Args:
        about: what is asked for.
        content: the bytes; `Connection: close` is among them if the server would wait for more.
        beside: how many connections are open beside it.
    """

    about: str
    content: bytes
    beside: int = 0

    def entry(self, port: int) -> dict[str, Any]:
        """Send them, and return what comes back until the server closes."""
        with ExitStack() as stack:
            for _ in range(self.beside):
                _keep_open(stack, port)
            connection = stack.enter_context(_connection(port))
            connection.sendall(self.content)
            answer = b""
            # a server that closes before it has read everything may reset the connection after its answer
            with suppress(ConnectionResetError):
                while part := connection.recv(65_536):
                    answer += part
        return {"request": self.about, "answers": list(_answers(answer))}


@frozen
class Server:
    """A service, and what is sent to it.

    Args:
        name: what this is about.
        sendings: what is sent, in its order.
        environment: the settings, as environment variables.
    """

    name: str
    sendings: Sequence[Sending]
    environment: Mapping[str, str] = field(factory=dict)

    def answers(self) -> list[dict[str, Any]]:
        """Start the service, and send everything."""
        with _served(self.environment) as port:
            return [each.entry(port) for each in self.sendings]


def _answers(received: bytes) -> Iterator[Any]:
    """Every answer: the lines of its head, and the document in its body if there is one."""
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
    """Open a connection that stays open, as soon as there is room: the one before may not be quite closed."""
    while True:
        connection = stack.enter_context(_connection(port))
        connection.sendall(_ALIVE)
        if connection.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200":
            return


def _connection(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


@contextmanager
def _served(environment: Mapping[str, str]) -> Iterator[int]:
    """The port of a service."""
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
                Sending("POST /predict", _predicting(_HOUSE)),
                Sending("POST /predict, a list", _predicting(b"[" + _HOUSE + b"]")),
                Sending("POST /predict?explain=true", _predicting(_HOUSE, path=b"/predict?explain=true")),
                Sending(
                    "POST /predict, a warning", _predicting(json.dumps({"size": 9e3, "bedrooms": 9, "age": 1}).encode())
                ),
                Sending("POST /predict, violations", _predicting(b'{"size": "big", "age": 10, "pool": true}')),
                Sending("POST /predict, no JSON", _predicting(b"{")),
                Sending("POST /predict, without a body", _PREDICT + b"Connection: close\r\nContent-Length: 0\r\n\r\n"),
                Sending(
                    "POST /predict, twice in one connection",
                    _PREDICT + _LENGTH % len(_HOUSE) + b"\r\n" + _HOUSE + _predicting(_HOUSE),
                ),
                Sending(
                    "POST /predict, in chunks",
                    _PREDICT
                    + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n28\r\n"
                    + _HOUSE
                    + b"\r\n0\r\n\r\n",
                ),
                Sending("POST /predict, 100-continue", _predicting(_HOUSE, b"Expect: 100-continue")),
                Sending("POST /predict, too large", _predicting(b" " * 2000)),
                Sending("HTTP/1.0", b"GET /health/live HTTP/1.0\r\n\r\n"),
                Sending("malformed", b"nonsense\r\n\r\n"),
                Sending("malformed, a length", _PREDICT + b"Content-Length: many\r\n\r\n"),
                Sending("too large headers", _ALIVE[:-2] + b"X-Endless: " + b"x" * 70_000 + b"\r\n\r\n"),
                Sending("a body that does not arrive", _PREDICT + b"Content-Length: 1000\r\n\r\n{"),
                Sending("one connection too many", b"", beside=4),
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
