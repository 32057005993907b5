"""Services as real processes: started, killed, and started again where they were."""

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
"""Seconds after which something is held to be stuck; all of it takes a few at most."""


def spool_of(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What waits in a spool, by a list of predictions or a readiness check; the previous release has it as `behind`."""
    spool: Mapping[str, Any] | None = document.get("spool", document.get("behind"))
    return spool


class NotReady(AssertionError):
    """A service did not become ready."""


@define
class Service:
    """One service: a data folder, a port, and the process that serves there, if it runs."""

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
        """Whether its process has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def workers(self) -> list[int]:
        """The ids of its worker processes; Linux alone tells."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(each) for each in children.read_text().split()]

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process. Does not wait until it is ready."""
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
        """The seconds until it says that it is ready. With `restart`, a process that ends is started again."""
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
        """The status and the document of `/health/ready`; None where nobody answers."""
        return self.get("/health/ready")

    def get(self, path: str) -> tuple[int | None, Any]:
        """The status and the document at a path; None where nobody answers."""
        try:
            return ask(self.port, "GET", path)
        except (OSError, http.client.HTTPException):
            return None, None

    def serving_workers(self) -> int:
        """The number of its workers that have started to serve: each of them publishes its generation."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=LONG) as answer:
            text: bytes = answer.read()
        return text.count(b"\nhousepredict_model_generation{")

    def wait_until_caught_up(self, within: float = LONG) -> float:
        """The seconds until nothing waits in its spool and it reaches its database."""
        began = time.monotonic()
        while True:
            status, document = self.readiness()
            if status == 200 and spool_of(document["checks"]["predictions"]) is None:
                return time.monotonic() - began
            if time.monotonic() > began + within:
                raise NotReady(f"{self.name} has not caught up after {within} s: {document}, see {self.log}")
            pause(0.05)

    def kill(self) -> None:
        """End the process without a word, and wait for it. Its workers are left to themselves."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """The exit code after SIGTERM; whatever is left of its processes is killed then."""
        assert self._process
        self._process.terminate()
        try:
            return self._process.wait(LONG)
        finally:
            self.destroy()

    def destroy(self) -> None:
        """Kill the process and all that it started, for the end of a trial."""
        if self._process:
            with suppress(ProcessLookupError):  # nothing is left
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def ask(
    port: int, method: str, path: str, document: object = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """The status and the document of one request on a connection of its own. Raises OSError or HTTPException."""
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
    """The status and the document of one request. Raises OSError, or HTTPException where the answer is cut off.

    The document is sent as JSON; bytes are sent as they are, and `headers` say what they are.
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
    """Send one request, and return when all of it is sent. Raises OSError."""
    if document is None or isinstance(document, bytes):
        body, kind = document, {}
    else:
        body, kind = json.dumps(document).encode(), {"Content-Type": "application/json"}
    connection.request(method, path, body, {**kind, **(headers or {})})


def finish(connection: http.client.HTTPConnection) -> tuple[int, Any]:
    """The status and the document of the request that was sent. Raises OSError or HTTPException."""
    answer = connection.getresponse()
    content = answer.read()
    return answer.status, json.loads(content) if content else None


def is_alive(process: int) -> bool:
    """Whether a process has not ended, whoever its parent is; Linux alone tells."""
    try:
        _, _, rest = Path(f"/proc/{process}/stat").read_text().rpartition(") ")
    except OSError:
        return False
    return rest[0] not in "ZX"


def pause(seconds: float) -> None:
    """Wait for other processes, which tell only when they are asked."""
    Event().wait(seconds)
