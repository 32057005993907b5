"""Services as real processes, which can be started, killed and restarted."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

from attrs import define, field

LONG = 60.0
"""Timeout in seconds for operations that take a few seconds at most."""


def spool_of(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the `spool` of a list of predictions or a readiness check. The previous release names it `behind`."""
    spool: Mapping[str, Any] | None = document.get("spool", document.get("behind"))
    return spool


class NotReady(AssertionError):
    """A service did not become ready."""


@define
class Service:
    """A service: a data folder, a port, and a process, if it runs."""

    folder: Path
    port: int
    variables: Mapping[str, str] = field(factory=dict)
    options: tuple[str, ...] = ("--demo",)
    command: tuple[str, ...] = (sys.executable, "-m", "housepredict")
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def has_ended(self) -> bool:
        """Return whether its process has ended without being stopped."""
        return self._process is not None and self._process.poll() is not None

    def workers(self) -> list[int]:
        """Return the ids of its worker processes. Works only on Linux."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, without waiting until it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        where = ("serve", "--port", str(self.port), "--data-dir", str(self.folder / "data"))
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HOUSEPREDICT_", "DB_"))}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, *where, *self.options],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=clean | dict(self.variables),
                start_new_session=True,
            )

    def wait_until_ready(self, within: float = LONG, *, restart: bool = False) -> float:
        """Wait until it is ready, and return the seconds. With `restart`, start the process again if it ends."""
        began = time.monotonic()
        while (status := self.readiness()[0]) != 200:
            if time.monotonic() > began + within:
                raise NotReady(f"{self.name} is not ready after {within} s: {status}, see {self.log}")
            assert self._process
            if self._process.poll() is not None:
                if not restart:
                    raise NotReady(f"{self.name} ended with exit code {self._process.returncode}, see {self.log}")
                self.start()
            pause(0.02)
        return time.monotonic() - began

    def readiness(self) -> tuple[int | None, Any]:
        """Return the status and document of `/health/ready`; None without an answer."""
        return self.get("/health/ready")

    def get(self, path: str) -> tuple[int | None, Any]:
        """Return the status and document of a path; None without an answer."""
        try:
            return ask(self.port, "GET", path)
        except (OSError, http.client.HTTPException):
            return None, None

    def serving_workers(self) -> int:
        """Count the workers that have started to serve: each publishes its generation as a metric."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=LONG) as answer:
            text: bytes = answer.read()
        return text.count(b"\nhousepredict_model_generation{")

    def wait_until_caught_up(self, within: float = LONG) -> float:
        """Wait until its spool is drained and its database available, and return the seconds."""
        began = time.monotonic()
        while True:
            status, document = self.readiness()
            if status == 200 and spool_of(document["checks"]["predictions"]) is None:
                return time.monotonic() - began
            if time.monotonic() > began + within:
                raise NotReady(f"{self.name} has not caught up after {within} s: {document}, see {self.log}")
            pause(0.05)

    def kill(self) -> None:
        """Kill the process without its workers, and wait for its end."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Stop the process with SIGTERM, and return its exit code. Then kill the rest of its process group."""
        assert self._process
        self._process.terminate()
        try:
            return self._process.wait(LONG)
        finally:
            self.destroy()

    def destroy(self) -> None:
        """Kill the process and all its children, at the end of a trial."""
        if self._process:
            with suppress(ProcessLookupError):  # all have ended
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def ask(
    port: int, method: str, path: str, document: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """Send a request on a new connection. Returns the status and document. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
    try:
        return send(connection, method, path, document, headers)
    finally:
        connection.close()


def send(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    document: object = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Any]:
    """Send a request. Returns the status and document. Raises OSError, or HTTPException if the answer is incomplete.

    A document is sent as JSON, unless it is bytes, whose type must be in `headers`.
    """
    begin(connection, method, path, document, headers)
    return finish(connection)


def begin(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    document: object = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a request, without waiting for the answer. Raises OSError."""
    if document is None or isinstance(document, bytes):
        body, kind = document, {}
    else:
        body, kind = json.dumps(document).encode(), {"Content-Type": "application/json"}
    connection.request(method, path, body, {**kind, **(headers or {})})


def finish(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    """Read the answer to a request. Returns the status and document. Raises OSError or HTTPException."""
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, json.loads(content) if content else None


def is_alive(process: int) -> bool:
    """Return whether a process is running, even if it isn't a child. Works only on Linux."""
    try:
        _, _, rest = Path(f"/proc/{process}/stat").read_text().rpartition(") ")
    except OSError:
        return False
    return rest[0] not in "ZX"


def pause(seconds: float) -> None:
    """Wait between polls of other processes."""
    Event().wait(seconds)
