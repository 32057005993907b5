"""Run the service in a process of its own, for tests from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self
from urllib.parse import urlsplit

from attrs import frozen

from housepredict.adapters.sqlite.predictions import SqlitePredictions

LAB_HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}
LAB_PRICE = 254206.02
JSON = {"Content-Type": "application/json"}
PREDICT = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HOUSEPREDICT_", "DB_"))}
    return clean | more


@frozen
class Service:
    process: subprocess.Popen[str]
    greeting: str
    log: Path

    @property
    def url(self) -> str:
        return self.greeting.split()[3]

    @property
    def address(self) -> tuple[str, int]:
        url = urlsplit(self.url)
        assert url.hostname
        assert url.port
        return url.hostname, url.port

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def workers(self) -> list[int]:
        """Return the process ids of the service's workers. Linux only."""
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(30)


@contextmanager
def running(folder: Path, *options: str, module: str = "housepredict", **variables: str) -> Iterator[Service]:
    """Run a service until the block ends, then check that its log has no traceback. Yields after the greeting."""
    folder.mkdir(exist_ok=True)
    log = folder / "log"
    where = ["--port", "0", "--data-dir", str(folder / "data")]
    command = [sys.executable, "-m", *module.split(), "serve", *where, *options]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(**variables)
        ) as process,
    ):
        try:
            assert process.stdout
            yield Service(process, greeting(process.stdout, log), log)
        finally:
            process.terminate()
            process.wait(30)
    assert "Traceback" not in log.read_text()


def greeting(output: IO[str], log: Path) -> str:
    lines = ""
    while "curl " not in lines and "cannot estimate" not in lines:
        line = output.readline()
        assert line, f"it ended instead of greeting:\n{lines}{log.read_text()}"
        lines += line
    return lines


def finished(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment(**variables),
        timeout=600,
    )
    assert "Traceback" not in ended.stderr
    return ended


def failing(*options: str, **variables: str) -> tuple[int, str]:
    """Return the exit code and the single error line of a service that fails to start."""
    ended = finished("-m", "housepredict", "serve", *options, **variables)
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return ended.returncode, line


def stored(folder: Path) -> list[str]:
    """Return the ids of all predictions stored by a service in this directory."""
    with SqlitePredictions.open(folder / "data" / "predictions.sqlite") as predictions:
        return sorted(str(each.id) for each in predictions.recent(10**6))


def post(document: object, path: str = "/predict") -> bytes:
    """Return the bytes of a prediction request."""
    body = json.dumps(document).encode()
    return PREDICT.replace(b"/predict", path.encode()) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def get(path: str) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path.encode()


@frozen
class Answer:
    status: int
    headers: Mapping[bytes, bytes]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        return self.headers.get(b"connection") == b"close"

    @classmethod
    def read(cls, stream: IO[bytes]) -> Self | None:
        """Read the next response, or return None if the connection ends first."""
        line = stream.readline()
        if not line:
            return None
        lines = [each.rstrip() for each in iter(stream.readline, b"\r\n")]
        headers = {name.lower(): value for name, _, value in (each.partition(b": ") for each in lines)}
        assert len(headers) == len(lines), "a header came twice"
        return cls(int(line.split()[1]), headers, stream.read(int(headers[b"content-length"])))


def send(service: Service, request: bytes) -> Answer:
    """Return the response to a request sent on a new connection."""
    with service.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(request)
        answer = Answer.read(stream)
    assert answer is not None
    return answer


def assert_refused(answer: Answer | None, status: int, problem: str) -> None:
    assert answer is not None
    assert (answer.status, answer.closes) == (status, True)
    assert answer.headers[b"content-type"] == b"application/problem+json"
    document = answer.document
    assert (document["type"], document["status"]) == (f"urn:housepredict:problem:{problem}", status)
    assert document["error"]


def answer_to(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    connection.sendall(request)
    return read_answer(connection.makefile("rb"))


def read_answer(stream: IO[bytes]) -> tuple[int, bytes]:
    status = int(stream.readline().split()[1])
    headers = dict(line.strip().lower().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
    return status, stream.read(int(headers[b"content-length"]))
