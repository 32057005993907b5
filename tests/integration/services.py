"""The service as it is started for good, a process and a port, to test from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from attrs import frozen

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

    def connect(self) -> socket.socket:
        return socket.create_connection((urlsplit(self.url).hostname, urlsplit(self.url).port), timeout=30)

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        self.process.send_signal(with_signal)
        return self.process.wait(30)


@contextmanager
def running(folder: Path, *options: str, module: str = "housepredict", **variables: str) -> Iterator[Service]:
    """A service that greeted; stopped at the end, and whose log then holds no traceback."""
    log = folder / "log"
    where = ["--port", "0", "--data-dir", str(folder / "data")]
    command = [sys.executable, "-m", module, "serve", *where, *options]
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


def answer_to(connection: socket.socket, request: bytes) -> tuple[int, bytes]:
    connection.sendall(request)
    return read_answer(connection.makefile("rb"))


def read_answer(stream: IO[bytes]) -> tuple[int, bytes]:
    status = int(stream.readline().split()[1])
    headers = dict(line.strip().lower().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
    return status, stream.read(int(headers[b"content-length"]))
